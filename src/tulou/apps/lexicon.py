"""The words the honesty policy knows, read once from `lexicon.toml`, and one form for those that vary."""

from __future__ import annotations

import re
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
    """A list of longer entries, such as `entries("synonyms", "groups")`."""
    return tuple(_lexicon()[section][key])


def fold(text: str) -> str:
    """One form for what looks alike: full-width and half-width, upper and lower case."""
    return unicodedata.normalize("NFKC", text).casefold().replace("’", "'")


def stem(word: str) -> str:
    """Porter's first steps, roughly; both sides of a comparison lose the same endings."""
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for suffix in ("ing", "ed"):
        if word.endswith(suffix) and len(word) - len(suffix) >= 3 and re.search("[aeiou]", word[: -len(suffix)]):
            stem = word[: -len(suffix)]
            return stem[:-1] if stem[-1] == stem[-2] and stem[-1] not in "ls" else stem.removesuffix("e")
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-2] if word.endswith(("shes", "ches", "xes", "sses", "zes")) else word[:-1]
    return word.removesuffix("e") if len(word) > 4 else word


@cache
def _lexicon() -> dict[str, Any]:
    return tomllib.loads(_PATH.read_text(encoding="utf-8"))
