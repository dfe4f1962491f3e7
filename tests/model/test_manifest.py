from __future__ import annotations

from pathlib import Path

import pytest

from tulou.core.errors import ModelError
from tulou.core.manifest import MANIFEST, read_manifest, write_manifest
from tulou.core.types import ModelManifest


def test_manifest_survives_the_disk(tmp_path: Path) -> None:
    manifest = ModelManifest("intents", "classify", "openvino", "int8", "f00", "minilm", labels=("退货", "refund"))
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest


def test_a_folder_without_manifest_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is no served model: it has no model\.json"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "x"}'])
def test_a_broken_manifest_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(ModelError, match="cannot be read as a model manifest"):
        read_manifest(tmp_path)
