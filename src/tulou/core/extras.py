"""Optional libraries load where they are used, and a missing one is answered with the command that installs it."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from tulou.core.errors import MissingExtraError


def load_extra(module: str, extra: str, purpose: str) -> ModuleType:
    """Import `module`, or raise `MissingExtraError` naming `pip install 'tulou[extra]'` and what it was wanted for."""
    try:
        return import_module(module)
    except ImportError as err:
        raise MissingExtraError(module, extra, purpose) from err
