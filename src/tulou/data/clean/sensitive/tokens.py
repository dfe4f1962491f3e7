"""What stands in for a value: a mask such as [phone], or a token that only the project's key turns back.

A token is the value under AES-SIV (RFC 5297): the same value always gives the same token, and one that was tampered
with or made with another key is refused. Base32 in small letters survives later cleaning, URLs and a change of case.
The price: equal tokens show that two values are equal, which is their purpose.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from tulou.core.errors import DataError
from tulou.core.settings import SENSITIVE_KINDS

_PURPOSE = b"tulou sensitive values, AES-SIV, 1"
_SEALED = "[a-z2-7]{28,}"  # 16 bytes of tag and 1 of value at least
_BARE = re.compile(_SEALED)
_MARKED = re.compile(rf"\[[^\[\]:\s]{{1,40}}:({_SEALED})\]", re.IGNORECASE)
_CAPITAL_KINDS = frozenset({"id_card", "passport", "social_credit", "iban", "license_plate"})
_NUMBER_KINDS = _CAPITAL_KINDS | {"phone", "bank_card", "us_ssn"}
_PUNCTUATION = re.compile(r"[ .()·•・\t/-]")
_CHINESE_CODE = re.compile(r"(?:\+|00)?86(?=1[3-9][0-9]{9}(?![0-9]))|(?:\+|00)86")


class Tokens:
    """Makes and opens tokens with one key. Rebuilt in each process; the key itself is never part of a token."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @cached_property
    def _cipher(self) -> Any:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return AESSIV(HKDF(SHA256(), length=64, salt=None, info=_PURPOSE).derive(self._key))

    def seal(self, kind: str, value: str) -> str:
        """The token of `value` as `[kind:…]`; equal for all ways to write the value."""
        sealed = self._cipher.encrypt(normalised(kind, value).encode(), None)
        return f"[{kind}:{base64.b32encode(sealed).decode().rstrip('=').lower()}]"

    def open(self, token: str) -> str:
        """The value in the bare `token`. Raises `DataError` if it is none of this key's."""
        from cryptography.exceptions import InvalidTag

        try:
            sealed = base64.b32decode(token.upper() + "=" * (-len(token) % 8))
            value: bytes = self._cipher.decrypt(sealed, None)
        except (InvalidTag, binascii.Error, ValueError) as err:
            raise DataError(
                f"cannot reveal the token {token[:12]}…: it was made with another key or has been changed; "
                "use the key of the project that cleaned the data"
            ) from err
        return value.decode()


def reveal(text_or_token: str, key: bytes) -> str:
    """The value of a token, bare or as `[kind:…]`; a longer text comes back with the values in their tokens' places.

    A value reads as `normalised` writes it. Raises `DataError` where a token is another key's or was changed.
    """
    tokens = Tokens(key)
    if _BARE.fullmatch(text_or_token.strip().lower()):
        return tokens.open(text_or_token.strip())
    return _MARKED.sub(lambda match: tokens.open(match[1]), text_or_token)


def normalised(kind: str, value: str) -> str:
    """One way to write a value: numbers bare and in capitals, Chinese phones without +86, the rest in small letters."""
    if kind not in _NUMBER_KINDS:
        return " ".join(value.split()).casefold()
    bare = _PUNCTUATION.sub("", value).upper()
    if kind != "phone":
        return bare
    national = _CHINESE_CODE.sub("", bare, count=1) if _CHINESE_CODE.match(bare) else bare
    if national == bare or national[:2] in _MOBILE_STARTS or national.startswith("0"):
        return national
    return f"0{national}"


_MOBILE_STARTS = tuple(f"1{digit}" for digit in range(3, 10))


def marks(kinds: Iterable[str]) -> re.Pattern[str]:
    """What earlier cleaning left: masks and tokens of `kinds`, in which nothing is to be found again."""
    names = sorted({*kinds, *SENSITIVE_KINDS}, key=len, reverse=True)
    return re.compile(rf"\[(?:{'|'.join(map(re.escape, names))})(?::{_SEALED})?\]", re.IGNORECASE)
