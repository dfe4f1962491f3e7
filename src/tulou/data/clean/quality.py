"""Records that teach nothing: empty, too short, mostly symbols, one thing over and over, page furniture, advertising.

Each rule is a judge of its own, can be switched off ("quality.NAME" in `off`) and cites its threshold. Limits from
crawled pages (Gopher: Rae et al. 2021, table A1; C4: Raffel et al. 2020, section 2.2; FineWeb: Penedo et al. 2024) are
taken where they fit a business's records too, and loosened where they would drop a short message, a table or a price
list. Advertising is looked for only in what customers wrote: two different cues (a lure, a contact or a link) are
needed, so that a question about a refund by link is not mistaken for one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from typing import Any

from tulou.core.settings import CleanSettings
from tulou.data.clean.record import Judge
from tulou.data.kernels.survey import Trait

LONG_CHARS = 2000  # from here on a text is searched for passages that come again
BOILERPLATE_CHARS = 600  # longer records are never nothing but page furniture

NEEDS = {
    "too_short": "fewer than min_chars characters that are no spaces",
    "symbols": "more than max_symbol_ratio of those are neither letters nor digits",
    "digits": "more than max_digit_ratio of those are digits",
    "language": "languages is set",
    "repetitive": "REPEATED, REPEATED_WORDS or LINES, or at least LONG_CHARS characters",
    "boilerplate": "at most BOILERPLATE_CHARS characters",
}
"""What must hold of a text, or of the settings, for a rule to be able to drop it."""

_DUPLICATE_LINE_SHARE = 0.3  # Gopher: duplicate line fraction
_DUPLICATE_LINE_CHAR_SHARE = 0.2  # Gopher: duplicate line character fraction; FineWeb has 0.1, too strict for forms
_MIN_LINES = 6
_PAGE_LINES = 20  # shorter than a page, questions may well have the same answer: half may come again
_DUPLICATE_SHARE_OF_FEW = 0.5
_MIN_LINE_CHARS = 10  # shorter ones ("yes", "包邮", "| - |") come again in any table
DUPLICATE_PASSAGE_SHARE = 0.3  # as for lines; Gopher's 0.1 for 10-grams drops price lists
PASSAGE_WORDS = 10  # Gopher's longest n-gram
PASSAGE_CHARACTERS = 16  # as many Chinese characters as ten words have
_RUN_CHARS = 24  # one character or short word so often in a row is a stuck key
_STUCK = re.compile(rf"([^\W_]{{1,4}}?)\1{{{_RUN_CHARS - 1},}}")  # letters: a table's ruling line is no stuck key
_STUCK_WORDS = 3  # so many words in a row, 24 times: "yes yes", "buy now buy now"
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+")

_NAVIGATION = (
    "home|about us|about|contact us|contact|products?|services?|news|blog|faqs?|help|support|log ?in|log ?out|sign ?in|"
    "sign ?up|register|search|menu|cart|checkout|my account|careers|site ?map|privacy policy|privacy|terms of use|"
    "terms of service|terms|cookies|next|previous|share|tweet|subscribe|read more|back to top|"
    "skip to content|skip to main content|"
    "首页|网站首页|关于我们|联系我们|产品中心|产品展示|产品|解决方案|服务支持|服务|新闻中心|新闻动态|新闻|帮助中心|帮助|"
    "登录|注册|退出|搜索|菜单|购物车|我的账户|个人中心|网站地图|隐私政策|用户协议|服务条款|法律声明|上一页|下一页|上一篇|下一篇|"
    "返回顶部|返回首页|分享|加入我们|人才招聘|招贤纳士|友情链接|客服中心|更多"
)
# Longest first, as written; nothing is given back, so that a long list is read once.
_MENU = re.compile(rf"(?:(?:{_NAVIGATION})(?![A-Za-z])[\s|｜·•»›>/,，、-]*+)++", re.IGNORECASE)
_MENU_ITEM = re.compile(rf"(?:{_NAVIGATION})(?![A-Za-z])", re.IGNORECASE)
_MIN_MENU_ITEMS = 3  # "Help" and "登录" alone are what a customer writes
_FURNITURE = re.compile(
    # C4 drops such lines, too: JavaScript, cookies, terms
    r"(?:copyright|©|\(c\)).{0,90}|.{0,60}all rights reserved|(?:this|our) (?:web)?site uses cookies.{0,200}|"
    r"we (?:and our partners )?use cookies.{0,200}|by (?:using|continuing|browsing).{0,90}(?:cookies|terms).{0,60}|"
    r"(?:accept|reject|allow)(?: all)?(?: cookies)?|(?:manage )?cookie (?:settings|preferences|policy|notice)|"
    r"(?:please |you need to )?enable javascript.{0,90}|javascript (?:is|must be) .{0,60}|powered by .{1,40}|"
    r"(?:版权所有|copyright).{0,60}|.{0,40}(?:版权所有|保留所有权利|保留一切权利|未经授权禁止转载)|"
    r"(?:备案号|许可证编?号|增值电信业务经营许可证)[:：]?.{0,40}|(?:网上)?(?:违法和)?不良信息举报.{0,40}|"
    r"(?:本网?站|我们)(?:会)?使用\s?cookies?.{0,90}|(?:接受|拒绝)(?:所有|全部)?\s?cookies?|"
    r"请(?:先)?(?:启用|开启|允许)\s?javascript.{0,40}|(?:技术支持|网站建设)[:：]\s?.{1,40}|扫一扫.{0,12}关注.{0,12}",
    re.IGNORECASE,
)
_LICENCE = re.compile(
    r"[\u4e00-\u9fff]?\s?ICP[备证]\s?(?:字)?(?:第)?\s?\d{4,12}\s?号?(?:-\d{1,3})?|[\u4e00-\u9fff]?公网安备\s?\d{8,16}\s?号?",
    re.IGNORECASE,
)
# No furniture but menus is without one of these, and they are found much sooner than its expressions.
_FURNITURE_WORDS = [
    *["copyright", "©", "(c)", "rights reserved", "cookie", "javascript", "powered by", "accept", "reject", "allow"],
    *["版权所有", "保留", "转载", "icp", "公网安备", "备案号", "许可证", "举报", "技术支持", "网站建设", "扫一扫"],
]
BOILERPLATE_HINT = "|".join([*map(re.escape, _FURNITURE_WORDS), "lorem ipsum dolor", rf"^\s*(?:{_NAVIGATION})"])
"""A regular expression without look-around, for any case: a text that has no match is not nothing but furniture."""

_CLAUSE = re.compile(r"[^\n|｜。.!！;；]+(?:\.(?=\w)[^\n|｜。.!！;；]*)*")
_FILLER = "lorem ipsum dolor"  # C4 drops pages with "lorem ipsum"

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
    """The judge that asks those of `QUALITY_RULES` that are not switched off, in order."""
    judges = [make(settings) for name, make in QUALITY_RULES.items() if f"quality.{name}" not in settings.off]

    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        return next((verdict for ask in judges if (verdict := ask(row))), None)

    return judge


def too_short(settings: CleanSettings) -> Judge:
    """Shorter than `min_chars`; a wide character says as much as two narrow ones, so "在吗" is longer than "ok"."""

    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        visible = _visible(row["text"][: 4 * settings.min_chars + 1000])
        if len(visible) >= settings.min_chars:
            return None
        width = sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in visible)
        return ("too_short", None) if width < settings.min_chars else None

    return judge


def symbols(settings: CleanSettings) -> Judge:
    """Of characters that are neither letters nor digits; our own limit, as Gopher's counts only # and …"""

    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        return ("symbols", None) if _symbol_ratio(_visible(row["text"])) > settings.max_symbol_ratio else None

    return judge


def digits(settings: CleanSettings) -> Judge:
    """Of digits among all characters; off by default, since an order number alone is a message, too."""

    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        if settings.max_digit_ratio >= 1:
            return None
        visible = _visible(row["text"])
        count = sum(char.isdecimal() for char in visible)
        return ("digits", None) if count > settings.max_digit_ratio * len(visible) else None

    return judge


def language(settings: CleanSettings) -> Judge:
    """In a language that was not asked for, as the row says; the remark is that language."""

    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        if not settings.languages or row["language"] in settings.languages:
            return None
        return "language", row["language"]

    return judge


def repetitive(row: dict[str, Any]) -> tuple[str, str | None] | None:
    """A stuck key, the same lines again, or in a long text the same passages again; the remark says which."""
    text, traits = row["text"], row["traits"]
    if traits & Trait.REPEATED and _STUCK.search(text):
        return "repetitive", "stuck"
    if traits & Trait.REPEATED_WORDS and _repeats_words(text):
        return "repetitive", "words"
    if traits & Trait.LINES and _repeats_lines(text):
        return "repetitive", "lines"
    if len(text) >= LONG_CHARS and _repeats_passages(text):
        return "repetitive", "passages"
    return None


def boilerplate(row: dict[str, Any]) -> tuple[str, str | None] | None:
    """Nothing but page furniture: menus, cookie banners, copyright and licence lines; or filler text."""
    text = row["text"]
    if len(text) > BOILERPLATE_CHARS:
        return None
    return ("boilerplate", None) if _FILLER in text.lower() or _is_furniture(text) else None


QUALITY_RULES: dict[str, Callable[[CleanSettings], Judge]] = {
    "too_short": too_short,
    "symbols": symbols,
    "digits": digits,
    "language": language,
    "repetitive": lambda _: repetitive,
    "boilerplate": lambda _: boilerplate,
}
"""Each rule by name, in the order in which they are asked."""


def advertising(row: dict[str, Any]) -> tuple[str, str | None] | None:
    lures = {match.casefold() for match in _LURES.findall(row["text"])}
    if len(lures) + bool(_CONTACTS.search(row["text"])) >= 2:
        return "advertising", None
    return None


def _visible(text: str) -> str:
    return "".join(text.split())


def _symbol_ratio(visible: str) -> float:
    """Of characters that are neither letters nor digits; the lines that draw a table do not count."""
    shown = visible.replace("|", "").replace("---", "")
    if not shown:
        return 1.0
    return (len(shown) - sum(map(str.isalnum, shown))) / len(shown)


def _repeats_words(text: str) -> bool:
    """Whether up to three words come 24 times in a row."""
    words = text.split()
    if len(words) < _RUN_CHARS or max(Counter(words).values()) < _RUN_CHARS:
        return False
    for count in range(1, _STUCK_WORDS + 1):
        run = 0
        for word, before in zip(words[count:], words, strict=False):
            run = run + 1 if word == before and word[0].isalnum() else 0
            if run >= (_RUN_CHARS - 1) * count:
                return True
    return False


def _repeats_lines(text: str) -> bool:
    lines = [line for part in text.split("\n") if (line := part.strip())]
    if len(lines) < _MIN_LINES:
        return False
    again = [(count - 1, len(line)) for line, count in Counter(lines).items() if count > 1]
    is_page = len(lines) >= _PAGE_LINES
    max_lines = _DUPLICATE_LINE_SHARE if is_page else _DUPLICATE_SHARE_OF_FEW
    max_chars = _DUPLICATE_LINE_CHAR_SHARE if is_page else _DUPLICATE_SHARE_OF_FEW
    chars = sum(times * length for times, length in again if length >= _MIN_LINE_CHARS)
    return sum(times for times, _ in again) > max_lines * len(lines) or chars > max_chars * sum(map(len, lines))


def _repeats_passages(text: str) -> bool:
    """Whether too many words stand in passages that stood before; rows of tables do not count."""
    prose = "\n".join(line for line in text.split("\n") if "|" not in line)
    words = _WORD.findall(prose)
    is_chinese = 2 * sum(word >= "\u3400" for word in words) > len(words)
    length = PASSAGE_CHARACTERS if is_chinese else PASSAGE_WORDS
    seen: set[int] = set()
    repeated = covered_to = 0
    enough = DUPLICATE_PASSAGE_SHARE * max(len(words), 1)
    for start in range(len(words) - length + 1):
        passage = hash(tuple(words[start : start + length]))
        if passage in seen:
            repeated += start + length - max(start, covered_to)
            covered_to = start + length
            if repeated > enough:
                return True
        seen.add(passage)
    return False


def _is_furniture(text: str) -> bool:
    lower = text.lower()
    if not any(word in lower for word in _FURNITURE_WORDS) and not _MENU_ITEM.match(text.strip()):
        return False
    menu_items = 0
    rest = _LICENCE.sub("\n", text)
    found = rest != text
    for clause in _CLAUSE.findall(rest):
        plain = clause.strip(" \t-—·•»›>/,，、:：")
        if not any(map(str.isalnum, plain)):
            continue
        if _MENU.fullmatch(plain):
            menu_items += len(_MENU_ITEM.findall(plain))
        elif _FURNITURE.fullmatch(plain):
            found = True
        else:
            return False
    return found or menu_items >= _MIN_MENU_ITEMS
