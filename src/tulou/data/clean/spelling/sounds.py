"""Characters by sound: which a pinyin keyboard confuses with which, tones left out.

`sounds.txt` has one line a syllable with its characters of GB 2312, made from pypinyin's readings (MIT) by running this
module; the first two readings count. Fuzzy sounds (zh/z, ch/c, sh/s, n/l, ing/in, eng/en, ang/an) are the ones that
input methods offer to merge for speakers who do not tell them apart.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from functools import cache
from importlib.resources import files
from pathlib import Path

_FUZZY = (("zh", "z"), ("ch", "c"), ("sh", "s"), ("ing", "in"), ("eng", "en"), ("ang", "an"))
_READINGS = 2


@cache
def same_sound() -> dict[str, str]:
    """Character to all with the same syllable, itself left out."""
    groups = syllables()
    return _others(groups)


@cache
def fuzzy_sound() -> dict[str, str]:
    """Character to all whose syllable sounds the same to many speakers, itself left out."""
    merged: dict[str, str] = defaultdict(str)
    for syllable, chars in syllables().items():
        merged[blurred(syllable)] += chars
    return _others(merged)


def blurred(syllable: str) -> str:
    for sharp, blunt in _FUZZY:
        syllable = syllable.replace(sharp, blunt)
    return "l" + syllable[1:] if syllable.startswith("n") else syllable


def syllables() -> dict[str, str]:
    """Syllable without its tone to the characters read so."""
    lines = files(__package__).joinpath("sounds.txt").read_text("utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if line and not line.startswith("#"))


def _others(groups: dict[str, str]) -> dict[str, str]:
    sets: dict[str, set[str]] = defaultdict(set)
    for chars in groups.values():
        for char in chars:
            sets[char].update(chars)
    return {char: "".join(sorted(others - {char})) for char, others in sets.items()}


def make_table() -> str:
    """What `sounds.txt` holds, from pypinyin."""
    from pypinyin import pinyin_dict

    groups: dict[str, list[str]] = defaultdict(list)
    for char in _gb2312():
        readings = [_toneless(reading) for reading in pinyin_dict.pinyin_dict.get(ord(char), "").split(",")[:_READINGS]]
        for syllable in dict.fromkeys(readings):
            if syllable.isascii() and syllable:
                groups[syllable].append(char)
    lines = [f"{syllable} {''.join(chars)}" for syllable, chars in sorted(groups.items())]
    return "\n".join(
        ["# syllable and the GB 2312 characters read so; made by sounds.py from pypinyin (MIT)", *lines, ""]
    )


def _gb2312() -> list[str]:
    codes = (bytes([high, low]) for high in range(0xB0, 0xF8) for low in range(0xA1, 0xFF))
    return [char for code in codes if len(char := code.decode("gb2312", "ignore")) == 1]


def _toneless(reading: str) -> str:
    plain = "".join(c for c in unicodedata.normalize("NFD", reading) if not unicodedata.combining(c) or c == "\u0308")
    return plain.replace("u\u0308", "v")


if __name__ == "__main__":
    Path(__file__).with_name("sounds.txt").write_text(make_table(), "utf-8")
