"""The words the honesty policy knows, read once from `lexicon.toml`, and one form for what looks alike."""

from __future__ import annotations

import tomllib
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

_PATH = Path(__file__).with_suffix(".toml")


@cache
def words(section: str, key: str) -> frozenset[str]:
    """A list of plain words, such as `words("grammar", "zh")`."""
    return frozenset(_lexicon()[section][key].split())


@cache
def entries(section: str, key: str) -> tuple[str, ...]:
    """A list of longer entries, such as `entries("errands", "patterns")`."""
    return tuple(_lexicon()[section][key])


def fold(text: str) -> str:
    """One form for what looks alike: full-width and half-width, upper and lower case."""
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'")


@cache
def _lexicon() -> dict[str, Any]:
    return tomllib.loads(_PATH.read_text(encoding="utf-8"))
