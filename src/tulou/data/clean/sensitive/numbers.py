"""Numbers that identify: phones, identity cards, bank cards, passports, credit codes of firms, US social security.

One pass finds the runs of seven digits and more, whatever separates them; only around those are the forms tried, and
what has a form must pass its check digits, regions and issuers. A text without such a run costs the one pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tulou.data.clean.sensitive import checks, cues
from tulou.data.clean.sensitive.finding import CHECKED, CUED, PROVEN, SHAPED, Find, Finding
from tulou.data.clean.sensitive.phones import find_phones
from tulou.data.clean.sensitive.runs import Run, runs

FindInRun = Callable[[str, Run], Iterator[Finding]]

_DATE = re.compile(r"(?:19|20)[0-9]{2}([-./])[0-9]{1,2}\1[0-9]{1,2}(?: [0-9]{1,2})?")
_LEFT, _RIGHT = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
_ID_CARD = re.compile(
    rf"{_LEFT}[1-9][0-9]{{5}}[ -]?(?:18|19|20)[0-9]{{2}}[ -]?[01][0-9][ -]?[0-3][0-9][ -]?"
    rf"[0-9]{{3}}[ -]?[0-9Xx]{_RIGHT}"
)
_SHORTEST_CARD, _LONGEST_CARD, _MOST_GROUPS = 12, 19, 5
_IBAN_HEAD = re.compile(r"[A-Z]{2}[0-9]{2} ?[A-Z]{4} ?$", re.IGNORECASE)  # GB22 FABN; its digits are no card's
_LONGEST_HEAD, _LONGEST_TAIL = 3, 9  # of letters and digits before and behind the digits that lead to a passport
_PASSPORT = re.compile(rf"{_LEFT}(?:[EGDSPHKCWM][ -]?[0-9]{{8}}|E[A-HJ-NP-Z][ -]?[0-9]{{7}}){_RIGHT}", re.IGNORECASE)
_PASSPORT_ABROAD = re.compile(rf"{_LEFT}(?=[A-Z0-9]{{0,4}}[0-9]{{5}})[A-Z0-9]{{7,9}}{_RIGHT}")
_LETTER = re.compile("[A-Za-z]")
_SIGN = "[0-9A-HJ-NPQRTUWXY]"  # GB 32100
_SOCIAL_CREDIT = re.compile(
    rf"{_LEFT}[1-9ANY][1-9A][ -]?[0-9]{{2}}[ -]?[0-9]{{4}}"
    rf"[ -]?{_SIGN}{{4}}[ -]?{_SIGN}{{4}}[ -]?{_SIGN}[ -]?{_SIGN}{_RIGHT}",
    re.IGNORECASE,
)
_SSN = re.compile(rf"{_LEFT}(?<![0-9][-.])([0-9]{{3}})([- ]?)([0-9]{{2}})\2([0-9]{{4}}){_RIGHT}(?!-[0-9])")
_NOBODYS_SSN = ("078051120", "219099999")  # printed on sample cards


def find_id_cards(text: str, run: Run) -> Iterator[Finding]:
    for start, end in run.groups:
        match = _ID_CARD.match(text, start) if end - start >= 6 else None
        if match and checks.id_card(_bare(match[0])):
            yield Finding(*match.span(), "id_card", PROVEN)


def find_bank_cards(text: str, run: Run) -> Iterator[Finding]:
    """Cards written in one, or in groups; a leading or trailing group may belong to something else."""
    if (run.is_solid and _issuer(run.digits) is None) or not run.is_bounded(text):
        return
    if _IBAN_HEAD.search(text, max(0, run.start - 10), run.start):
        return
    groups = run.groups
    first = 0
    while first < len(groups):
        last = _card_end(text, groups, first)
        if last:
            yield Finding(groups[first][0], groups[last - 1][1], "bank_card", CHECKED)
        first = last or _next_start(groups, first)


def _next_start(groups: list[tuple[int, int]], first: int) -> int:
    """The next group that a card may begin with: behind four digits only the middle of a longer number does."""
    while first < len(groups) and groups[first][1] - groups[first][0] == 4:
        first += 1
    return first + 1


def _card_end(text: str, groups: list[tuple[int, int]], first: int) -> int:
    """Behind which group the card ends that begins with group `first`; 0 if none does."""
    lengths: list[int] = []
    for start, end in groups[first : first + _MOST_GROUPS]:
        lengths.append(end - start)
        if sum(lengths) > _LONGEST_CARD:
            lengths.pop()
            break
    while lengths and sum(lengths) >= _SHORTEST_CARD:
        last = first + len(lengths)
        if last < len(groups) and sum(lengths) < 14:
            break
        is_cut = last < len(groups) and _is_other(text, groups[first][0])  # 条码 4213 … 5678 983: no card in it
        if _is_grouped_like_a_card(lengths) and not is_cut:
            digits = "".join(text[start:end] for start, end in groups[first:last])
            if _is_card(text, groups[first][0], digits, lengths):
                return last
        lengths.pop()
    return 0


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
        return len(lengths) > 1 or not _is_other(text, start)
    is_grouped = len(lengths) > 2
    return (is_grouped or cues.names_card(text, start)) and not _is_other(text, start)


def _issuer(digits: str) -> str | None:
    """ "sure" where prefix and length belong to one network; "maybe" where other numbers have them as often; or None.

    ISO/IEC 7812 issuer ranges as the networks publish them.
    """
    length, two, four = len(digits), int(digits[:2]), int(digits[:4])
    if two in (62, 81) and 16 <= length <= 19:  # UnionPay; 81 is rare
        return "sure" if two == 62 else "maybe"
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


def find_passports(text: str, run: Run) -> Iterator[Finding]:
    if not cues.names_passport(text, run.start - _LONGEST_HEAD, run.end + _LONGEST_TAIL):
        return
    for start, end in run.groups:
        if end - start < 5:
            continue
        if match := _matched(_PASSPORT, text, start):
            is_other = _is_other(text, match.start()) and not cues.names_any_number(text, match.start())
            if cues.names_passport(text, *match.span()) and not is_other:
                yield Finding(*match.span(), "passport", CUED)
                continue
        match = _matched(_PASSPORT_ABROAD, text, start)
        if match and cues.named(text, match.start()) == cues.PASSPORT:
            yield Finding(*match.span(), "passport", CUED)


def find_social_credit_codes(text: str, run: Run) -> Iterator[Finding]:
    for start, end in run.groups:
        match = _matched(_SOCIAL_CREDIT, text, start) if end - start >= 2 else None
        if match and checks.social_credit(_bare(match[0]).upper()):
            yield Finding(*match.span(), "social_credit", PROVEN)


def find_ssns(text: str, run: Run) -> Iterator[Finding]:
    for start, end in run.groups:
        match = _SSN.match(text, start) if end - start in (3, 9) else None
        if match is None:
            continue
        area, separator, group, serial = match.groups()
        if area in ("000", "666") or area[0] == "9" or group == "00" or serial == "0000":
            continue
        if area + group + serial in _NOBODYS_SSN or _is_other(text, start):
            continue
        if separator == "-" or cues.names_ssn(text, start):
            yield Finding(*match.span(), "us_ssn", SHAPED)


def _matched(pattern: re.Pattern[str], text: str, start: int) -> re.Match[str] | None:
    """What `pattern` matches at the digits from `start`, or from up to three letters and signs before them."""
    if _LETTER.search(text, max(0, start - 3), start):
        for first in range(max(0, start - 3), start):
            if text[first].isascii() and text[first].isalpha() and (match := pattern.match(text, first)):
                return match
    return pattern.match(text, start)


def _is_other(text: str, start: int) -> bool:
    return cues.named(text, start) == cues.OTHER


def _bare(number: str) -> str:
    return number.replace(" ", "").replace("-", "")


# How many digits a run must have at least to hold one, and at most where nothing separates them.
_IN_RUNS: dict[str, tuple[FindInRun, int, int]] = {
    "phone": (find_phones, 7, 15),
    "id_card": (find_id_cards, 17, 18),
    "bank_card": (find_bank_cards, 12, 19),
    "passport": (find_passports, 7, 9),
    "social_credit": (find_social_credit_codes, 7, 18),
    "us_ssn": (find_ssns, 9, 9),
}
NUMBER_KINDS = frozenset(_IN_RUNS)


def number_finder(kinds: frozenset[str]) -> Find:
    """The recogniser of those `kinds` that runs of digits lead to."""
    wanted = [finder for kind, finder in _IN_RUNS.items() if kind in kinds]

    def find(text: str) -> Iterator[Finding]:
        for run in runs(text):
            if run.is_solid or not _DATE.fullmatch(text, run.start, run.end):
                for find_in_run, least, most in wanted:
                    if least <= len(run.digits) and not (run.is_solid and len(run.digits) > most):
                        yield from find_in_run(text, run)

    return find
