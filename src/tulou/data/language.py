"""Which language a text is written in, by counting scripts.

A Chinese character weighs as much as a Latin word, so "iPhone 15 保修多久" is Chinese and "Does the 云雀 kettle
whistle?" is English. Kana, Hangul and other alphabets make "other". It costs about a microsecond a word and needs no
model; the price is that all Latin-script languages count as English.
"""

from __future__ import annotations

import re

from tulou.core.types import Language

_CJK = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u024f]+(?:['’-][A-Za-z\u00c0-\u024f]+)*")
_ELSEWHERE = re.compile(r"[\u0370-\u1cff\u3040-\u30ff\u1100-\u11ff\uac00-\ud7af]")

_SAMPLE_CHARS = 4000  # the rest of a long text rarely says otherwise


def detect(text: str) -> Language:
    """The language of `text`: "zh", "en", or "other" where neither script prevails."""
    sample = text[:_SAMPLE_CHARS]
    chinese = len(_CJK.findall(sample))
    words = len(_LATIN_WORD.findall(sample))
    elsewhere = len(_ELSEWHERE.findall(sample))
    if elsewhere > 0.3 * (chinese + words + elsewhere):
        return "other"
    if chinese == words == 0:
        return "other"
    return "zh" if chinese >= words else "en"


def count_chinese(text: str) -> int:
    """How many Chinese characters `text` has."""
    return len(_CJK.findall(text))
