import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tulou.bootstrap.project import Project
from tulou.core.errors import SettingsError

SOURCES = """
[[data.source]]
name = "notes"
url = "texts/notes/**/*.md"

[[data.source]]
name = "tickets"
url = "tickets/all.csv"

[[data.source]]
name = "far"
url = "s3://bucket/*.csv"
"""


def project(folder: Path, search: str = ".tulou/search") -> Project:
    folder.mkdir(exist_ok=True)
    (folder / "tulou.toml").write_text(f'[data]\nsearch = "{search}"\n{SOURCES}')
    return Project.open(folder)


@pytest.mark.parametrize("search", [".", "..", "other", "./texts/..", "texts", "texts/notes", "tickets"])
def test_the_index_gets_a_folder_of_its_own(tmp_path: Path, search: str) -> None:
    (tmp_path / "shop" / "other").mkdir(parents=True)
    (tmp_path / "shop" / "other" / "tulou.toml").touch()
    with pytest.raises(SettingsError, match=r"data\.search"):
        project(tmp_path / "shop", search)


@pytest.mark.parametrize("search", [".tulou/search", "texts/search", "../elsewhere"])
def test_the_index_may_be_anywhere_else(tmp_path: Path, search: str) -> None:
    assert project(tmp_path / "shop", search).search == tmp_path / "shop" / search


def test_what_tulou_keeps_is_for_its_owner_alone(tmp_path: Path) -> None:
    opened = project(tmp_path)
    opened.secret("session")
    assert stat.S_IMODE(opened.home.stat().st_mode) == 0o700
    assert stat.S_IMODE((opened.home / "session.secret").stat().st_mode) == 0o600


def test_processes_that_ask_at_once_agree_on_a_secret(tmp_path: Path) -> None:
    opened = project(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: opened.secret("token"), range(32)))
    assert found == {opened.secret("token")}
    assert len(found.pop()) == 32
    assert [path.name for path in opened.home.iterdir()] == ["token.secret"]
