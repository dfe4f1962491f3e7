"""Phone numbers, identity cards, bank cards and e-mail addresses: found by form and check digit, then masked.

Chinese text has no spaces, so `\\b` never stands between 号 and 138; the patterns look at the neighbouring digits and
letters instead. Full-width digits are folded (one to one, so places carry over) before matching. An identity card needs
its ISO 7064 check digit and a bank card its Luhn digit, so order numbers are left alone.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterator, Mapping

from tulou.core.errors import SettingsError
from tulou.core.settings import SensitiveAction
from tulou.data.clean.record import Rewrite

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # full-width ASCII to ASCII, one to one

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9](?:[A-Za-z0-9._%+-]{0,62}[A-Za-z0-9_%+-])?@"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,4}[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
_ID_CARD = re.compile(
    r"(?<![A-Za-z0-9])\d{6}[ -]?(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ -]?\d{3}[\dXx]"
    r"(?![A-Za-z0-9])"
)
_BANK_CARD = re.compile(
    r"(?<![A-Za-z0-9])(?:[2-6]\d{13,18}"
    r"|(?<!\d[ -])[2-6]\d{3}(?:[ -]\d{4}){2,3}(?:[ -]\d{1,4})?(?![ -]\d)"  # in groups of four
    r")(?![A-Za-z0-9])"
)
_PHONE = re.compile(
    r"(?<![A-Za-z0-9])(?<!\d[-.])(?:"
    r"(?:(?:\+|00)86[ -]?)?1[3-9]\d(?:[ -]?\d{4}){2}"  # Chinese mobile
    r"|(?:\(0\d{2,3}\)|0\d{2,3})[ -]\d{7,8}"  # Chinese landline with its area code
    r"|\+(?!86)\d{1,3}(?:[ .-]?\(?\d{1,4}\)?){2,5}"  # international, needs its plus
    r"|(?!\(?(?:400|8[0-8]{2}))\(?[2-9]\d{2}\)?[ .-]\d{3}[.-]\d{4}"  # North American; not service hotlines
    r")(?![A-Za-z0-9])(?!-\d)"
)
_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999


def _id_check(found: str) -> bool:
    digits = re.sub(r"[ -]", "", found)
    total = sum(int(digit) * weight for digit, weight in zip(digits, _ID_WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == digits[17].upper()


def _luhn(found: str) -> bool:
    digits = [int(char) for char in found if char.isdigit()]
    if not 14 <= len(digits) <= 19:
        return False
    doubled = [
        digit if place % 2 else (digit * 2 - 9 if digit > 4 else digit * 2) for place, digit in _from_right(digits)
    ]
    return sum(doubled) % 10 == 0


def _from_right(digits: list[int]) -> Iterator[tuple[int, int]]:
    """Digits with 1, 2, 3 … counted from the check digit."""
    return ((place, digit) for place, digit in enumerate(reversed(digits), 1))


def _phone_length(found: str) -> bool:
    return 7 <= sum(char.isdigit() for char in found) <= 15  # ITU-T E.164


# In this order: the longer and better checked forms first, because a found place is not looked at again.
_KINDS: dict[str, tuple[re.Pattern[str], Callable[[str], bool]]] = {
    "email": (_EMAIL, lambda _: True),
    "id_card": (_ID_CARD, _id_check),
    "bank_card": (_BANK_CARD, _luhn),
    "phone": (_PHONE, _phone_length),
}


def find_sensitive(text: str) -> list[tuple[int, int, str]]:
    """Places (start, end, kind) in order, none overlapping."""
    narrow = text.translate(_WIDE)
    found: list[tuple[int, int, str]] = []
    for kind, (pattern, is_real) in _KINDS.items():
        for match in pattern.finditer(narrow):
            start, end = match.span()
            is_free = all(end <= other_start or start >= other_end for other_start, other_end, _ in found)
            if is_free and is_real(match[0]):
                found.append((start, end, kind))
    return sorted(found)


def redact(text: str) -> str:
    """`text` with everything sensitive masked, whatever the settings: for what people look at while cleaning."""
    return _replaced(text, find_sensitive(text), lambda kind, _: f"[{kind}]")


def protect(actions: Mapping[str, SensitiveAction], token_key: bytes | None) -> Rewrite:
    """The rewriting that masks or tokenizes. Tokens are equal for equal values and worthless without the key."""
    if "tokenize" in actions.values() and not token_key:
        raise SettingsError('data.clean.sensitive: "tokenize" needs a secret key; use "mask", or hand over a token key')

    def replacement(kind: str, value: str) -> str:
        if actions.get(kind) != "tokenize" or token_key is None:
            return f"[{kind}]"
        plain = re.sub(r"[ .()-]", "", value.translate(_WIDE)).casefold()
        plain = re.sub(r"^(?:\+|00)86(?=1)", "", plain)  # the same mobile with and without its country
        return f"[{kind}:{hmac.new(token_key, plain.encode(), hashlib.sha256).hexdigest()[:12]}]"

    def rewrite(text: str) -> tuple[str, list[str]]:
        places = [place for place in find_sensitive(text) if actions.get(place[2], "keep") in ("mask", "tokenize")]
        return _replaced(text, places, replacement), sorted({kind for _, _, kind in places})

    return rewrite


def kinds_to_drop(actions: Mapping[str, SensitiveAction]) -> set[str]:
    return {kind for kind, action in actions.items() if action == "drop"}


def _replaced(text: str, places: list[tuple[int, int, str]], replacement: Callable[[str, str], str]) -> str:
    parts = []
    done = 0
    for start, end, kind in places:
        parts += [text[done:start], replacement(kind, text[start:end])]
        done = end
    return "".join([*parts, text[done:]])
