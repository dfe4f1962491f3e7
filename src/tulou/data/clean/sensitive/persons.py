"""Names of people, by dictionary and pattern: a surname behind 我叫 or before 先生, capitals behind Mr or "my name is".

Without such a cue no name is found: 高兴 and 江南 begin with surnames, and Jordan and Paris are places. Chinese names
of two to four characters with the commonest surnames; English names of up to four words. What it misses, a recogniser
plugged in can find.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tulou.data.clean.sensitive.finding import CUED, Finding
from tulou.data.clean.sensitive.names import (
    COMPOUND_SURNAMES,
    ENDS_IN_SURNAME,
    ENDS_NAME,
    GIVEN_NAMES,
    IN_GIVEN_NAMES,
    NO_CHINESE_NAME,
    NO_ENGLISH_NAME,
    SURNAMES,
)

_NAME = rf"(?:(?:{COMPOUND_SURNAMES})[\u4e00-\u9fff]{{1,2}}|[{SURNAMES}][\u4e00-\u9fff]{{1,2}})"
_FIELD = (
    "我叫|姓名|户名|收件人|寄件人|取件人|联系人|收货人|签收人|持卡人|申请人|负责人|投保人|报修人|投诉人|经办人|下单人"
    "|付款人|收款人|预约人"
)
_ROLE = (
    "乘客|旅客|患者|病人|户主|车主|业主|客户|顾客|会员|买家|卖家|学生|家长|员工|同事|朋友|本人|老公|老婆|丈夫|妻子|儿子|女儿"
    "|父亲|母亲"
)
_INTRODUCED = re.compile(
    rf"""
    (?:(?:{_FIELD})(?:名字|姓名|名)?(?:是|叫|为)?[\s:：]{{0,3}}
    |(?:{_ROLE})(?:(?:名字|姓名|名)(?:是|叫|为)?[\s:：]{{0,3}}|叫[\s:：]{{0,3}}|(?:是|为)?[\s:：]{{1,3}})
    |(?:名字|名叫|叫做)(?:是|为)?[\s:：]{{1,3}}
    |(?P<weak>(?:{_ROLE}|名字)是?|名字叫|名叫|叫做))
    (?P<name>{_NAME})
    """,
    re.VERBOSE,
)
_CUE = re.compile(f"{_FIELD}|{_ROLE}|名字|名叫|叫做")  # nothing but words: found several times as fast
_TITLE = re.compile(
    "先生|女士|小姐|老师|师傅|经理|医生|大夫|教授|同学|阿姨|叔叔|律师|主任|主管|总监|护士|警官|工程师|专员"
)
_SURNAMES = frozenset(SURNAMES)
_COMPOUND = frozenset(COMPOUND_SURNAMES.split("|"))
_LONGEST_NAME = 4

_WORD = r"(?:Ma?c[A-Z][a-z]+|[A-Z](?:['’][A-Z][a-z]+|[a-z]+(?:['’][a-z]+)?))(?:-[A-Z][a-z]+)?"
_PARTICLE = r"(?:van[ ]der|van[ ]den|van|de[ ]la|de|der|von|da|di|bin|al|el|le)"
_MORE = rf"(?:[ \t]+(?:[A-Z]\.[ \t]*)?(?:{_PARTICLE}[ \t]+)?{_WORD})"
_ENGLISH_TITLED = re.compile(
    r"(?<![A-Za-z])(?:Mr|Mrs|Ms|Mx|Miss|Dr|Prof|Professor|Madam|Sir|Mister|Lady|Lord)\.?[ \t]+"
    rf"((?:[A-Z]\.[ \t]*)?{_WORD}{_MORE}{{0,2}})"
)
# Behind these, a given name must come, or "is", or a colon: "from Jane Doe" is a person, "from Hong Kong" is not.
_WEAK_CUES = (
    "i[ ]am|i'm|this[ ]is|from|contact|name|thanks|cheers|dear|deliver(?:ed)?[ ]to|ship(?:ped)?[ ]to|ask[ ]for"
    "|speak(?:ing)?[ ](?:to|with)|spoke[ ](?:to|with)|(?:full|customer|contact)[ ]name|account[ ]holder|card[ ]?holder"
    "|passenger|recipient|addressee|contact[ ]person|consignee"
)
_CUE_BEFORE = re.compile(
    rf"""
    (?<![A-Za-z])(?i:my[ ]name(?:[ ]is|'s)|(?:signed|ordered|booked)[ ]by|attn|attention|regards|sincerely
    |best[ ]wishes|yours|(?P<weak>{_WEAK_CUES}))
    (?P<link>[ \t]*[:,\-][ \t]*\n?|[ \t]+(?:is[ \t]+)?|,?\n)$
    """,
    re.VERBOSE,
)
_CUE_CHARS = 40
# What those end in, asked first: nearly every pair of capitals stands behind something else.
_CUE_ENDS = (
    *(
        "is",
        "'s",
        "am",
        "i'm",
        "by",
        "to",
        "for",
        "with",
        "from",
        "dear",
        "attn",
        "attention",
        "contact",
        "name",
        "thanks",
    ),
    *("cheers", "regards", "sincerely", "wishes", "yours", "holder", "passenger", "recipient", "addressee", "person"),
    "consignee",
)
_LONGEST_END = 16
_FULL_NAME = re.compile(rf"{_WORD}{_MORE}{{1,3}}", re.VERBOSE)
# Two words in capitals are far rarer than cues such as "from", so they are looked for first.
_PAIR = re.compile(rf"[A-Z](?<![A-Za-z][A-Z])(?=[A-Za-z'’-]+[ \t]+(?:[A-Z]|{_PARTICLE}[ \t]))", re.VERBOSE)
_TITLE_START = re.compile("M(?:r|s|x|adam|iss|ister)|Dr|Prof|Sir|L(?:ady|ord)")


def find_chinese_persons(text: str) -> Iterator[Finding]:
    for cue in _CUE.finditer(text):
        match = _INTRODUCED.match(text, cue.start())
        if match is None:
            continue
        start, last = match.span("name")
        if match["weak"]:
            last = _last_given(text, start, last)
        if length := _name_length(text, start, last):
            yield Finding(start, start + length, "person", CUED)
    for title in _TITLE.finditer(text):
        if length := _name_before(text, title.start()):
            yield Finding(title.start() - length, title.start(), "person", CUED)


def _last_given(text: str, start: int, last: int) -> int:
    """Where the characters end that given names are made of, in what may be a name and may be any other word."""
    end = start + (2 if text[start : start + 2] in _COMPOUND else 1)
    while end < last and text[end] in IN_GIVEN_NAMES:
        end += 1
    return end


def _name_length(text: str, start: int, last: int) -> int:
    """How many characters from `start` are a name that ends at `last` or before; 0 if none."""
    surname = 2 if text[start : start + 2] in _COMPOUND else 1
    if surname == 1 and text[start : start + 2] in NO_CHINESE_NAME:
        return 0
    end = start + surname
    while end < last and text[end] not in ENDS_NAME and not _TITLE.match(text, end):
        end += 1
    return end - start if end > start + surname else 0


def _name_before(text: str, end: int) -> int:
    """The length of the name that ends at `end`, a title following: 王, 张伟, 李小龙, 欧阳娜娜; 0 if none."""
    for length in range(min(_LONGEST_NAME, end), 0, -1):
        start = end - length
        name = text[start:end]
        if name[:2] not in _COMPOUND:
            if length > 3 or name[0] not in _SURNAMES or text[max(0, start - 1) : start + 1] in ENDS_IN_SURNAME:
                continue  # 语文老师, 说明书由老师: what looks like a surname may end a word
            if name[:2] in NO_CHINESE_NAME or name[-2:] in NO_CHINESE_NAME:
                return 0
        given = name[1:]
        if not given or (ENDS_NAME.isdisjoint(given) and min(given) >= "\u4e00" and max(given) <= "\u9fff"):
            return length
    return 0


def find_english_persons(text: str) -> Iterator[Finding]:
    if _TITLE_START.search(text):
        for match in _ENGLISH_TITLED.finditer(text):
            if end := _english_name_end(match[1]):
                yield Finding(match.start(1), match.start(1) + end, "person", CUED)
    done = 0
    for place in _PAIR.finditer(text):
        start = place.start()
        before = text[max(0, start - _LONGEST_END) : start]
        if start < done or not before.rstrip(" \t\n:,-").lower().endswith(_CUE_ENDS):
            continue
        name = _FULL_NAME.match(text, start)
        cue = _CUE_BEFORE.search(text, max(0, start - _CUE_CHARS), start) if name else None
        if name is None or cue is None:
            continue
        done = name.end()
        if cue["weak"] and cue["link"].strip() not in (":", "is") and name[0].split()[0] not in GIVEN_NAMES:
            continue
        end = _english_name_end(name[0])
        if end and " " in name[0][:end]:
            yield Finding(start, start + end, "person", CUED)


def _english_name_end(name: str) -> int:
    end = 0
    for word in re.finditer(r"\S+", name):
        if word[0] in NO_ENGLISH_NAME:
            break
        end = word.end()
    return end
