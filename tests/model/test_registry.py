import errno
import logging
from pathlib import Path

import pytest

from tulou.core.errors import ModelError
from tulou.model.registry import Candidate, Registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "files")


def candidate(folder: Path, name: str, fingerprint: str, accuracy: float = 0.9) -> Candidate:
    made = folder / fingerprint
    for precision in ("fp32", "int8"):
        (made / precision).mkdir(parents=True)
        (made / precision / "model.bin").write_text(f"{fingerprint} {precision}")
    table = [{"precision": "fp32", "size_bytes": 4}, {"precision": "int8", "size_bytes": 1}]
    return Candidate(
        name,
        made,
        fingerprint,
        "int8",
        table,
        {"accuracy": accuracy},
        accuracy,
        "within the loss",
        {"data": {"split": "x"}},
    )


def test_versions_count_up_and_the_first_one_serves(registry: Registry, tmp_path: Path) -> None:
    assert registry.champion("intents") is None
    first = registry.register(candidate(tmp_path, "intents", "aa"))
    second = registry.register(candidate(tmp_path, "intents", "bb"))
    assert (first.version, second.version) == (1, 2)
    champion = registry.champion("intents")
    assert champion is not None
    assert champion.version == 1
    assert (champion.folder / "model.bin").read_text() == "aa int8"
    assert champion.metrics == {"accuracy": 0.9}
    assert [row["precision"] for row in champion.table] == ["fp32", "int8"]


def test_the_same_fingerprint_is_registered_once(registry: Registry, tmp_path: Path) -> None:
    first = registry.register(candidate(tmp_path, "again", "aa"))
    assert registry.register(candidate(tmp_path / "copy", "again", "aa")) == first
    assert len(registry.versions("again")) == 1


def test_promote_and_rollback_move_the_champion(registry: Registry, tmp_path: Path) -> None:
    for fingerprint in ("aa", "bb", "cc"):
        registry.register(candidate(tmp_path, "assistant", fingerprint))
    registry.promote("assistant", 3)
    assert registry.find("assistant").version == 3
    registry.rollback("assistant")
    assert registry.find("assistant").version == 1
    registry.promote("assistant", 1)
    with pytest.raises(ModelError, match="served no version before 1"):
        registry.rollback("assistant")


def test_what_is_not_there_is_named_with_what_is(registry: Registry, tmp_path: Path) -> None:
    registry.register(candidate(tmp_path, "known", "aa"))
    with pytest.raises(ModelError, match=r"no model 'nope' is registered; there are: .*known"):
        registry.find("nope")
    with pytest.raises(ModelError, match="no version 7; there are: 1"):
        registry.promote("known", 7)


def test_files_outlive_the_stage_that_made_them(registry: Registry, tmp_path: Path) -> None:
    made = candidate(tmp_path, "kept", "aa")
    version = registry.register(made)
    for precision in ("fp32", "int8"):
        (made.folder / precision / "model.bin").unlink()
    assert (version.folder / "model.bin").read_text() == "aa int8"


def test_a_database_that_broke_while_it_was_made_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "files")

    def breaks(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr("os.link", breaks)
        full.setattr("os.replace", breaks)
        with pytest.raises(OSError, match="No space left"):
            registry.names()
    assert list(tmp_path.iterdir()) == []
    assert registry.names() == []
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_moved_project_keeps_its_models(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    Registry(f"sqlite:///{before / 'mlflow.db'}", before / "files").register(candidate(tmp_path, "intents", "aa"))
    before.rename(after)
    champion = Registry(f"sqlite:///{after / 'mlflow.db'}", after / "files").find("intents")
    assert champion.folder == after / "files" / "intents" / "aa" / "int8"
    assert (champion.folder / "model.bin").read_text() == "aa int8"


def test_making_the_database_leaves_logging_as_it_was(tmp_path: Path) -> None:
    ours, root = logging.getLogger("tulou.test"), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    assert Registry(f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}", tmp_path / "models").champion("none") is None
    assert not ours.disabled
    assert (list(root.handlers), root.level) == (handlers, level)
