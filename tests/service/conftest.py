from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.data.servers import postgresql_url, redis_url  # noqa: F401 -- fixtures
from tests.service.running_service import RunningService, StartService, start_echo_service

from tulou.core.state import metadata, open_state


@pytest.fixture(params=["sqlite", "postgresql"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """An empty state database, of either kind."""
    url = "sqlite:///state.db" if request.param == "sqlite" else request.getfixturevalue("postgresql_url")
    engine = open_state(url, tmp_path)
    yield engine
    metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture
def start_service() -> Iterator[StartService]:
    """Starts services of the test's own; those left running are killed."""
    running: list[RunningService] = []

    def start(folder: Path, *options: str) -> RunningService:
        running.append(start_echo_service(folder, *options))
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
