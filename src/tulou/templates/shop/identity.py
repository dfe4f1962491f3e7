"""Invented people's numbers: well-formed, with valid check digits, and nobody's.

Mobile numbers use the prefix 154, which no carrier sells; identity cards a county code that was never given out; bank
cards the issuer number 620000; e-mails reserved domains; British numbers the range Ofcom keeps for drama.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import date, timedelta

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
_ID_CHECKS = "10X98765432"
_ISSUER = "620000"


def phone(rng: random.Random) -> str:
    if rng.random() < 0.2:
        return f"+44 7700 900{rng.randrange(1000):03d}"
    digits = f"154{rng.randrange(10**8):08d}"
    return rng.choice(
        [digits, f"{digits[:3]}-{digits[3:7]}-{digits[7:]}", f"+86 {digits[:3]} {digits[3:7]} {digits[7:]}"]
    )


def id_card(rng: random.Random) -> str:
    born = date(1960, 1, 1) + timedelta(days=rng.randrange(16_000))
    first = f"110199{born:%Y%m%d}{rng.randrange(1, 1000):03d}"
    return first + id_check(first)


def id_check(first: str) -> str:
    """The eighteenth character for the first seventeen digits."""
    return _ID_CHECKS[sum(int(digit) * weight for digit, weight in zip(first, _ID_WEIGHTS, strict=True)) % 11]


def bank_card(rng: random.Random) -> str:
    first = f"{_ISSUER}{rng.randrange(10**12):012d}"
    card = first + luhn_check(first)
    return rng.choice([card, " ".join(card[at : at + 4] for at in range(0, len(card), 4))])


def luhn_check(first: str) -> str:
    """The last digit that makes the whole number pass Luhn's test (ISO/IEC 7812-1)."""
    doubled = (int(digit) * (2 - at % 2) for at, digit in enumerate(reversed(first)))
    return str(-sum(digit // 10 + digit % 10 for digit in doubled) % 10)


def email(rng: random.Random) -> str:
    name = rng.choice(["lin.wei", "zhang_min", "chenyu", "anna.b", "wu.hao", "j.miller", "sunxiao", "t.okafor"])
    return f"{name}{rng.randrange(1000)}@{rng.choice(['example.com', 'example.org', 'mail.example', 'example.net'])}"


MAKERS: dict[str, Callable[[random.Random], str]] = {
    "phone": phone,
    "id_card": id_card,
    "bank_card": bank_card,
    "email": email,
}
