"""Signatures of webhooks and pushes: what we sign is verified, by others too, and nothing else is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import Message
from typing import Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from taskflow import webhooks

BODY = b'{"event": "task.succeeded", "task": {"name": "\xc3\x84rger", "payload": 1e400}}'


def whsec(letter: str, size: int = 32) -> str:
    """A secret in the form of Standard Webhooks."""
    return "whsec_" + base64.b64encode(letter.encode() * size).decode()


OLD, NEW, OTHER = whsec("o"), whsec("n"), whsec("x")
PLAIN = "correct-horse-battery"


def signed(*secrets: str, body: bytes = BODY, age: float = 0) -> dict[str, str]:
    """The headers of a request that was sent so long ago."""
    return webhooks.sign("msg_1", int(time.time() - age), body, secrets)


def refused(headers: Mapping[str, str], secret: Any, body: bytes | str = BODY, **more: float) -> str:
    """What is said when it is not verified."""
    with pytest.raises(webhooks.VerificationError) as error:
        webhooks.verify(headers, body, secret, **more)
    return str(error.value)


def test_the_signatures_are_those_of_the_contract() -> None:
    headers = webhooks.sign("msg_1", 1_700_000_000, BODY, [OLD, PLAIN, NEW])
    content = b"msg_1.1700000000." + BODY
    standard = [
        "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
        for key in (b"o" * 32, b"n" * 32)
    ]
    assert headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": " ".join(standard),
        "X-TaskFlow-Signature": "sha256=" + hmac.new(OLD.encode(), BODY, hashlib.sha256).hexdigest(),
    }


def test_the_example_of_standard_webhooks_has_the_signature_that_it_tells() -> None:
    secret = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    body = b'{"test": 2432232314}'
    headers = webhooks.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body, [secret])
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_in_another_form_signs_the_body_alone() -> None:
    headers = signed(PLAIN)
    assert "webhook-signature" not in headers
    assert webhooks.verify(headers, BODY, PLAIN)["event"] == "task.succeeded"
    assert "X-TaskFlow-Signature" in refused(headers, PLAIN + "!")


@pytest.mark.parametrize("secret", [OLD, NEW, [OLD, NEW], [OTHER, NEW], [PLAIN, OLD]])
def test_during_a_rotation_the_old_and_the_new_secret_verify(secret: str | list[str]) -> None:
    headers = signed(OLD, NEW)
    assert webhooks.verify(headers, BODY, secret)["event"] == "task.succeeded"
    assert "webhook-signature" in refused(headers, OTHER)


def test_a_rotation_may_lead_from_one_form_to_the_other() -> None:
    headers = signed(PLAIN, NEW)
    for secret in (PLAIN, NEW, [PLAIN, NEW]):
        assert webhooks.verify(headers, BODY, secret)["event"] == "task.succeeded"


def test_names_of_headers_are_taken_in_any_case_and_from_any_mapping() -> None:
    headers = signed(OLD)
    message = Message()
    for name, value in headers.items():
        message[name.title()] = value
    assert webhooks.verify({name.upper(): value for name, value in headers.items()}, BODY, OLD)
    assert webhooks.verify(message, BODY, OLD)  # type: ignore[arg-type]  # http.server's


def test_a_body_may_be_text() -> None:
    assert webhooks.verify(signed(OLD), BODY.decode(), OLD) == webhooks.verify(signed(OLD), BODY, OLD)
    assert "no signature of this body" in refused(signed(OLD), OLD, "\ud800")


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_what_was_tampered_with_is_refused(name: str) -> None:
    headers = signed(OLD)
    value = headers[name]
    last = "1" if value[-1] != "1" else "2"
    for wrong in (value[:-1] + last, value + "0", "", " ", "\xe4", "\ud800", "²", "nan", "-1", "9" * 400):
        refused({**headers, name: wrong}, OLD)
    refused(headers, OLD, BODY + b" ")
    refused(headers, OLD, b"")


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
def test_part_of_the_headers_is_not_enough(name: str) -> None:
    headers = signed(OLD)
    del headers[name]
    assert refused(headers, OLD) == f"there is webhook-signature, but no {name}"


def test_without_any_signature_it_is_refused() -> None:
    assert refused({}, OLD) == "there is no webhook-signature"
    assert refused({}, "a-plain-secret-of-mine") == (
        "there is no X-TaskFlow-Signature, and no webhook-signature that the secret could verify"
    )
    refused(signed(OLD), [])
    refused(signed(), OLD)


def test_x_taskflow_signature_is_for_secrets_without_standard_webhooks() -> None:
    """It covers no time: a request that was recorded, less the other headers, would be good for ever."""
    headers = {"X-TaskFlow-Signature": signed(OLD)["X-TaskFlow-Signature"]}
    assert refused(headers, [OTHER, OLD]) == "there is no webhook-signature"
    plain = "a-plain-secret-of-mine"
    assert webhooks.verify(signed(plain), BODY, [OLD, plain])
    assert "X-TaskFlow-Signature" in refused(headers, [OLD, plain])
    wrong = {**signed(OTHER), **headers}
    assert "webhook-signature" in refused(wrong, OLD)


@pytest.mark.parametrize(("age", "said"), [(310, "s ago"), (-310, "s in the future")])
def test_what_is_old_or_from_the_future_is_refused(age: float, said: str) -> None:
    headers = signed(OLD, age=age)
    assert said in refused(headers, OLD)
    assert webhooks.verify(headers, BODY, OLD, tolerance_seconds=320)
    assert "ago" in refused(signed(OLD, age=10), OLD, tolerance_seconds=5)


def test_of_its_age_is_told_only_what_is_signed() -> None:
    assert "no signature" in refused(signed(OTHER, age=310), OLD)


def test_a_body_that_is_no_json_is_refused_though_it_is_signed() -> None:
    assert "no JSON" in refused(signed(OLD, body=b"hello"), OLD, b"hello")
    assert "no JSON" in refused(signed(OLD, body=b"\xff\xfe\x00"), OLD, b"\xff\xfe\x00")


@pytest.mark.parametrize("secret", [whsec("a", 24), whsec("a", 64), "a" * 16, "~" * 255, "whsec-0123456789"])
def test_good_secrets(secret: str) -> None:
    assert webhooks.check_secret(secret) is None


@pytest.mark.parametrize(
    "secret",
    [
        "", "a" * 15, "a" * 256, "a b" * 10, "ä" * 20, "a" * 16 + "\n", whsec("a", 23), whsec("a", 65), "whsec_",
        "whsec_" + "-_" * 20, "whsec_" + "a" * 33, whsec("a") + "\n", whsec("ä") + "ä",
    ],
)  # fmt: skip
def test_bad_secrets_are_told_and_not_repeated(secret: str) -> None:
    fault = webhooks.check_secret(secret)
    assert fault is not None
    assert fault.startswith("expected `whsec_` and base64 of 24 to 64 bytes, or 16 to 255 visible ASCII")
    assert not secret.strip() or secret == "whsec_" or secret not in fault


def test_the_package_standardwebhooks_verifies_what_we_sign() -> None:
    assert Webhook(OLD).verify(BODY, signed(OLD))["event"] == "task.succeeded"
    rotating = signed(OLD, NEW)
    for secret in (OLD, NEW):
        assert Webhook(secret).verify(BODY, rotating)["event"] == "task.succeeded"
    after = signed(NEW)
    assert Webhook(NEW).verify(BODY, after)["event"] == "task.succeeded"
    for headers, secret in ((after, OLD), (rotating, OTHER)):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret).verify(BODY, headers)


def test_we_verify_what_the_package_standardwebhooks_signs() -> None:
    now = datetime.now(UTC)
    headers = {
        "Webhook-Id": "msg_2",
        "Webhook-Timestamp": str(int(now.timestamp())),
        "Webhook-Signature": Webhook(NEW).sign("msg_2", now, BODY.decode()),
    }
    assert webhooks.verify(headers, BODY, [OLD, NEW])["event"] == "task.succeeded"
    assert "no signature" in refused(headers, OLD)


def test_it_needs_the_standard_library_alone() -> None:
    """So that it may be copied. `taskflow` itself brings msgspec, and is put aside here."""
    code = (
        f"import runpy, sys; known = set(sys.modules); runpy.run_path({webhooks.__file__!r})\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - known}\n"
        "print(sorted(new - sys.stdlib_module_names))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "[]\n"
