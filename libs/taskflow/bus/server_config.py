"""The configuration of a NATS server for TaskFlow alone: one account, a key and rights for each service, limits.

Made from the topology, so that what services use and what they may use cannot part. `taskflow secrets` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from msgspec import Struct
from nats.js.api import StorageType

from taskflow.bus.rights import Role, rights
from taskflow.bus.topology import CONSUMERS_MAX, Topology

PAYLOAD_BYTES_MAX = 256 * 1024
"""Of one message: 500 moves with the longest names are 150 KiB; doorbells are bounded by their stream."""
CLIENT_PORT = 4222
MONITOR_PORT = 8222
ROUTE_PORT = 6222


class ServerTls(Struct, frozen=True):
    """Where the server finds its certificate, the key of it, and the authority that signed it."""

    cert_file: str
    key_file: str
    ca_file: str


class ServerCluster(Struct, frozen=True):
    """The nodes by host name, and the password by which they know each other."""

    hosts: tuple[str, ...]
    password: str


def server_config(
    topology: Topology,
    public_keys: Mapping[Role, str],
    *,
    store_dir: str,
    tls: ServerTls | None = None,
    cluster: ServerCluster | None = None,
) -> str:
    """The text of a configuration file. A node of a cluster is told its name by `--name`."""
    sections = [
        "# Written by `taskflow secrets` from the names of the streams; a change here is lost.",
        f"port: {CLIENT_PORT}",
        f"http: 127.0.0.1:{MONITOR_PORT}",
        f"max_payload: {PAYLOAD_BYTES_MAX}",
        f'jetstream {{ store_dir: {_quoted(store_dir)}, sync_interval: "100ms", {_stores(topology)} }}',
        _accounts(topology, public_keys),
    ]
    if tls is not None:
        sections.append(f"tls {{ {_tls(tls)} }}")
    if cluster is not None:
        sections.append(_cluster(cluster, tls))
    return "\n".join([*sections, ""])


def _stores(topology: Topology) -> str:
    """What a server may keep."""
    return f"max_memory_store: {_bytes(topology, StorageType.MEMORY)}, max_file_store: {_bytes(topology, StorageType.FILE)}"


def _bytes(topology: Topology, storage: StorageType) -> int:
    """Twice what the streams may grow to: one that is asked for again is counted again before it is seen to stand."""
    return 2 * sum(config.max_bytes or 0 for config in topology.streams() if config.storage == storage)


def _accounts(topology: Topology, public_keys: Mapping[Role, str]) -> str:
    users = "\n".join(_user(topology, role, key) for role, key in sorted(public_keys.items()))
    replicas = topology.replicas  # an account is charged for every replica
    limits = ", ".join([
        f"max_mem: {_bytes(topology, StorageType.MEMORY)}",
        f"max_file: {_bytes(topology, StorageType.FILE) * replicas}",
        f"max_streams: {len(topology.streams())}",
        f"max_consumers: {CONSUMERS_MAX + 1}",
    ])  # fmt: skip
    return f"accounts {{ TASKFLOW {{\n  jetstream {{ {limits} }}\n  users: [\n{users}\n  ]\n}} }}"


def _user(topology: Topology, role: Role, public_key: str) -> str:
    granted = rights(topology, role)
    return (
        f"    # {role}\n    {{ nkey: {public_key}, permissions {{\n"
        f"      publish: {_list(granted.publish)}\n"
        f"      subscribe: {_list(granted.subscribe)}\n    }} }}"
    )


def _list(subjects: list[str]) -> str:
    """A subject a line: people read who may what. An empty list would allow all."""
    if not subjects:
        return '{ deny: ">" }'
    return "[\n" + "\n".join(f"        {_quoted(subject)}" for subject in subjects) + "\n      ]"


def _cluster(cluster: ServerCluster, tls: ServerTls | None) -> str:
    account = f"user: taskflow, password: {_quoted(cluster.password)}"
    routes = ", ".join(
        _quoted(f"nats-route://taskflow:{cluster.password}@{host}:{ROUTE_PORT}") for host in cluster.hosts
    )
    lines = [
        f"  name: taskflow, port: {ROUTE_PORT}",
        f"  authorization {{ {account} }}",
        f"  routes: [{routes}]",
        *([f"  tls {{ {_tls(tls)} }}"] if tls else []),
    ]
    return "\n".join(["cluster {", *lines, "}"])


def _tls(tls: ServerTls) -> str:
    return f"cert_file: {_quoted(tls.cert_file)}, key_file: {_quoted(tls.key_file)}, ca_file: {_quoted(tls.ca_file)}"


def _quoted(text: str) -> str:
    return json.dumps(text)  # a JSON string is a string of the configuration language too
