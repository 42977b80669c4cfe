"""`taskflow secrets`: made once, kept, each service's own, and consistent whatever happens meanwhile."""

from __future__ import annotations

import os
import re
import ssl
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from taskflow.bus.nkey import key_pair
from taskflow.bus.rights import Role
from taskflow.cli.cabinet import SecretsSettings, write_secrets
from taskflow.kit.settings import load
from taskflow_api.settings import Settings

MOUNT = "/run/taskflow"


def held(folder: Path) -> dict[str, str]:
    """Every file by its name."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def run(folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """The command as people call it."""
    return subprocess.run(
        [sys.executable, "-m", "taskflow.cli.main", "secrets", str(folder)],
        env={**os.environ, **settings}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_all_is_made_once_and_kept(tmp_path: Path) -> None:
    assert write_secrets(SecretsSettings(), tmp_path, MOUNT)
    made = held(tmp_path)
    assert set(made) == {
        *(f"{role}/{name}" for role in Role for name in ("nats.nk", "database-url")),
        "migrate/database-url", "postgres/password", "postgres/superuser-password", "api/secret-key",
        *(f"{role}/sealing-key" for role in ("api", "worker", "notifier")), "api/admin-password", "nats/nats.conf",
    }  # fmt: skip
    assert write_secrets(SecretsSettings(), tmp_path, MOUNT) == []
    assert held(tmp_path) == made
    (tmp_path / "worker/nats.nk").unlink()
    write_secrets(SecretsSettings(), tmp_path, MOUNT)
    again = held(tmp_path)
    assert {name for name in made if made[name] != again[name]} == {"worker/nats.nk", "nats/nats.conf"}


def test_the_api_can_start_with_what_is_made_for_it(tmp_path: Path) -> None:
    write_secrets(SecretsSettings(), tmp_path, MOUNT)
    key, password = (tmp_path / "api" / name for name in ("secret-key", "admin-password"))
    assert re.fullmatch(r"[\w-]{24,}", password.read_text())
    assert key.read_text() != password.read_text()
    settings = load(Settings, {
        "DATABASE_URL_FILE": str(tmp_path / "api/database-url"), "HTTP_HOST": "0.0.0.0",
        "SECRET_KEY_FILE": str(key), "ADMIN_PASSWORD_FILE": str(password),
    })  # fmt: skip
    assert settings.auth_required
    assert settings.admin_password == password.read_text()


def test_a_sealing_key_that_is_put_aside_is_followed_by_another(tmp_path: Path) -> None:
    """As docs/guides/containers.md tells to change it."""
    write_secrets(SecretsSettings(), tmp_path, MOUNT)
    before = held(tmp_path)
    (tmp_path / "api/sealing-key").rename(tmp_path / "api/sealing-key-previous")
    written = (
        "worker/sealing-key",
        "notifier/sealing-key",
        "worker/sealing-key-previous",
        "notifier/sealing-key-previous",
    )
    assert write_secrets(SecretsSettings(), tmp_path, MOUNT) == [
        f"made {tmp_path}/api/sealing-key", *(f"written {tmp_path}/{name}" for name in written)
    ]  # fmt: skip
    after = held(tmp_path)
    for name in ("api", "worker", "notifier"):
        assert after[f"{name}/sealing-key"] == after["api/sealing-key"] != before["api/sealing-key"]
        assert after[f"{name}/sealing-key-previous"] == before["api/sealing-key"]


def test_a_previous_key_that_is_taken_away_is_nowhere_any_more(tmp_path: Path) -> None:
    write_secrets(SecretsSettings(), tmp_path, MOUNT)
    before = held(tmp_path)
    (tmp_path / "api/sealing-key-previous").write_text("k" * 64)
    write_secrets(SecretsSettings(), tmp_path, MOUNT)
    assert len([name for name in held(tmp_path) if name.endswith("sealing-key-previous")]) == 3
    (tmp_path / "api/sealing-key-previous").unlink()
    assert write_secrets(SecretsSettings(), tmp_path, MOUNT) == [
        f"removed {tmp_path}/{name}/sealing-key-previous" for name in ("worker", "notifier")
    ]
    assert held(tmp_path) == before


def test_nats_is_told_the_public_half_of_every_key(tmp_path: Path) -> None:
    write_secrets(SecretsSettings(), tmp_path, MOUNT)
    config = (tmp_path / "nats/nats.conf").read_text()
    seeds = {role: (tmp_path / role / "nats.nk").read_text() for role in Role}
    assert len(set(seeds.values())) == len(Role)
    for seed in seeds.values():
        assert key_pair(seed).public in config
        assert seed not in config


def test_only_their_owner_reads_secrets(tmp_path: Path) -> None:
    folder = tmp_path / "deeper" / "secrets"
    write_secrets(SecretsSettings(nats_ca_file="yes", nats_replicas=3), folder, MOUNT)
    modes = {
        str(path.relative_to(folder)): stat.S_IMODE(path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }
    for_postgres = {"postgres/password", "postgres/superuser-password"}
    assert {name for name, mode in modes.items() if mode != 0o600} == for_postgres
    assert {stat.S_IMODE((folder / one).stat().st_mode) for one in ("postgres", "nats", "api")} == {0o700}


def test_a_password_is_quoted_in_the_url_and_kept(tmp_path: Path) -> None:
    write_secrets(SecretsSettings(postgres_password="p@ss/w:rd"), tmp_path, MOUNT)
    url = (tmp_path / "api/database-url").read_text()
    assert url == "postgres://taskflow:p%40ss%2Fw%3Ard@postgres:5432/taskflow"
    told = write_secrets(SecretsSettings(postgres_password="another"), tmp_path, MOUNT)
    assert len(told) == 1
    assert told[0].startswith("POSTGRES_PASSWORD is not the one")
    assert (tmp_path / "api/database-url").read_text() == url


def test_the_certificate_names_the_hosts_and_is_signed_by_the_authority(tmp_path: Path) -> None:
    write_secrets(SecretsSettings(nats_ca_file="yes", nats_hosts=("nats", "10.0.0.7")), tmp_path, MOUNT)
    nats = tmp_path / "nats"
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(nats / "cert.pem", nats / "key.pem")
    for host, accepted in (("nats", True), ("10.0.0.7", True), ("localhost", True), ("elsewhere", False)):
        client = ssl.create_default_context(cafile=str(tmp_path / "api/nats-ca.pem"))
        if accepted:
            shake_hands(server, client, host)
        else:
            with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
                shake_hands(server, client, host)
    config = (nats / "nats.conf").read_text()
    assert 'cert_file: "/run/taskflow/cert.pem"' in config
    certificate = (nats / "cert.pem").read_text()
    write_secrets(SecretsSettings(nats_ca_file="yes"), tmp_path, MOUNT)
    assert (nats / "cert.pem").read_text() == certificate


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """TLS between the two, in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=host),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert ends[0].cipher()


def test_a_cluster_knows_its_nodes_by_a_password(tmp_path: Path) -> None:
    write_secrets(SecretsSettings(nats_replicas=3), tmp_path, MOUNT)
    config = (tmp_path / "nats/nats.conf").read_text()
    password = (tmp_path / "nats/route-password").read_text()
    for host in ("nats", "nats-2", "nats-3"):
        assert f"nats-route://taskflow:{password}@{host}:6222" in config
    assert "cluster" not in server_config_of_one(tmp_path / "one")


def server_config_of_one(folder: Path) -> str:
    """The configuration of a single node."""
    write_secrets(SecretsSettings(), folder, MOUNT)
    return (folder / "nats/nats.conf").read_text()


def test_several_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        for outcome in [pool.submit(run, tmp_path) for _ in range(4)]:
            assert outcome.result().returncode == 0, outcome.result().stderr
    config = (tmp_path / "nats/nats.conf").read_text()
    for role in Role:
        assert key_pair((tmp_path / role / "nats.nk").read_text()).public in config
    assert not list(tmp_path.rglob("*.new"))


def test_the_command_tells_what_it_did_and_no_secret(tmp_path: Path) -> None:
    first = run(tmp_path, NATS_CA_FILE="/run/taskflow/nats-ca.pem")
    assert first.returncode == 0
    said = first.stdout + first.stderr
    for name, text in held(tmp_path).items():
        assert str(tmp_path / name) in said
        assert name == "nats/nats.conf" or text.strip() not in said
    assert not re.search(r"\bSU[A-Z2-7]{56}\b", said)
    second = run(tmp_path, NATS_CA_FILE="/run/taskflow/nats-ca.pem")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


def test_what_is_wrong_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "nats").write_text("")
    for done, code, said in (
        (run(tmp_path / "file"), 2, "is a file"),
        (run(tmp_path / "folder"), 1, f"cannot write {tmp_path}/folder/nats: File exists"),
        (run(tmp_path, NATS_REPLICAS="9"), 2, "NATS_REPLICAS"),
        (run(tmp_path, NATS_STREAM_NAME="a.b"), 2, "NATS_STREAM_NAME"),
    ):
        assert done.returncode == code
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1
