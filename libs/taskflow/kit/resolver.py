"""The system's resolver, on threads of its own: names that take long to look up hold up nothing else. Used by `egress`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from ipaddress import ip_address

from taskflow.kit.ranges import Address

LOOKUPS_MAX = 64
"""How many names are looked up at once; those that nobody waits for any more count until the system gives them up."""
_ROOM = threading.BoundedSemaphore(LOOKUPS_MAX)


class NameNotResolved(Exception):
    """A name that has no address, as far as can be told now."""


async def system_resolver(host: str, port: int) -> list[Address]:
    """All addresses of `host`, in the order in which the system would try them. Raises NameNotResolved."""
    if not _ROOM.acquire(blocking=False):
        raise NameNotResolved(f"{host} was not looked up: {LOOKUPS_MAX} other names are being looked up")
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[Address]] = loop.create_future()
    # A daemon: the end of the program does not wait for a name server that does not answer.
    try:
        threading.Thread(
            target=_look_up, args=(host, port, loop, answer), name="resolver", daemon=True
        ).start()
    except BaseException:
        _ROOM.release()
        raise
    return await answer


def _look_up(
    host: str, port: int, loop: asyncio.AbstractEventLoop, answer: asyncio.Future[list[Address]]
) -> None:
    found: list[Address] | NameNotResolved
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found = list(dict.fromkeys(ip_address(info[4][0]) for info in infos))
    except (OSError, ValueError) as error:  # also UnicodeError: the name fits into no question
        found = NameNotResolved(f"{host} has no address: {getattr(error, 'strerror', None) or error}")
    finally:
        _ROOM.release()
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(_tell, answer, found)


def _tell(answer: asyncio.Future[list[Address]], found: list[Address] | NameNotResolved) -> None:
    if answer.done():
        return
    if isinstance(found, NameNotResolved):
        answer.set_exception(found)
    else:
        answer.set_result(found)
