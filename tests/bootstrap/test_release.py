import json
from pathlib import Path

import pytest

from tulou.bootstrap.release import release
from tulou.model.registry import Registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "files")


def compressed(folder: Path, fingerprint: str, accuracy: float, validation: float | None = None) -> Path:
    made = folder / fingerprint
    (made / "int8").mkdir(parents=True)
    (made / "int8" / "model.json").write_text("{}")
    row = {"precision": "int8", "size_bytes": 1, "latency_ms_p50": 1.0, "accuracy": accuracy}
    if validation is not None:
        row["validation_accuracy"] = validation
    summary = {"table": [row], "chosen": "int8", "reason": "int8 serves"}
    manifest = {"name": "compress.m", "fingerprint": fingerprint, "inputs": {}, "settings": {}, "summary": summary}
    (made / "stage.json").write_text(json.dumps(manifest))
    return made


def test_a_better_version_takes_over_and_a_worse_one_waits(registry: Registry, tmp_path: Path) -> None:
    def serves(fingerprint: str, accuracy: float) -> tuple[int, int]:
        said = release(registry, "m", compressed(tmp_path, fingerprint, accuracy), tolerance=0.01)
        return said["version"], said["serves"]

    assert serves("a", 0.90) == (1, 1)
    assert serves("b", 0.895) == (2, 2)  # within the tolerance
    assert serves("c", 0.80) == (3, 2)
    assert serves("d", 0.95) == (4, 4)


def test_small_losses_do_not_add_up(registry: Registry, tmp_path: Path) -> None:
    def serves(fingerprint: str, accuracy: float) -> bool:
        said = release(registry, "slow", compressed(tmp_path, fingerprint, accuracy), tolerance=0.01)
        assert said["is_worse"] == (said["version"] != said["serves"])
        return bool(said["version"] == said["serves"])

    assert [serves("a", 0.90), serves("b", 0.892), serves("c", 0.884), serves("d", 0.891)] == [True, True, False, True]


def test_what_is_worse_on_validation_rows_is_worse(registry: Registry, tmp_path: Path) -> None:
    def serves(fingerprint: str, validation: float) -> int:
        made = compressed(tmp_path, fingerprint, 0.9, validation)
        return int(release(registry, "v", made, tolerance=0.01)["serves"])

    assert [serves("a", 0.98), serves("b", 0.96), serves("c", 0.975)] == [1, 1, 3]


def test_nothing_serves_by_itself_where_settings_say_so(registry: Registry, tmp_path: Path) -> None:
    for fingerprint, accuracy in (("a", 0.5), ("b", 0.9)):
        said = release(registry, "p", compressed(tmp_path, fingerprint, accuracy), tolerance=0.01, promotes=False)
    assert (said["version"], said["serves"], said["is_worse"]) == (2, 1, False)
    assert registry.find("p").version == 1
