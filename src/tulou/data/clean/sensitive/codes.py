"""E-mail and IP addresses, IBANs and licence plates: forms that a sign or a letter leads to, not a run of digits.

Each is looked for only where its rarest sign stands (@, a dotted number, two letters and two digits, a province's
character), so that text without it is passed over at the speed of one search.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address

from tulou.data.clean.sensitive import checks, cues
from tulou.data.clean.sensitive.finding import PROVEN, SHAPED, Finding

_LOCAL_SIGNS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._%+-'"
_LONGEST_LOCAL = 64  # RFC 5321
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![A-Za-z_])")
_REMOTE_PATH = re.compile(r":[A-Za-z~/]")  # git@host:path, a place and not a person
_PICTURE = re.compile(r"[0-9](?:\.[0-9])?x\.(?:png|jpe?g|gif|webp|svg|avif)", re.IGNORECASE)  # logo@2x.png

_IPV4 = re.compile(
    r"[0-9](?<![A-Za-z0-9_.-][0-9])[0-9]{0,2}(?:\.[0-9]{1,3}){3}(?![A-Za-z0-9_])(?!\.[0-9])(?!-[A-Za-z0-9])"
)
_IPV6 = re.compile(  # "IP:2001:…", but no half of "de:2001:…"
    r"(?:(?<![A-Za-z0-9_:.])|(?<=[^0-9A-Fa-f:.]:))"
    r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?:(?<=:)[0-9]{1,3}(?:\.[0-9]{1,3}){3})?(?![A-Za-z0-9_:])"
)

# Where a pattern begins with its digit, what lies between is skipped many times sooner than behind a look back.
_IBAN_HEAD = re.compile(  # of 15 signs and more
    r"[0-9](?<=[A-Za-z]{2}[0-9])[0-9](?=[ -]?[A-Za-z0-9]{2}(?:[ -]?[A-Za-z0-9]){9})"
)
_IBAN_COUNTRIES = {  # SWIFT's IBAN registry: length, and who has it
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_IBAN_LENGTHS = {country: length for length, countries in _IBAN_COUNTRIES.items() for country in countries.split()}
_IBAN_TAILS = {
    length: re.compile(rf"(?:[ -]?[A-Za-z0-9]){{{length - 4}}}(?![A-Za-z0-9])")
    for length in set(_IBAN_LENGTHS.values())
}

# GA 36-2018. A plate has a letter for its city and five signs, at most two of them letters; electric ones have six.
_PLATE = re.compile(
    r"([京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼])[A-HJ-NP-Za-hj-np-z] ?[·•・.-]? ?"
    r"(?:[A-HJ-Ka-hj-k][A-HJ-NP-Za-hj-np-z0-9][0-9]{4}|[0-9]{5}[A-HJ-Ka-hj-k]|[A-HJ-NP-Za-hj-np-z0-9]{4}[A-HJ-NP-Za-hj-np-z0-9挂学警港澳领使])"
    r"(?![A-Za-z0-9])(?!-[0-9])(?!\.[0-9])"
)
_NO_PROVINCE_AFTER = {  # words that end in a province's character: 北京, 全新, 乌云, 银川
    "京": "北南东望",
    "津": "天",
    "新": "全最更翻崭创重清刷革焕",
    "云": "白阿风乌青",
    "川": "四银汉",
    "苏": "江流紫",
    "藏": "西收珍隐",
    "贵": "宝珍昂富",
    "宁": "南安辽西济",
    "青": "年",
}


def find_emails(text: str) -> Iterator[Finding]:
    at = text.find("@")
    while at >= 0:
        if found := _email_at(text, at):
            yield found
        at = text.find("@", at + 1)


def _email_at(text: str, at: int) -> Finding | None:
    before = text[max(0, at - _LONGEST_LOCAL - 1) : at]
    local = before[len(before.rstrip(_LOCAL_SIGNS)) :].lstrip(".-+%'")
    if not local or len(local) > _LONGEST_LOCAL or local[-1] == "." or ".." in local:
        return None
    start = at - len(local)
    domain = _DOMAIN.match(text, at + 1)
    if domain is None or text[start - 1 : start] == "@" or _PICTURE.fullmatch(domain[0]):
        return None
    if local == "git" or _REMOTE_PATH.match(text, domain.end()):
        return None
    return Finding(start, domain.end(), "email", SHAPED)


def find_ips(text: str) -> Iterator[Finding]:
    for match in _IPV4.finditer(text) if text.count(".") >= 3 else ():
        parts = match[0].split(".")
        is_address = all(int(part) < 256 and (part == "0" or part[0] != "0") for part in parts)
        # 0.… and 255.… are wildcards and masks
        if is_address and parts[0] not in ("0", "255") and not cues.is_version(text, match.start()):
            yield Finding(*match.span(), "ip", SHAPED)
    text = text.replace("：", ":")  # as long; `narrow` leaves it, since Chinese texts are full of it
    if "::" not in text and text.count(":") < 7:
        return
    for match in _IPV6.finditer(text):
        is_behind_colon = match[0][0] == ":" and match[0][1] != ":"  # 地址:2001:…
        found = match[0][is_behind_colon:]
        if sum(char.isdigit() for char in found) >= 3 and _is_ipv6(found):
            yield Finding(match.end() - len(found), match.end(), "ip", SHAPED)


def _is_ipv6(found: str) -> bool:
    try:
        IPv6Address(found)
    except AddressValueError:
        return False
    return True


def find_ibans(text: str) -> Iterator[Finding]:
    for head in _IBAN_HEAD.finditer(text):
        start = head.start() - 2
        length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
        if length is None or (start and text[start - 1].isascii() and text[start - 1].isalnum()):
            continue
        tail = _IBAN_TAILS[length].match(text, head.end())
        if tail and checks.iban((text[start : head.end()] + tail[0]).replace(" ", "").replace("-", "")):
            yield Finding(start, tail.end(), "iban", PROVEN)


def find_plates(text: str) -> Iterator[Finding]:
    for match in _PLATE.finditer(text):
        start, end = match.span()
        if sum(char.isdigit() for char in match[0]) < 3 or text[start - 1 : start] in _no_province_after(match[1]):
            continue
        if cues.named(text, start) != cues.OTHER:
            yield Finding(start, end, "license_plate", SHAPED)


def _no_province_after(province: str) -> tuple[str, ...]:
    return tuple(_NO_PROVINCE_AFTER.get(province, ""))
