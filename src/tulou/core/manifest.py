"""Reading and writing `model.json`, the page of facts in every model folder that is served."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path

from tulou.core.errors import ModelError
from tulou.core.stage import write_json
from tulou.core.types import ModelManifest

MANIFEST = "model.json"


def write_manifest(folder: Path, manifest: ModelManifest) -> None:
    write_json(folder / MANIFEST, asdict(manifest))


def read_manifest(folder: Path) -> ModelManifest:
    """The manifest of the model in `folder`; raises `ModelError` where there is none or it cannot be understood."""
    path = folder / MANIFEST
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name for field in fields(ModelManifest)}
        values = {name: value for name, value in raw.items() if name in known}
        return ModelManifest(**{**values, "labels": tuple(values.get("labels", ()))})
    except FileNotFoundError:
        raise ModelError(f"{folder} is no served model: it has no {MANIFEST}; make one with `tulou run`") from None
    except (OSError, ValueError, TypeError, AttributeError) as err:
        raise ModelError(f"{path} cannot be read as a model manifest: {err}") from err
