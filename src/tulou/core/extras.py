"""Optional libraries load where they are used, and a missing one is answered with the command that installs it."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from tulou.core.errors import MissingExtraError


def load_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or raise `MissingExtraError` naming `pip install 'tulou[extra]'` and what it was wanted for."""
    try:
        return import_module(module)
    except ImportError as err:
        raise MissingExtraError(module, extra, purpose) from err


def load_openvino(module: str = "openvino") -> ModuleType:
    """Import `openvino`, `openvino_genai`, `openvino_tokenizers` or `nncf` without their telemetry.

    Left alone, each import reports itself to Google Analytics unless the person has opted out. All of them do without
    when their `openvino_telemetry` cannot be imported, which is what None in `sys.modules` says.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # documented in importlib's reference
    return import_module(module)
