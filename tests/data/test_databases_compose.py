"""deploy/compose.yaml: what can be said of it where no image can be pulled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")

COMPOSE = Path(__file__).parents[2] / "deploy/compose.yaml"
KEYS = {
    "image", "profiles", "environment", "ports", "volumes", "healthcheck", "command", "entrypoint", "depends_on",
    "user", "network_mode",
}  # fmt: skip


@pytest.fixture
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return loaded


def test_each_kind_of_server_has_a_profile_and_none_starts_by_itself(compose: dict[str, Any]) -> None:
    profiles = {profile for service in compose["services"].values() for profile in service["profiles"]}
    assert profiles == {"postgresql", "mysql", "mongodb", "elasticsearch", "hdfs", "s3", "redis"}


def test_ports_are_on_loopback_and_versions_are_pinned(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert set(service) <= KEYS, name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
        tag = service["image"].rpartition(":")[2]
        assert any(char.isdigit() for char in tag), name
        if service.get("network_mode") == "host":
            listening = [
                value for key, value in service["environment"].items() if key.endswith(("address", "defaultFS"))
            ]
            assert all("127.0.0.1:" in value for value in listening), name


def test_servers_say_when_they_are_ready_and_keep_their_data_in_named_volumes(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name == "s3-bucket":
            continue
        assert service["healthcheck"]["test"], name
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(compose["volumes"]), name
