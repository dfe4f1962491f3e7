from pathlib import Path

import pytest

from tulou.core.errors import DataError
from tulou.data.search.publish import current_index, publish_index


def made(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "index.txt").write_text(text)
    return folder


def test_the_pointer_moves_to_the_new_index_and_one_old_one_stays(tmp_path: Path) -> None:
    home = tmp_path / "search"
    with pytest.raises(DataError, match="no search index"):
        current_index(home)
    home.mkdir()
    made(home / "photos", "somebody else's")
    (home / f"{'9' * 16}.partial").mkdir()
    for name in ("a" * 16, "b" * 16, "c" * 16):
        publish_index(made(tmp_path / name, name), home, name)
        assert (current_index(home) / "index.txt").read_text() == name
    assert {path.name for path in home.iterdir()} == {"b" * 16, "c" * 16, "current.json", "photos"}


def test_publishing_the_same_index_again_is_harmless(tmp_path: Path) -> None:
    built = made(tmp_path / "built", "x")
    publish_index(built, tmp_path / "search", "f")
    publish_index(built, tmp_path / "search", "f")
    assert current_index(tmp_path / "search").name == "f"
