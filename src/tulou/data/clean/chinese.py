"""Traditional Chinese in simplified characters, by OpenCC's phrases and characters (t2s).

Simplified text is never touched: a change counts only if a character outside GB2312 level 1 goes, since of those within
OpenCC would change 乾 by itself and some in pairs (答覆, 反覆), which simplified text writes too. Nor is Japanese
touched, whose old characters are no Chinese. It costs some tens of microseconds a kilobyte; what is lost is which of
several traditional characters stood there.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from tulou.data.everyday import beyond_level_1, level_1

NEEDS = ("HAN_BEYOND",)

_KANA = re.compile("[\u3040-\u30ff]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_MAX_KANA_SHARE = 0.2  # of the Han characters; Chinese texts quote a の
_MAX_PASSES = 4  # a phrase may make another; the second pass changes nothing in practice


def simplify(text: str) -> tuple[str, list[str]]:
    """`text` in simplified characters, and the rule "simplified" where it was not."""
    if text.isascii() or not _beyond().search(text) or _is_japanese(text):
        return text, []
    simplified = text
    for _ in range(_MAX_PASSES):
        if not _beyond().search(simplified):
            break
        before, simplified = simplified, str(_converter().convert(simplified))
        if _is_same_but_for_everyday(before, simplified):
            simplified = before
            break
    return simplified, ["simplified"] if simplified != text else []


def _is_same_but_for_everyday(before: str, after: str) -> bool:
    if len(before) != len(after):
        return before == after
    return all(old == new or old in level_1() for old, new in zip(before, after, strict=True))


def _is_japanese(text: str) -> bool:
    kana = len(_KANA.findall(text))
    return kana > 0 and kana > _MAX_KANA_SHARE * len(_HAN.findall(text))


@cache
def _beyond() -> re.Pattern[str]:
    return re.compile(f"[{beyond_level_1()}]")


@cache
def _converter() -> Any:
    from opencc import OpenCC

    return OpenCC("t2s")
