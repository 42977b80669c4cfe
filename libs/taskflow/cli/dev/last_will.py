"""Becomes another program that dies when its parent dies: `last_will.py SIGNAL PARENT UID GID COMMAND...`.

Run as a script between `dev` and each of its processes. Linux keeps the wish across exec, but not across a change
of account, so both happen here; doing it between fork and exec of a process with threads could deadlock.
UID and GID are -1 to stay who we are.
"""

from __future__ import annotations

import ctypes
import os
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Change the account, leave the wish, become the command."""
    death_signal, parent, uid, gid = (int(word) for word in sys.argv[1:5])
    command = sys.argv[5:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:  # it died before we had a will
        sys.exit(1)
    try:
        os.execv(command[0], command)  # nosec B606  # what `taskflow dev` starts
    except OSError as error:
        sys.exit(f"cannot run {command[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
