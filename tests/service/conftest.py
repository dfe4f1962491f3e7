from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.service.running_service import RunningService, StartService, start_echo_service


@pytest.fixture
def start_service() -> Iterator[StartService]:
    """Starts services of the test's own; those left running are killed."""
    running: list[RunningService] = []

    def start(folder: Path) -> RunningService:
        running.append(start_echo_service(folder))
        return running[-1]

    yield start
    for each in running:
        each.kill()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """One service for all tests that leave it as they found it."""
    running = start_echo_service(tmp_path_factory.mktemp("service"))
    yield running
    running.kill()
