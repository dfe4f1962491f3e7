"""Invented personal data of every kind, well-formed with valid check digits, and look-alikes whose check fails.

Values are drawn at random and used only inside a benchmark's folder. `is_valid` is written from the standards and knows
nothing of the rules it will measure, so that both sides cannot be wrong in the same way.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from typing import Any

People = Mapping[str, Any]
"""[people] of `texts/LANGUAGE.toml`."""

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
_CREDIT_CHARS = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100-2015
_COUNTIES = (
    "110105",
    "110108",
    "310104",
    "310115",
    "440106",
    "440305",
    "330106",
    "320102",
    "510107",
    "420106",
    "610113",
)
_PLATE_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_PLATE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"  # GA 36-2018: neither I nor O
_MOBILE = (
    *("130", "131", "132", "135", "136", "137", "138", "139", "147", "150", "151", "152", "155", "158", "159", "166"),
    *("170", "176", "177", "178", "180", "181", "182", "183", "185", "186", "187", "188", "189", "191", "198", "199"),
)
_CARDS = (("622202", 19), ("621700", 19), ("622848", 19), ("625330", 16), ("4", 16), ("51", 16), ("53", 16), ("37", 15))
_IBAN_FORMS = (("DE", 18, False), ("GB", 14, True), ("FR", 23, False), ("NL", 10, True), ("ES", 20, False))
_NAMES = ("lin.wei", "zhang_min", "chenyu", "anna.b", "wu.hao", "j.miller", "sunxiao", "t.okafor", "service", "hr-dept")
_DOMAINS = ("example.com", "example.org", "mail.example.net", "corp.example.cn", "example.co.uk", "shop-example.com.cn")


def _digits(rng: random.Random, count: int) -> str:
    return f"{rng.randrange(10**count):0{count}d}"


def luhn(number: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    digits = [int(char) for char in reversed(number) if char.isdigit()]
    doubled = [digit if place % 2 == 0 else sum(divmod(digit * 2, 10)) for place, digit in enumerate(digits)]
    return sum(doubled) % 10 == 0


def luhn_check(first: str) -> str:
    return next(digit for digit in "0123456789" if luhn(first + digit))


def id_check(first: str) -> str:
    """The eighteenth character for the first seventeen digits (ISO 7064, MOD 11-2)."""
    return "10X98765432"[sum(int(digit) * weight for digit, weight in zip(first, _ID_WEIGHTS, strict=True)) % 11]


def credit_check(first: str) -> str:
    """The eighteenth character of a unified social credit code for the first seventeen."""
    total = sum(_CREDIT_CHARS.index(char) * pow(3, place, 31) for place, char in enumerate(first))
    return _CREDIT_CHARS[-total % 31]


def iban_check(country: str, rest: str) -> str:
    """The two digits that make the whole 1 modulo 97 (ISO 13616)."""
    return f"{98 - _mod_97(rest + country + '00'):02d}"


def _mod_97(text: str) -> int:
    return int("".join(str(int(char, 36)) for char in text)) % 97


def phone(rng: random.Random, _people: People) -> str:
    mobile = rng.choice(_MOBILE) + _digits(rng, 8)
    grouped = (mobile[:3], mobile[3:7], mobile[7:])
    abroad = (f"+1 415 555 {_digits(rng, 4)}", f"+44 20 7946 0{_digits(rng, 3)}", f"(212) 555-{_digits(rng, 4)}")
    landline = (f"010-6{_digits(rng, 7)}", f"0755-8{_digits(rng, 7)}", f"(021) 5{_digits(rng, 7)}")
    spelled = ("-".join(grouped), " ".join(grouped), f"+86 {' '.join(grouped)}", f"+86{mobile}", f"0086-{mobile}")
    return rng.choice((*[mobile] * 4, *spelled, *landline, *abroad))


def email(rng: random.Random, _people: People) -> str:
    name = rng.choice(_NAMES) + rng.choice(("", str(rng.randrange(1000)), f"+{rng.choice(('shop', 'news'))}"))
    return f"{name}@{rng.choice(_DOMAINS)}"


def bank_card(rng: random.Random, _people: People) -> str:
    start, length = rng.choice(_CARDS)
    first = start + _digits(rng, length - len(start) - 1)
    card = first + luhn_check(first)
    is_grouped = length in (16, 19) and rng.random() < 0.35
    return " ".join(card[at : at + 4] for at in range(0, length, 4)) if is_grouped else card


def id_card(rng: random.Random, _people: People) -> str:
    born = date(1950, 1, 1) + timedelta(days=rng.randrange(20_000))
    first = f"{rng.choice(_COUNTIES)}{born:%Y%m%d}{rng.randrange(1, 1000):03d}"
    last = id_check(first)
    return first + (last.lower() if rng.random() < 0.2 else last)


def passport(rng: random.Random, _people: People) -> str:
    second = rng.choice(_PLATE_LETTERS) if rng.random() < 0.4 else _digits(rng, 1)
    return rng.choice((f"E{second}{_digits(rng, 7)}", f"G{_digits(rng, 8)}"))


def social_credit(rng: random.Random, _people: People) -> str:
    first = rng.choice(("91", "92", "93", "52")) + rng.choice(_COUNTIES)
    first += "MA" + "".join(rng.choice(_CREDIT_CHARS) for _ in range(7))
    return first + credit_check(first)


def license_plate(rng: random.Random, _people: People) -> str:
    place = rng.choice(_PLATE_PROVINCES) + rng.choice(_PLATE_LETTERS)
    if rng.random() < 0.3:  # a new-energy car
        return f"{place}{rng.choice('DF')}{rng.choice(_PLATE_LETTERS + '0123456789')}{_digits(rng, 4)}"
    number = rng.choice(
        (
            _digits(rng, 5),
            f"{_digits(rng, 4)}{rng.choice(_PLATE_LETTERS)}",
            f"{rng.choice(_PLATE_LETTERS)}{_digits(rng, 4)}",
        )
    )
    return place + rng.choice(("", "", "·")) + number


def ip(rng: random.Random, _people: People) -> str:
    if rng.random() < 0.2:
        return str(ipaddress.IPv6Address((0x20010DB8 << 96) | rng.getrandbits(64)))
    first = rng.choice((10, 172, 192, 203, 8, 114, 47, 61))
    return f"{first}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


def iban(rng: random.Random, _people: People) -> str:
    country, length, has_bank_letters = rng.choice(_IBAN_FORMS)
    letters = "".join(rng.choice("ABCDEFGHIKLMNOPRSTUVW") for _ in range(4)) if has_bank_letters else ""
    rest = letters + _digits(rng, length)
    whole = country + iban_check(country, rest) + rest
    return " ".join(whole[at : at + 4] for at in range(0, len(whole), 4)) if rng.random() < 0.5 else whole


def us_ssn(rng: random.Random, _people: People) -> str:
    area = rng.choice([n for n in range(1, 900) if n != 666])
    return f"{area:03d}-{rng.randrange(1, 100):02d}-{rng.randrange(1, 10_000):04d}"


def person(rng: random.Random, people: People) -> str:
    if "surnames" in people:
        return str(rng.choice(people["surnames"]) + rng.choice(people["given"]))
    return f"{rng.choice(people['first'])} {rng.choice(people['last'])}"


def address(rng: random.Random, people: People) -> str:
    street = rng.choice(people["streets"])
    if "areas" in people:
        room = rng.choice(("", "", f"{rng.randrange(1, 30)}号楼{rng.randrange(101, 2500)}室"))
        return f"{rng.choice(people['areas'])}{street}{rng.randrange(1, 900)}号{room}"
    return f"{rng.randrange(1, 9900)} {street}, {rng.choice(people['towns'])}"


Maker = Callable[[random.Random, People], str]

MAKERS: dict[str, Maker] = {
    "phone": phone,
    "email": email,
    "bank_card": bank_card,
    "id_card": id_card,
    "passport": passport,
    "social_credit": social_credit,
    "license_plate": license_plate,
    "ip": ip,
    "iban": iban,
    "us_ssn": us_ssn,
    "person": person,
    "address": address,
}


def is_valid(kind: str, value: str) -> bool:
    """Whether `value` passes the public check of its kind; kinds without one always do."""
    compact = value.replace(" ", "").replace("-", "")
    match kind:
        case "bank_card":
            return compact.isdigit() and 13 <= len(compact) <= 19 and luhn(compact)
        case "id_card":
            return (
                len(compact) == 18
                and compact[:17].isdigit()
                and _is_date(compact[6:14])
                and id_check(compact[:17]) == compact[17].upper()
            )
        case "social_credit":
            return (
                len(compact) == 18
                and all(char in _CREDIT_CHARS for char in compact)
                and credit_check(compact[:17]) == compact[17]
            )
        case "iban":
            return 15 <= len(compact) <= 34 and compact.isalnum() and _mod_97(compact[4:] + compact[:4]) == 1
        case "us_ssn":
            area, group, serial = value.split("-")
            return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"
        case "ip":
            return _is_ip(value)
    return True


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(f"{text[:4]}-{text[4:6]}-{text[6:]}") is not None
    except ValueError:
        return False


def _is_ip(text: str) -> bool:
    try:
        return ipaddress.ip_address(text) is not None
    except ValueError:
        return False


def _other_digit(rng: random.Random, value: str, alphabet: str = "0123456789") -> str:
    """`value` with another last character."""
    return value[:-1] + rng.choice([char for char in alphabet if char != value[-1].upper()])


def _no_phone(rng: random.Random) -> str:
    """Long enough and beginning with 1, but no number: a second digit that no carrier has, or digits too many."""
    return rng.choice((f"1{rng.choice('012')}{_digits(rng, 9)}", f"20{rng.choice(_MOBILE)}{_digits(rng, 8)}"))


def _no_email(rng: random.Random) -> str:
    return rng.choice(
        (f"@{rng.choice(_NAMES)}", f"{rng.choice(_NAMES)}@localhost", f"{rng.choice(_NAMES)}@@example.com")
    )


def _no_bank_card(rng: random.Random) -> str:
    return _other_digit(rng, bank_card(rng, {}))


def _no_id_card(rng: random.Random) -> str:
    first = rng.choice(_COUNTIES) + rng.choice(
        (f"{rng.randrange(1950, 2005)}{rng.randrange(13, 99)}{rng.randrange(10, 28)}", "19850230")
    )
    whole = f"{first}{_digits(rng, 3)}"
    return rng.choice((whole + id_check(whole), _other_digit(rng, id_card(rng, {}))))


def _timestamp(rng: random.Random) -> str:
    moment = date(2018, 1, 1) + timedelta(days=rng.randrange(3000))
    whole = f"{moment:%Y%m%d}{rng.randrange(24):02d}{rng.randrange(60):02d}{rng.randrange(60):02d}"
    return rng.choice((whole, f"{whole}{_digits(rng, 3)}", f"1{_digits(rng, 12)}"))


def _no_ip(rng: random.Random) -> str:
    """Versions: three parts, or a part above 255."""
    return rng.choice(
        (
            f"{rng.randrange(1, 20)}.{rng.randrange(40)}.{rng.randrange(100)}",
            f"10.0.{rng.randrange(10_000, 30_000)}.{rng.randrange(1000)}",
        )
    )


def _no_social_credit(rng: random.Random) -> str:
    return _other_digit(rng, social_credit(rng, {}), "0123456789ABCDEFGH")


def _no_iban(rng: random.Random) -> str:
    return _other_digit(rng, iban(rng, {}))


def _no_us_ssn(rng: random.Random) -> str:
    return rng.choice(
        (
            f"000-{_digits(rng, 2)}-{_digits(rng, 4)}",
            f"666-{_digits(rng, 2)}-{_digits(rng, 4)}",
            f"9{_digits(rng, 2)}-00-{_digits(rng, 4)}",
        )
    )


def _no_license_plate(rng: random.Random) -> str:
    return f"{rng.choice(_PLATE_LETTERS)}{rng.choice(_PLATE_LETTERS)}{_digits(rng, 5)}"


def _no_passport(rng: random.Random) -> str:
    return f"{rng.choice('BFHJKMN')}{_digits(rng, rng.choice((5, 6, 10)))}"


LOOKALIKES: dict[str, Callable[[random.Random], str]] = {
    "phone": _no_phone,
    "email": _no_email,
    "bank_card": _no_bank_card,
    "id_card": _no_id_card,
    "timestamp": _timestamp,
    "ip": _no_ip,
    "social_credit": _no_social_credit,
    "iban": _no_iban,
    "us_ssn": _no_us_ssn,
    "license_plate": _no_license_plate,
    "passport": _no_passport,
}

_CHECKED = ("bank_card", "id_card", "social_credit")  # kinds that a long number could be by chance


def lookalike(kind: str, rng: random.Random) -> str:
    """A value that resembles `kind` and is, by every check, nothing at all."""
    while True:
        value = LOOKALIKES[kind](rng)
        if any(is_valid(other, value) for other in _CHECKED):
            continue
        if kind in ("iban", "us_ssn", "ip") and is_valid(kind, value):
            continue
        return value
