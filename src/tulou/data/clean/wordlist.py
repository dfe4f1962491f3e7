"""A user's list of words and /expressions/, read with clear errors and found in text at a bounded cost.

All words are looked for in one pass (Aho-Corasick), regardless of case and of full-width forms; a word that begins or
ends in an alphabet counts only at a word boundary there, Chinese counts anywhere. Expressions run on RE2, which takes
time linear in the text whatever is written, at the price of look-around and back references, which it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tulou.core.errors import DataError, SettingsError
from tulou.data.collect.text import read_lines

_WIDE = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: 0x20}  # full-width to ASCII, one to one
_KIND = re.compile(r"(?P<entry>.*\S)\s+=\s+(?P<kind>\S.*)")
_UNICODE_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")  # as Python and JavaScript write it; RE2 writes \x{4e00}
_LAST_ALPHABET = 0x0E00  # below: scripts that put spaces between words; above: Thai, Chinese, Japanese, Korean …


@dataclass(frozen=True)
class Entry:
    text: str  # the word, or the expression without its slashes
    kind: str  # what stood after " = ", or ""
    line: int  # 1-based, where it stands in its file


@dataclass(frozen=True)
class WordList:
    words: tuple[Entry, ...]
    expressions: tuple[Entry, ...]


def read_wordlist(path: Path) -> WordList:
    """One word or /expression/ a line, each with an optional " = kind"; lines that start with # are comments.

    Raises `SettingsError` where the file is missing, unreadable or empty, or a line cannot be used.
    """
    words: dict[str, Entry] = {}
    expressions: dict[str, Entry] = {}
    for number, line in _lines(path):
        entry = _entry(line, number, path)
        if len(entry.text) > 2 and entry.text.startswith("/") and entry.text.endswith("/"):
            expression = Entry(entry.text[1:-1], entry.kind, number)
            _check_expression(expression, path)
            expressions.setdefault(expression.text, expression)
        else:
            words.setdefault(_folded(entry.text), entry)
    if not words and not expressions:
        raise SettingsError(f"word list {path} has no words in it; write one word or /expression/ a line")
    return WordList(tuple(words.values()), tuple(expressions.values()))


class WordFinder:
    """Finds words in texts: the leftmost, and of those that begin together the longest; none overlap."""

    def __init__(self, words: Iterable[str]) -> None:
        from ahocorasick_rs import AhoCorasick

        self._words = list(dict.fromkeys(words))
        self._automaton = AhoCorasick([_folded(word) for word in self._words], store_patterns=False)

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Places (start, end, word as it was listed), in order."""
        folded = _folded(text)
        found = self._automaton.find_matches_as_indexes(folded, overlapping=True)
        done = 0
        for start, end, number in sorted((start, -end, number) for number, start, end in found):
            if start >= done and _stands_alone(folded, start, -end):
                done = -end
                yield start, done, self._words[number]


class ExpressionFinder:
    """Finds expressions in texts, one after the other as listed, regardless of case and of full-width forms."""

    def __init__(self, expressions: Iterable[str]) -> None:
        self._expressions = [(expression, _compiled(expression)) for expression in dict.fromkeys(expressions)]

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Places (start, end, expression); those of different expressions may overlap."""
        narrow = text.translate(_WIDE)
        for expression, pattern in self._expressions:
            for match in pattern.finditer(narrow):
                if match.end() > match.start():
                    yield match.start(), match.end(), expression


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        for line in read_lines(path):
            plain = line.text.strip()
            if plain and not plain.startswith("#"):
                yield line.number, plain
    except OSError as err:
        raise SettingsError(f"cannot read the word list {path}: {err.strerror}") from err
    except DataError as err:
        raise SettingsError(f"word list {path} {err}") from err


def _entry(line: str, number: int, path: Path) -> Entry:
    found = None if len(line) > 2 and line.startswith("/") and line.endswith("/") else _KIND.fullmatch(line)
    if found is None:
        return Entry(line, "", number)
    if not re.fullmatch(r"\w+", found["kind"]):
        raise SettingsError(
            f"word list {path}, line {number}: {found['kind']!r} is no kind; use letters, digits and underscores"
        )
    return Entry(found["entry"], found["kind"], number)


def _check_expression(expression: Entry, path: Path) -> None:
    try:
        matches_nothing = _compiled(expression.text).search("") is not None
    except ValueError as err:
        raise SettingsError(
            f"word list {path}, line {expression.line}: the expression /{expression.text}/ cannot be used: {err} "
            "(RE2 syntax: no look-around, no back references)"
        ) from err
    if matches_nothing:
        raise SettingsError(
            f"word list {path}, line {expression.line}: the expression /{expression.text}/ would match every text; "
            "make it ask for at least one character"
        )


@cache
def _compiled(expression: str) -> Any:
    """The RE2 pattern. Raises `ValueError` with RE2's reason."""
    import re2

    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    try:
        return re2.compile(_UNICODE_ESCAPE.sub(r"\\x{\1}", expression), options)
    except re2.error as err:
        reason = err.args[0]
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from err


def _folded(text: str) -> str:
    """In lower case and half width, each character in its place."""
    if text.isascii():
        return text.lower()
    lower = text.translate(_WIDE).lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := char.lower()) == 1 else char for char in text.translate(_WIDE))


def _stands_alone(text: str, start: int, end: int) -> bool:
    before = start > 0 and _joins(text[start - 1]) and _joins(text[start])
    after = end < len(text) and _joins(text[end]) and _joins(text[end - 1])
    return not before and not after


def _joins(char: str) -> bool:
    return char.isalnum() and (ord(char) < _LAST_ALPHABET or 0x1E00 <= ord(char) < 0x2000)
