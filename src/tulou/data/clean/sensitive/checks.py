"""Check digits: pure functions from a bare number to whether it can be one. Each names the standard it follows."""

from __future__ import annotations

from datetime import date

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
_CREDIT_SIGNS = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # GB 32100-2015, without I O S V Z
_CREDIT_VALUES = {sign: value for value, sign in enumerate(_CREDIT_SIGNS)}
_CREDIT_WEIGHTS = tuple(pow(3, place, 31) for place in range(17))
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # digit sum of twice the digit
# GB/T 2260: provinces by the first two digits of a county code.
PROVINCES = frozenset(
    map(
        str,
        [*range(11, 16), 21, 22, 23, *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83],
    )
)
_WITHOUT_PREFECTURES = ("71", "81", "82", "83")  # Taiwan, Hong Kong, Macao, and Taiwan's residents: 0000
_LAST_PREFECTURE = {"11": 2, "12": 2, "31": 2, "50": 2}  # municipalities: 01 districts, 02 counties


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1."""
    values = [int(digit) for digit in reversed(digits)]
    return (sum(values[::2]) + sum(_DOUBLED[value] for value in values[1::2])) % 10 == 0


def is_region(code: str) -> bool:
    """Whether a county code of six digits lies in a province and a prefecture that can be."""
    province, prefecture = code[:2], int(code[2:4])
    if province not in PROVINCES:
        return False
    if province in _WITHOUT_PREFECTURES:
        return prefecture == 0
    return 1 <= prefecture <= _LAST_PREFECTURE.get(province, 70) or prefecture == 90  # 90: counties a province runs


def is_birthday(digits: str) -> bool:
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        return False
    return 1880 <= born.year < 2080


def id_card(number: str) -> bool:
    """GB 11643: region, birthday, and the check digit of ISO 7064 MOD 11-2. `number` has 18 signs, the last maybe X."""
    is_foreigners = number[0] == "9" and number[1:3] in PROVINCES  # residence permit: 9, province, country, birthday
    if not (is_foreigners or is_region(number[:6])) or not is_birthday(number[6:14]):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(number, _ID_WEIGHTS, strict=False))
    return "10X98765432"[total % 11] == number[17].upper()


def social_credit(code: str) -> bool:
    """GB 32100-2015: 18 signs in capitals, a region in the third to eighth, the check sign last."""
    if code[2:4] not in PROVINCES and code[2:4] != "10":  # 10: registered with the State itself
        return False
    total = sum(_CREDIT_VALUES[sign] * weight for sign, weight in zip(code, _CREDIT_WEIGHTS, strict=False))
    return _CREDIT_VALUES[code[17]] == -total % 31


def iban(number: str) -> bool:
    """ISO 13616: modulo 97 of the number with its head moved to the end, letters as 10 to 35, leaves 1."""
    return int("".join(str(int(sign, 36)) for sign in number[4:] + number[:4])) % 97 == 1
