"""Numbers that identify: phones, identity cards, bank cards, passports, credit codes of firms, US social security.

One pass finds the runs of seven digits and more, whatever separates them; only around those are the forms tried, and
what has a form must pass its check digits, regions and issuers. A text without such a run costs the one pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tulou.data.clean.sensitive import checks, cues
from tulou.data.clean.sensitive.finding import CHECKED, CUED, SHAPED, Find, Finding
from tulou.data.clean.sensitive.phones import find_phones

FindInRun = Callable[[str, int, int], Iterator[Finding]]

_RUN = re.compile(r"[0-9](?:[ .()-]{0,3}[0-9]){6,}")
_LEFT, _RIGHT = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_ID_CARD = re.compile(
    rf"{_LEFT}[1-9][0-9]{{5}}[ -]?(?:18|19|20)[0-9]{{2}}[ -]?[01][0-9][ -]?[0-3][0-9][ -]?"
    rf"[0-9]{{3}}[ -]?[0-9Xx]{_RIGHT}"
)
_GROUPED = re.compile(rf"{_LEFT}[0-9]{{2,19}}(?:(?: ?- ?| )[0-9]{{1,15}}){{0,7}}(?![A-Za-z])")
_PASSPORT = re.compile(rf"{_LEFT}(?:[EGDSPHKCWM][ -]?[0-9]{{8}}|E[A-HJ-NP-Z][ -]?[0-9]{{7}}){_RIGHT}", re.IGNORECASE)
_PASSPORT_ABROAD = re.compile(rf"{_LEFT}(?=[A-Z0-9]{{0,4}}[0-9]{{5}})[A-Z0-9]{{7,9}}{_RIGHT}")
_SIGN = "[0-9A-HJ-NPQRTUWXY]"  # GB 32100
_SOCIAL_CREDIT = re.compile(
    rf"{_LEFT}[1-9ANY][1-9A][ -]?[0-9]{{2}}[ -]?[0-9]{{4}}"
    rf"[ -]?{_SIGN}{{4}}[ -]?{_SIGN}{{4}}[ -]?{_SIGN}[ -]?{_SIGN}{_RIGHT}",
    re.IGNORECASE,
)
_SSN = re.compile(rf"{_LEFT}(?<![0-9][-.])([0-9]{{3}})([- ]?)([0-9]{{2}})\2([0-9]{{4}}){_RIGHT}(?!-[0-9])")
_NOBODYS_SSN = ("078051120", "219099999")  # printed on sample cards


def find_id_cards(text: str, start: int, end: int) -> Iterator[Finding]:
    for match in _ID_CARD.finditer(text, start, min(len(text), end + 4)):
        if checks.id_card(_bare(match[0])):
            yield Finding(*match.span(), "id_card", CHECKED)


def find_bank_cards(text: str, start: int, end: int) -> Iterator[Finding]:
    """Cards written in one, or in groups; a leading or trailing group may belong to something else."""
    for match in _GROUPED.finditer(text, start, min(len(text), end + 2)):
        groups = [(group.start(), group.end()) for group in re.finditer("[0-9]+", text[match.start() : match.end()])]
        if found := _card_of(text, match.start(), groups):
            yield Finding(*found, "bank_card", CHECKED)


def _card_of(text: str, offset: int, groups: list[tuple[int, int]]) -> tuple[int, int] | None:
    for first in range(len(groups)):
        for last in range(len(groups), first, -1):
            digits = "".join(text[offset + start : offset + end] for start, end in groups[first:last])
            if len(digits) < 12:
                break
            lengths = [end - start for start, end in groups[first:last]]
            start, end = offset + groups[first][0], offset + groups[last - 1][1]
            if len(digits) <= 19 and _is_grouped_like_a_card(lengths) and _is_card(text, start, digits, lengths):
                return start, end
        if groups[first][1] - groups[first][0] == 4 and first + 1 < len(groups):
            return None  # the middle of some longer number is no card
    return None


def _is_grouped_like_a_card(lengths: list[int]) -> bool:
    if len(lengths) == 1:
        return True
    return (set(lengths[:-1]) == {4} and lengths[-1] <= 4) or lengths in (
        [4, 6, 5],
        [4, 6, 4],
        [6, 13],
        [6, 10],
        [6, 12],
    )


def _is_card(text: str, start: int, digits: str, lengths: list[int]) -> bool:
    issued = _issuer(digits)
    if issued is None or not checks.luhn(digits) or len(set(digits)) == 1:
        return False
    if issued == "sure":
        return len(lengths) > 1 or not cues.names_other_number(text, start)
    is_grouped = len(lengths) > 2
    return (is_grouped or cues.names_card(text, start)) and not cues.names_other_number(text, start)


def _issuer(digits: str) -> str | None:
    """ "sure" where prefix and length belong to one network; "maybe" where other numbers have them as often; or None.

    ISO/IEC 7812 issuer ranges as the networks publish them.
    """
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    if two in (62, 81) and 16 <= length <= 19:  # UnionPay
        return "sure"
    if digits[0] == "4" and length in (13, 16, 19):  # Visa; 13 digits are also an EAN's
        return "sure" if length == 16 else "maybe"
    if 51 <= two <= 55 and length == 16:  # Mastercard
        return "sure"
    if two in (34, 37) and length == 15:  # American Express
        return "sure"
    if 3528 <= four <= 3589 and 16 <= length <= 19:  # JCB
        return "sure"
    if (four == 6011 or 644 <= int(digits[:3]) <= 649 or two == 65) and 16 <= length <= 19:  # Discover
        return "sure"
    if 2221 <= four <= 2720 and length == 16:  # Mastercard; also 23 12 05 …, a time
        return "maybe"
    if (300 <= int(digits[:3]) <= 305 or two in (36, 38, 39)) and length == 14:  # Diners Club
        return "maybe"
    if (two == 50 or 56 <= two <= 58 or two in (60, 63, 67, 68, 69)) and 12 <= length <= 19:  # Maestro
        return "maybe"
    if four == 9558 and length == 19:  # ICBC, older than UnionPay
        return "maybe"
    return None


def find_passports(text: str, start: int, end: int) -> Iterator[Finding]:
    first, last = max(0, start - 3), min(len(text), end + 4)
    for match in _PASSPORT.finditer(text, first, last):
        if cues.names_passport(text, *match.span()) and not cues.names_other_number(text, match.start()):
            yield Finding(*match.span(), "passport", CUED)
    for match in _PASSPORT_ABROAD.finditer(text, first, last):
        if cues.names_passport_number(text, match.start()):
            yield Finding(*match.span(), "passport", CUED)


def find_social_credit_codes(text: str, start: int, end: int) -> Iterator[Finding]:
    for match in _SOCIAL_CREDIT.finditer(text, max(0, start - 2), min(len(text), end + 20)):
        if checks.social_credit(_bare(match[0]).upper()) and not cues.names_other_number(text, match.start()):
            yield Finding(*match.span(), "social_credit", CHECKED)


def find_ssns(text: str, start: int, end: int) -> Iterator[Finding]:
    for match in _SSN.finditer(text, start, min(len(text), end + 3)):
        area, separator, group, serial = match.groups()
        if area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000":
            continue
        if area + group + serial in _NOBODYS_SSN or cues.names_other_number(text, match.start()):
            continue
        if separator == "-" or cues.names_ssn(text, match.start()):
            yield Finding(*match.span(), "us_ssn", SHAPED)


def _bare(number: str) -> str:
    return number.replace(" ", "").replace("-", "")


# The kind, and the length of the shortest run that can hold one.
_IN_RUNS: dict[str, tuple[FindInRun, int]] = {
    "phone": (find_phones, 7),
    "id_card": (find_id_cards, 17),
    "bank_card": (find_bank_cards, 12),
    "passport": (find_passports, 7),
    "social_credit": (find_social_credit_codes, 7),
    "us_ssn": (find_ssns, 9),
}
NUMBER_KINDS = frozenset(_IN_RUNS)


def number_finder(kinds: frozenset[str]) -> Find:
    """The recogniser of those `kinds` that runs of digits lead to."""
    wanted = [finder for kind, finder in _IN_RUNS.items() if kind in kinds]

    def find(text: str) -> Iterator[Finding]:
        for run in _RUN.finditer(text):
            start, end = run.span()
            for find_in_run, least in wanted:
                if end - start >= least:
                    yield from find_in_run(text, start, end)

    return find
