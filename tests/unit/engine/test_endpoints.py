"""Callbacks and targets judged before a task is taken: what they may lead to, what may be sent along, what is kept."""

from __future__ import annotations

from base64 import b64encode

import pytest

from taskflow.domain.callback import CallbackWish, Hidden, TargetWish
from taskflow.domain.errors import Invalid, TargetRefused
from taskflow.domain.task import NewTask
from taskflow.engine.endpoints import NO_KEY, Endpoints
from taskflow.engine.vault import Vault, reveal
from taskflow.kit.egress import Egress, allowed
from taskflow.kit.ids import new_id

VAULT = Vault("a key of tests " * 4)
OPEN = Endpoints(Egress(), VAULT)
URL = "https://example.org/hook"
SECRET = "correct-horse-battery"


def task(owner_id: str | None = None) -> NewTask:
    return NewTask(id=new_id(), type="demo", owner_id=owner_id or new_id())


REFUSED = [
    "http://127.0.0.1/", "http://127.1.2.3:8080/x", "http://localhost/", "http://LOCALHOST.:80", "http://a.localhost/",
    "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:a00:1]/", "http://10.0.0.1/", "http://172.16.0.1",
    "http://192.168.1.1", "http://169.254.169.254/latest/meta-data", "http://[fd00:ec2::254]/", "http://[fe80::1]/",
    "http://100.64.0.1/", "http://0.0.0.0/", "http://[::]/", "http://224.0.0.1/", "http://255.255.255.255/",
    "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://127.1/", "http://0x7f.1/",
    "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://198.18.0.1/", "http://192.0.2.1/",
    "ftp://example.org/", "file:///etc/passwd", "gopher://example.org/", "https://example.org:22/",
    "https://example.org:0/", "http://example.org:25/",
]  # fmt: skip
BAD = [
    "example.org", "/hook", "https://", "https:///x", "https://user:pw@example.org/", "https://example.org:65536/",
    "https://example.org:x/", "https://exa mple.org/",
    "https://example.org/\n", "https://example.org/\\@evil", "https://-.org/", "https://a..b/", "https://[::1/",
    "https://[::g]/", "javascript:alert(1)", "https://example.org\u0000/", "x" * 2_001,
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_what_may_not_be_reached(url: str) -> None:
    """Where 'file:///x' is a bad URL and not a refused one, either is a refusal; the address itself is always told."""
    for pointer, wishes in (
        ("/callback/url", (CallbackWish(url), None)),
        ("/target/url", (None, TargetWish(url))),
    ):
        [(kind, problem)] = OPEN.attach(task(), *wishes)
        assert kind is TargetRefused or not url.partition("://")[2].partition("/")[0]
        assert problem.pointer == pointer


@pytest.mark.parametrize("url", BAD)
def test_what_is_no_url(url: str) -> None:
    for pointer, wishes in (
        ("/callback/url", (CallbackWish(url), None)),
        ("/target/url", (None, TargetWish(url))),
    ):
        [(kind, problem)] = OPEN.attach(task(), *wishes, "/items/7")
        assert (kind, problem.pointer) == (Invalid, f"/items/7{pointer}")
        assert "pw" not in problem.detail


def test_what_is_allowed_is_reached() -> None:
    within = Endpoints(Egress(allow=allowed(["loopback", "10.0.0.0/8"])), VAULT)
    for url in ("http://127.0.0.1:8080/", "http://localhost:3000", "http://[::1]:8080/", "http://10.1.2.3/"):
        assert within.attach(task(), CallbackWish(url), TargetWish(url)) == []
    assert within.attach(task(), CallbackWish("http://192.168.0.1/"), None)[0][0] is TargetRefused
    secure = Endpoints(Egress(schemes=("https",)), VAULT)
    assert secure.attach(task(), CallbackWish("http://example.org/"), None)[0][0] is TargetRefused
    assert secure.attach(task(), CallbackWish(URL), None) == []


HEADERS = [
    {"Host": "x"}, {"HOST": "x"}, {"Content-Length": "1"}, {"content-length": "1"}, {"Transfer-Encoding": "chunked"},
    {"Connection": "close"}, {"Upgrade": "x"}, {"Expect": "100-continue"}, {"Proxy-Authorization": "x"}, {"TE": "x"},
    {"": "x"}, {"a b": "x"}, {"a:": "x"}, {"X-\u00e4": "x"}, {"X\r\nY": "x"}, {"x" * 33_000: "x"},
    {"X-A": "a\r\nX-B: b"}, {"X-A": "a\n"}, {"X-A": "a\u0000"}, {"X-A": "a\u007f"}, {"X-A": "\u20ac"},
    {"X-A": "\U0001f600"}, {"X-A": "x" * 33_000}, {f"X-{at}": "v" for at in range(101)},
]  # fmt: skip


@pytest.mark.parametrize("headers", HEADERS, ids=lambda one: repr(one)[:40])
def test_headers_that_cannot_be_sent_along(headers: dict[str, str]) -> None:
    refused = OPEN.attach(task(), CallbackWish(URL, headers=headers), TargetWish(URL, headers=headers))
    assert [(kind, problem.pointer) for kind, problem in refused] == [
        (Invalid, "/callback/headers"),
        (Invalid, "/target/headers"),
    ]


SECRETS = [
    "short", "x" * 15, "x" * 256, "with a space in it", "t\u00f6o-m\u00e4ny-\u00fcml\u00e4uts", "x" * 15 + "\n",
    "x" * 16 + "\u0000", "whsec_", "whsec_" + "!" * 32, "whsec_" + b64encode(b"k" * 23).decode(),
    "whsec_" + b64encode(b"k" * 65).decode(), "whsec_" + b64encode(b"k" * 32).decode().rstrip("="),
    "whsec_" + b64encode(b"k" * 32).decode() + "\n",
]  # fmt: skip


@pytest.mark.parametrize("secret", SECRETS, ids=repr)
def test_secrets_of_a_wrong_form(secret: str) -> None:
    [(kind, problem)] = OPEN.attach(task(), CallbackWish(URL, secret=secret), None)
    assert (kind, problem.pointer) == (Invalid, "/callback/secret")
    assert len(secret) < 8 or secret not in problem.detail


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_attached() -> None:
    wanted = task()
    wish = CallbackWish("http://10.0.0.1/", headers={"Host": "x"}, secret="x")
    refused = OPEN.attach(wanted, wish, TargetWish("nowhere", headers={"Host": "x"}))
    assert [problem.pointer for _, problem in refused] == [
        "/callback/url", "/callback/headers", "/callback/secret", "/target/url", "/target/headers",
    ]  # fmt: skip
    assert OPEN.attach(wanted, CallbackWish(URL), TargetWish("nowhere"))
    assert (wanted.callback, wanted.target) == (None, None)


def test_without_a_key_neither_is_offered() -> None:
    refused = Endpoints(Egress(), None).attach(task(), CallbackWish(URL), TargetWish(URL), "/items/3")
    assert [(kind, problem.pointer, problem.detail) for kind, problem in refused] == [
        (Invalid, "/items/3/callback", NO_KEY),
        (Invalid, "/items/3/target", NO_KEY),
    ]


def test_what_is_kept_shows_no_secret() -> None:
    wanted = task()
    headers = {"X-Tenant": "t\u00e9nant-7", "Authorization": "Bearer abc"}
    callback = CallbackWish(URL, ["task.failed", "task.failed"], headers, SECRET, 7.0)
    assert OPEN.attach(wanted, callback, TargetWish("HTTP://Example.org:80?q", "PUT", headers)) == []
    assert wanted.callback is not None and wanted.target is not None
    told = wanted.callback
    assert (told.url, told.host, told.events, told.has_secret) == (
        URL, "https://example.org:443", ["task.failed"], True,
    )  # fmt: skip
    assert type(told.max_attempts) is int and told.max_attempts == 7
    assert told.header_names == wanted.target.header_names == ["Authorization", "X-Tenant"]
    assert (wanted.target.host, wanted.target.method) == ("http://example.org:80", "PUT")
    for text in (repr(told), repr(wanted.target)):
        assert not any(secret in text for secret in (SECRET, "t\u00e9nant-7", "Bearer"))
    assert reveal(VAULT, told.sealed, wanted.owner_id) == Hidden(headers, SECRET)
    assert reveal(VAULT, wanted.target.sealed, wanted.owner_id) == Hidden(headers)
    with pytest.raises(LookupError):
        reveal(VAULT, told.sealed, new_id())


def test_what_has_no_secrets_is_kept_without_a_seal() -> None:
    wanted = task()
    assert OPEN.attach(wanted, CallbackWish(URL, headers={}), TargetWish(URL)) == []
    assert wanted.callback is not None and wanted.target is not None
    assert (wanted.callback.sealed, wanted.callback.max_attempts, wanted.target.method) == (
        None,
        None,
        "POST",
    )
    assert wanted.callback.events == ["task.cancelled", "task.expired", "task.failed", "task.succeeded"]
