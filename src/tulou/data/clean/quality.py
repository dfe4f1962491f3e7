"""Records that teach nothing: empty, too short, mostly symbols, one thing over and over, advertising.

The repetition limits follow Gopher (Rae et al. 2021, table A1), on lines and on characters because Chinese has no
spaces. Advertising is looked for only in what customers wrote: two different cues (a lure, a contact or a link) are
needed, so that a question about a refund by link is not mistaken for one.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from tulou.core.settings import CleanSettings
from tulou.data.clean.record import Judge

_DUPLICATE_LINE_SHARE = 0.3  # Gopher
_MIN_LINES = 6
_RUN_CHARS = 24  # one character or short word so often in a row is a stuck key
_STUCK = re.compile(rf"([^\W_]{{1,4}}?)\1{{{_RUN_CHARS - 1},}}")  # letters: a table's ruling line is no stuck key

_LURES = re.compile(
    r"兼职|刷单|日赚|日入|月入|高薪|赚钱|返利|中奖|免费领|恭喜您|贷款|低息|无抵押|信用卡套现|代开发票|博彩|彩票|赌场|棋牌|股票推荐|"
    r"稳赚|包赢|加群|优惠代充|论文代写|刷粉|涨粉|推广引流|高仿|复刻|一比一|A货|朋友圈看图|代开|上首页|【推广】|"
    r"\b(?:casino|lottery|jackpot|viagra|crypto\s+profits?|forex|earn\s+(?:up\s+to\s+)?[$€£]?\d|make\s+money|work\s+from\s+home|"
    r"you(?:'ve| have)?\s+won|claim\s+(?:your\s+(?:prize|reward)|at)|congratulations|replica\s+\w+|seo|"
    r"rank\s+your\s+\w+|#1\s+on\s+(?:google|every)|free\s+audit|reply\s+yes|unsecured\s+loans?|business\s+loans?|no\s+questions\s+asked|crypto|act\s+now|limited\s+time\s+offer|cheap\s+loans?|"
    r"guaranteed\s+(?:profit|income)|seo\s+services?|followers\s+for\s+sale|buy\s+followers|hot\s+singles|"
    r"100%\s+free|risk[- ]free|double\s+your|investment\s+opportunity)\b",
    re.IGNORECASE,
)
_CONTACTS = re.compile(
    r"(?:加|\+)\s*(?:我)?\s*(?:微信|薇信|vx|wx|qq)|(?:微信|薇信|微号|vx|qq)\s*(?:号|群)?\s*[:：]?\s*[A-Za-z0-9_]{5,}|"
    r"telegram|whatsapp|t\.me/|加\s*v\b|加\s*v[:：]|join\s+(?:our\s+)?channel|点击(?:链接|领取|下方)|click\s+(?:here|the\s+link|below|now)|https?://|www\.|"
    r"\b[a-z0-9-]+\.(?:top|xyz|vip|click|win|loan|bet)\b",
    re.IGNORECASE,
)


def empty(row: dict[str, Any]) -> tuple[str, str | None] | None:
    """Nothing left to read."""
    return None if row["text"].strip() else ("no_text", None)


def quality(settings: CleanSettings) -> Judge:
    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        text = row["text"]
        visible = re.sub(r"\s+", "", text)
        if len(visible) < settings.min_chars:
            return "too_short", None
        if _symbol_ratio(visible) > settings.max_symbol_ratio:
            return "symbols", None
        if _is_repetitive(text):
            return "repetitive", None
        return None

    return judge


def advertising(row: dict[str, Any]) -> tuple[str, str | None] | None:
    lures = {match.casefold() for match in _LURES.findall(row["text"])}
    if len(lures) + bool(_CONTACTS.search(row["text"])) >= 2:
        return "advertising", None
    return None


def _symbol_ratio(visible: str) -> float:
    """Of characters that are neither letters nor digits; the lines that draw a table do not count."""
    shown = visible.replace("|", "").replace("---", "")
    if not shown:
        return 1.0
    return sum(not char.isalnum() for char in shown) / len(shown)


def _is_repetitive(text: str) -> bool:
    if _STUCK.search(text):
        return True
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) < _MIN_LINES:
        return False
    doubled = sum(count - 1 for count in Counter(lines).values())
    return doubled / len(lines) > _DUPLICATE_LINE_SHARE
