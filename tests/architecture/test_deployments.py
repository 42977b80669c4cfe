"""Images, compose file and requirements agree with the services; asked of the files, so that no engine is needed."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.architecture.test_documents import SETTINGS, settings_of
from tests.support.compose import SERVICES
from tests.support.systems import ROOT

from taskflow.bus.rights import Role

DOCKERFILE = (ROOT / "deployments/docker/Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIREMENTS = ROOT / "deployments/requirements"
# Given by a file, or by the image.
OTHERWISE = {
    "DATABASE_URL", "NATS_NKEY_SEED", "SECRET_KEY", "SEALING_KEY", "ADMIN_PASSWORD", "HTTP_HOST", "PROBE_PORT",
}  # fmt: skip
MAY_BE_FILES = ("SECRET_KEY_PREVIOUS", "SEALING_KEY_PREVIOUS", "ALERT_WEBHOOK_SECRET")
BY_FILE = {f"{name}_FILE" for name in (*OTHERWISE, *MAY_BE_FILES)}
# Read by OpenTelemetry itself.
STANDARD = {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"}
IMAGE_OF = {"secrets": "scheduler"}


def pins(name: str) -> dict[str, str]:
    """Package to version."""
    return dict(re.findall(r"^([\w.-]+)==(\S+)", (REQUIREMENTS / f"{name}.txt").read_text(), re.MULTILINE))


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_made_of_pins_that_are_tested(service: str) -> None:
    mine = pins(service)
    assert mine
    assert mine.items() <= pins("runtime").items()
    assert "--hash=sha256:" in (REQUIREMENTS / f"{service}.txt").read_text()


PROGRAMS = {
    "api": ("taskflow_api.__main__", "taskflow_api.wiring"),
    "worker": ("taskflow_worker.__main__",),
    "scheduler": ("taskflow_scheduler.__main__", "taskflow.cli.cabinet", "taskflow.engine.overview"),
    "dlq-consumer": ("taskflow_dlq_consumer.__main__",),
    "notifier": ("taskflow_notifier.__main__",),
    "migrate": ("taskflow.store.migrate",),
}
# Imports these modules where nothing can be imported that is not installed with a service.
_IMPORTS = """
import importlib, sys
from importlib.metadata import packages_distributions
pinned, modules = set(sys.argv[1].split()), sys.argv[2].split()
tidy = lambda name: name.lower().replace("_", "-")
for name, owners in packages_distributions().items():
    if not {tidy(owner) for owner in owners} & {*pinned, "taskflow-platform"}:
        sys.modules[name] = None
for module in ("taskflow.cli.main", *modules):
    importlib.import_module(module)
"""


@pytest.mark.parametrize("service", SERVICES)
def test_a_program_needs_nothing_but_what_its_image_has(service: str) -> None:
    arguments = (" ".join(pins(service)), " ".join(PROGRAMS[service]))
    done = subprocess.run(
        [sys.executable, "-c", _IMPORTS, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_traces_need_is_tested_as_it_is_installed() -> None:
    assert pins("otel").items() <= pins("dev").items()
    shared = pins("otel").keys() & pins("runtime").keys()
    assert {name: pins("otel")[name] for name in shared} == {name: pins("runtime")[name] for name in shared}


def test_workers_carry_nothing_that_only_the_api_needs() -> None:
    only_api = {"litestar", "uvicorn", "jsonschema-rs", "httptools"}
    assert only_api <= pins("api").keys()
    for service in ("worker", "scheduler", "dlq-consumer", "notifier", "migrate"):
        assert not only_api & pins(service).keys(), service


def test_the_dockerfile_has_a_stage_for_each_service() -> None:
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE))
    assert stages == {"build", "dashboard", "common", "probed", *SERVICES}
    assert "# syntax=" not in DOCKERFILE
    assert re.findall(r"^ARG VERSION=(\S+)$", DOCKERFILE, re.MULTILINE) == [PROJECT["version"]]


def test_compose_has_the_services_of_the_contract() -> None:
    assert set(COMPOSE["services"]) == {
        "secrets", "postgres", "nats", "nats-2", "nats-3", "prometheus", "grafana", *SERVICES,
    }  # fmt: skip
    for name in SERVICES:
        service = COMPOSE["services"][name]
        assert service["build"]["args"]["SERVICE"] == name
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


def test_no_two_services_build_the_same_image() -> None:
    """Compose 2 builds all at once, and the second to name an image fails."""
    built = [service["image"] for service in COMPOSE["services"].values() if "build" in service]
    assert len(built) == len(set(built))


@pytest.mark.parametrize("role", Role)
def test_compose_hands_on_every_setting_that_a_service_reads(role: Role) -> None:
    module = f"taskflow_{role.replace('-', '_')}.settings"
    assert module in SETTINGS
    given = set(COMPOSE["services"][role]["environment"]) | {"HTTP_HOST", "PROBE_PORT"}
    # Who has a sealing key of its own needs no key with which anybody could sign in.
    read = settings_of(module) - ({"SECRET_KEY_PREVIOUS"} if role is not Role.API else set())
    assert given - BY_FILE - OTHERWISE - STANDARD == read - OTHERWISE


def test_callers_of_the_api_sign_in() -> None:
    """Nothing is said of AUTH_MODE, so that it follows the address; what that needs is in the api's own volume."""
    given = COMPOSE["services"]["api"]["environment"]
    assert given["HTTP_HOST"] == "0.0.0.0"
    assert (given["AUTH_MODE"], given["AUTH_DISABLED_ANYWHERE"]) == (None, None)
    for name, file in (("SECRET_KEY_FILE", "secret-key"), ("ADMIN_PASSWORD_FILE", "admin-password")):
        assert given[name] == f"/run/taskflow/{file}"
        assert name.removesuffix("_FILE") not in given


@pytest.mark.parametrize("name", [*SERVICES, "secrets", "postgres", "nats"])
def test_each_service_is_given_its_own_secrets_alone(name: str) -> None:
    given = {volume.partition(":")[0] for volume in COMPOSE["services"][name]["volumes"]}
    secret = {volume for volume in given if volume.startswith("secrets-")}
    everyones = {volume for volume in COMPOSE["volumes"] if volume.startswith("secrets-")}
    assert secret == (everyones if name == "secrets" else {f"secrets-{name}"})


def test_ports_are_open_to_this_machine_alone() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_example_of_an_environment_names_what_compose_reads() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    example = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))
    read = set(re.findall(r"\$\{([A-Z_]+)", text)) | set(re.findall(r"^\s+([A-Z_]+):$", text, re.MULTILINE))
    assert example - read <= {"COMPOSE_PROFILES", "PIP_INDEX_URL", "EXTRAS"}
    assert set(re.findall(r"\$\{([A-Z_]+)", text)) <= example


def test_the_example_of_nats_configuration_is_what_is_written(tmp_path: Path) -> None:
    found = tmp_path / "example.conf"
    subprocess.run(
        [sys.executable, str(ROOT / "scripts/dump_nats_config"), str(found)], check=True, timeout=30
    )
    example = ROOT / "deployments/nats/example.conf"
    assert found.read_text() == example.read_text(), "run scripts/dump_nats_config"
