"""Numbers with their unit: "7 days" is not "7 hours", "七天" is "7天", and "3 to 5 days" is three days and five days.

Read by patterns, so a unit that stands elsewhere in the sentence is missed; then the number counts without unit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from tulou.apps import lexicon
from tulou.apps.lexicon import fold
from tulou.data.search.words import stem

Quantity = tuple[str, str]  # ("7", "天"), ("299", "$"), ("9:00", "")

_DIGITS_ZH = {character: i for i, character in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_VAGUE = frozenset({"一个", "一点", "一分", "一号", "一块", "一次"})  # counts nothing
_CURRENCY = r"[¥￥$€£]|rmb|cny|usd|yuan"


@lru_cache(maxsize=4096)
def quantities(text: str) -> frozenset[Quantity]:
    """Each number of `text` with its unit."""
    return frozenset(_quantities(fold(text)))


def is_numeral(word: str) -> bool:
    """Whether a Chinese word is a number, with or without unit: 七天, 十."""
    return bool(_numeral_zh().fullmatch(word)) or all(each in _DIGITS_ZH or each in "十百" for each in word)


def without_numerals(text: str) -> str:
    """Folded `text` without English number words."""
    return _numeral_en().sub(" ", text)


def is_time(quantity: Quantity) -> bool:
    return quantity[1] in lexicon.words("units", "time") or ":" in quantity[0]


def is_money(quantity: Quantity) -> bool:
    return quantity[1] in ("元", "$", "€", "£")


def _quantities(text: str) -> Iterator[Quantity]:
    text = _numeral_en().sub(lambda match: _numerals_en()[match[1]], text)
    text = _numeral_zh().sub(
        lambda match: match[0] if match[0] in _VAGUE else f"{_number_zh(match['n'])}{match['unit']}", text
    )
    waiting: list[str] = []  # numbers of a range, whose unit comes after the last one
    for match in _quantity().finditer(text):
        before = text[match.start("n") - 1] if match.start("n") else ""
        if before.isascii() and before.isalpha() and not match["pre"]:
            continue  # part of a name, such as a2 or ip67; it counts as a word
        waiting.append(re.sub(r"\.0+$", "", match["n"].replace(",", "")))
        if match["range"]:
            continue
        unit = _unit(match["pre"], match["post"])
        yield from ((number, unit) for number in waiting)
        waiting = []


def _unit(pre: str | None, post: str | None) -> str:
    if pre or re.fullmatch(_CURRENCY, post or ""):
        return {"$": "$", "usd": "$", "€": "€", "£": "£"}.get(pre or post or "", "元")
    if post is None or post in lexicon.words("grammar", "en"):
        return ""
    return _units_zh().get(post) or stem(post)


def _number_zh(numeral: str) -> int:
    if not set(numeral) & set("十百"):
        return int("".join(str(_DIGITS_ZH[character]) for character in numeral))
    total, digit = 0, 0
    for character in numeral:
        if character in _DIGITS_ZH:
            digit = _DIGITS_ZH[character]
        else:
            total += (digit or 1) * (10 if character == "十" else 100)
            digit = 0
    return total + digit


@cache
def _units_zh() -> dict[str, str]:
    return _pairs("zh")


@cache
def _numerals_en() -> dict[str, str]:
    return _pairs("numerals_en")


def _pairs(key: str) -> dict[str, str]:
    split = (entry.partition("=") for entry in lexicon.words("units", key))
    return {spelled: meant for spelled, _, meant in split}


@cache
def _unit_pattern() -> str:
    return "|".join(sorted(map(re.escape, _units_zh()), key=len, reverse=True))


@cache
def _quantity() -> re.Pattern[str]:
    number = r"(?P<n>\d+(?:[.,:]\d+)*)(?P<range>\s*(?:-|–|~|至|到|to)\s*(?=\d))?"
    return re.compile(rf"(?P<pre>{_CURRENCY})?\s*{number}\s*(?P<post>{_unit_pattern()}|%|[a-z]+(?:-[a-z]+)?)?")


@cache
def _numeral_zh() -> re.Pattern[str]:
    return re.compile(rf"(?P<n>[零〇一二两三四五六七八九十百]+)(?P<unit>{_unit_pattern()})")


@cache
def _numeral_en() -> re.Pattern[str]:
    return re.compile(rf"\b({'|'.join(_numerals_en())})\b")
