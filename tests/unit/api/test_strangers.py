"""Web pages of others may not command an api where nobody signs in."""

from __future__ import annotations

import pytest
from tests.support.scopes import scope_of

from taskflow.domain.errors import Forbidden
from taskflow.kit.settings import load
from taskflow_api.settings import Settings
from taskflow_api.strangers import refuse_foreign_pages

APP = "https://app.example.com"
EVIL = "https://evil.example"
HOST = "localhost:8080"


def judge(
    headers: dict[str, str],
    method: str = "POST",
    host: str | None = HOST,
    listens: str = "127.0.0.1",
    cors: str = "",
) -> None:
    """Ask as app will, with settings as they are read."""
    given = {"DATABASE_URL": "postgresql:///taskflow", "HTTP_HOST": listens, "CORS_ORIGIN": cors}
    settings = load(Settings, {**given, "AUTH_DISABLED_ANYWHERE": "true", "AUTH_MODE": "disabled"})
    sent = headers if host is None else {"host": host, **headers}
    refuse_foreign_pages(scope_of(method, "/api/v1/tasks", sent), settings)


def site(value: str, mode: str = "cors", dest: str = "empty") -> dict[str, str]:
    return {"sec-fetch-site": value, "sec-fetch-mode": mode, "sec-fetch-dest": dest}


TAKEN = [
    pytest.param({}, id="a program"),
    pytest.param(site("same-origin"), id="a page of ours"),
    pytest.param({**site("same-origin"), "origin": f"http://{HOST}"}, id="a page of ours, with its origin"),
    pytest.param(site("none", "navigate", "document"), id="the address bar"),
    pytest.param({"origin": f"http://{HOST}"}, id="a page of ours in an older browser"),
    pytest.param({"origin": f"https://{HOST.upper()}"}, id="by a proxy that ends TLS"),
    pytest.param({**site("cross-site"), "origin": APP}, id="an allowed page"),
    pytest.param({"origin": APP}, id="an allowed page in an older browser"),
]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", TAKEN)
def test_taken(headers: dict[str, str], method: str) -> None:
    judge(headers, method, cors=APP)


REFUSED = [
    pytest.param({**site("cross-site"), "origin": EVIL}, id="a page of another site"),
    pytest.param(site("cross-site", "no-cors", "script"), id="a script element"),
    pytest.param({**site("same-site"), "origin": "http://localhost:3000"}, id="another port of this machine"),
    pytest.param({**site("cross-site"), "origin": "null"}, id="a sandboxed frame"),
    pytest.param(site("cross-site", "navigate", "iframe"), id="a frame"),
    pytest.param({**site("cross-site"), "origin": f"http://{HOST}"}, id="an origin that the browser belies"),
    pytest.param({**site("anything"), "origin": f"http://{HOST}"}, id="a word we do not know"),
    pytest.param({"origin": EVIL}, id="another site in an older browser"),
    pytest.param({"origin": "http://localhost:3000"}, id="another port in an older browser"),
    pytest.param({"origin": "http://localhost"}, id="the default port"),
    pytest.param({"origin": "null"}, id="null in an older browser"),
    pytest.param({"origin": ""}, id="no origin"),
    pytest.param({"origin": f"{APP}.evil.example"}, id="a name that begins as an allowed one"),
]


@pytest.mark.parametrize("cors", [APP, "*"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("headers", REFUSED)
def test_refused(headers: dict[str, str], method: str, cors: str) -> None:
    with pytest.raises(Forbidden, match="nobody signs in here") as refusal:
        judge(headers, method, cors=cors)
    assert "CORS_ORIGIN" in str(refusal.value.hint)


def test_the_refusal_names_the_page() -> None:
    with pytest.raises(Forbidden, match=EVIL):
        judge({"origin": EVIL})


def test_a_link_may_be_followed_and_nothing_else() -> None:
    link = site("cross-site", "navigate", "document")
    judge(link, "GET")
    with pytest.raises(Forbidden):
        judge({**link, "origin": EVIL}, "POST")  # a form


OURS = ["localhost", "localhost:8080", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.0.0.1:8080", "127.1.2.3",
        "[::1]", "[::1]:8080", "tasks.localhost:8080"]  # fmt: skip
THEIRS = ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.5:8080",
          "0.0.0.0:8080", "[::]:8080", "notlocalhost", "", "2130706433", "127.1"]  # fmt: skip


@pytest.mark.parametrize("host", OURS)
def test_names_of_this_machine(host: str) -> None:
    judge({}, host=host)


@pytest.mark.parametrize("listens", ["127.0.0.1", "localhost", "::1"])
@pytest.mark.parametrize("host", THEIRS)
def test_names_that_only_lead_here(host: str, listens: str) -> None:
    """The page of evil.example, which now leads to 127.0.0.1: to its browser this api is of its own origin."""
    for method in ("GET", "POST"):
        with pytest.raises(Forbidden, match="not a name of this machine"):
            judge({**site("same-origin"), "origin": f"http://{host}"}, method, host=host, listens=listens)


def test_other_names_are_fine_where_others_may_call() -> None:
    judge({"origin": "http://tasks.internal:8080"}, host="tasks.internal:8080", listens="0.0.0.0")
    with pytest.raises(Forbidden):
        judge({"origin": EVIL}, host="tasks.internal:8080", listens="0.0.0.0")


def test_default_ports_may_be_written_or_not() -> None:
    judge({"origin": "http://localhost"}, host="localhost:80")
    judge({"origin": "https://localhost"}, host="localhost:443")
    judge({"origin": "https://localhost:443"}, host="localhost")


def test_who_tells_no_host_is_no_browser() -> None:
    judge({}, host=None)
    with pytest.raises(Forbidden):
        judge({"origin": f"http://{HOST}"}, host=None)
