"""Telephone numbers: Chinese mobiles and landlines, numbers with a country code, North American ones, and cued ones.

A number without its plus, its area code's zero or a known grouping counts only behind a word such as 电话 or "call".
Service hotlines (400, 800, toll-free) are a firm's and nobody's own, so they are left; that is the price of not asking.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from tulou.data.clean.sensitive.checks import is_birthday
from tulou.data.clean.sensitive.cues import OTHER, PHONE, is_amount, is_in_url, named
from tulou.data.clean.sensitive.finding import CUED, SHAPED, Finding
from tulou.data.clean.sensitive.runs import Run

_GAP = r"(?: ?[-.] ?| )?"
_LEFT = r"(?<![A-Za-z0-9_+])(?<![0-9][-.])"
_RIGHT = r"(?![A-Za-z0-9_])(?!-[0-9])(?!\.[0-9])(?!%)"
# ITU-T E.164: country codes, prefix-free.
_COUNTRY = (
    r"1|7|2(?:[07]|[1-689][0-9])|3(?:[0-469]|[578][0-9])|4(?:[013-9]|2[0-9])|5(?:[1-8]|[09][0-9])"
    r"|6(?:[0-6]|[789][0-9])|8(?:[1-46]|[0578][0-9])|9(?:[0-58]|[679][0-9])"
)
_PHONE = re.compile(
    rf"{_LEFT}(?:"
    rf"(?P<mobile>(?:(?:[(（]?(?:\+|00)86[)）]?|86){_GAP})?1(?:[3-9][0-9](?:{_GAP}[0-9]{{4}}{_GAP}[0-9]{{4}}"
    rf"|{_GAP}[0-9]{{3}}{_GAP}[0-9]{{5}}|[0-9]{_GAP}[0-9]{{4}}{_GAP}[0-9]{{3}})|[ -][3-9](?:[ -][0-9]){{9}}))"
    rf"|(?P<landline>(?:(?:\+|00)86{_GAP}[(（]?0?|[(（]?0)(?:10|2[0-9]|[3-9][0-9]{{2}})[)）]?{_GAP}[2-8][0-9]{{2,3}}"
    rf"(?:[0-9]{{4}}(?:-[0-9]{{1,5}})?|{_GAP}[0-9]{{4}})(?:(?: ?转 ?| ?ext\.? ?)[0-9]{{1,6}})?)"
    rf"|(?P<abroad>(?:\+ ?|00(?=[1-9][0-9]{{0,2}}[ -]))(?P<code>{_COUNTRY})"
    rf"(?P<rest>(?:[ .()（）/-]{{0,2}}[0-9]){{6,13}}))"
    r"|(?P<american>(?:1[ .-])?(?:[(（][2-9][0-8][0-9][)）][ .-]?|[2-9][0-8][0-9][ .-])[2-9][0-9]{2}[.-][0-9]{4})"
    rf"){_RIGHT}"
)
_OPENING = re.compile("[+(（]")
_CUED = re.compile(
    rf"{_LEFT}(?:0[1-9](?:[ .-][0-9]{{2}}){{4}}|[(（]?[0-9]{{3,5}}[)）]?(?:[ .-][0-9]{{3,6}}){{1,2}}"
    rf"|[0-9]{{7,12}}){_RIGHT}"
)
_HOTLINE = re.compile(r"(?:0{0,2}86)?[48]00[0-9]{7}|(?:0{0,2}1)?8(?:00|33|44|55|66|77|88)[0-9]{7}")
_PLANS = {  # fewest and most digits behind the country code, where the country's numbering plan is simple (ITU)
    (7, 9): "353",
    (7, 10): "46",
    (8, 8): "45 47 65 852 853",
    (8, 9): "32 36 66 886 966 971 972",
    (8, 10): "60 63 64 82",
    (9, 9): "27 31 33 34 41 48 61 351",
    (9, 10): "44 81 84",
    (10, 10): "1 7 30 90 91",
    (10, 11): "52 55",
}
_NATIONAL_DIGITS = {code: digits for digits, codes in _PLANS.items() for code in codes.split()}
_ANY_COUNTRY = (7, 12)
_MOBILE_DIGITS, _LONGEST_CUED = 11, 15


def find_phones(text: str, run: Run) -> Iterator[Finding]:
    """Phones that have their digits in `run`."""
    if _HOTLINE.fullmatch(run.digits) and text[run.start - 1 : run.start] != "+" and len(run.digits) != _MOBILE_DIGITS:
        return
    done = 0
    for start, _ in run.groups:
        match = _match(text, start) if start >= done else None
        if match is None:
            continue
        last = _abroad_end(match) if match["abroad"] else match.end()
        if last and not _is_inside(match, run, done) and _is_personal(text, match.start(), last, match.lastgroup or ""):
            done = last
            yield Finding(match.start(), last, "phone", SHAPED)
    first = run.start - (text[run.start - 1 : run.start] in ("(", "（"))
    if not done and len(run.digits) <= _LONGEST_CUED and named(text, first) == PHONE:
        cued = _CUED.match(text, first)
        if cued and not _HOTLINE.fullmatch(_digits(cued[0])) and not _is_date(cued[0]):
            yield Finding(*cued.span(), "phone", CUED)


def _match(text: str, start: int) -> re.Match[str] | None:
    """The phone whose digits begin at `start`, with the plus or bracket before them: (+86) 138…"""
    if _OPENING.search(text, max(0, start - 3), start):
        for first in range(max(0, start - 3), start):
            if text[first] in "+(（" and (match := _PHONE.match(text, first)):
                return match
    return _PHONE.match(text, start)


def _is_inside(match: re.Match[str], run: Run, done: int) -> bool:
    """Whether it is a part of a longer number in groups of four: 5391 1345 6789 012, FR49 0755 8123 4567 915."""
    if match[0][4:5] != " ":
        return False
    before = next((group for group in run.groups if group[1] == match.start() - 1 and group[0] >= done), None)
    return before is not None and (before[1] - before[0] == 4 or match.string[before[0] - 1 : before[0]].isalpha())


def _is_personal(text: str, start: int, end: int, form: str) -> bool:
    number = text[start:end]
    if form not in ("mobile", "landline") and _HOTLINE.fullmatch(_digits(number)):
        return False
    if number.startswith(("+", "(", "（")):
        return True
    cue = named(text, start)
    if cue == PHONE:
        return True
    if form == "landline" and number.isdigit():
        return False  # an article number as well as 0571…
    return cue != OTHER and not is_amount(text, start, end) and not is_in_url(text, start)


def _abroad_end(match: re.Match[str]) -> int | None:
    """Where the number ends, whole groups only and no more of them than its country has digits; None if it is none."""
    fewest, most = _NATIONAL_DIGITS.get(match["code"], _ANY_COUNTRY)
    if match["code"] == "86":
        return None  # a Chinese number in a form that is none of theirs
    most += "(0)" in match["rest"]
    seen, end = 0, None
    for group in re.finditer("[0-9]+", match["rest"]):
        seen += group.end() - group.start()
        if seen > most:
            break
        if seen >= fewest:
            end = match.start("rest") + group.end()
    return end


def _digits(number: str) -> str:
    return "".join(char for char in number if char.isdecimal())


def _is_date(number: str) -> bool:
    digits = _digits(number)
    return len(digits) == 8 and digits[:2] in ("19", "20") and is_birthday(digits)
