import json
from pathlib import Path

import pytest

from tulou.bootstrap.release import release
from tulou.model.registry import Registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("registry")
    return Registry(f"sqlite:///{folder / 'mlflow.db'}", folder / "files")


def compressed(folder: Path, fingerprint: str, accuracy: float) -> Path:
    made = folder / fingerprint
    (made / "int8").mkdir(parents=True)
    (made / "int8" / "model.json").write_text("{}")
    row = {"precision": "int8", "size_bytes": 1, "latency_ms_p50": 1.0, "accuracy": accuracy}
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
