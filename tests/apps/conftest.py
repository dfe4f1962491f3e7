from __future__ import annotations

from pathlib import Path

import pytest
from tests.apps.bookshop import Bookshop, open_bookshop
from tests.apps.fakes import FakeModels, applications

from tulou.apps.routes import Applications


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Bookshop:
    return open_bookshop(tmp_path_factory.mktemp("bookshop"))


@pytest.fixture
def models() -> FakeModels:
    return FakeModels()


@pytest.fixture
def apps(tmp_path: Path, shop: Bookshop, models: FakeModels) -> Applications:
    return applications(tmp_path, shop, models)
