"""Mojibake: text that was read in the wrong encoding, put right by the strict round trip.

Only a run of damaged characters is turned back, and only if every byte of it decodes and gives Chinese characters,
everyday punctuation or accented letters; real text practically never survives that. What lost bytes on the way cannot
be repaired and is left alone. Pure rules; the same idea as ftfy, with GB18030 added.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from tulou.data.language import count_chinese

# Characters that bytes 0x80-0xFF show as in Latin-1 and Windows-1252.
_LATIN = "\x80-\xff€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_LATIN_RUN = re.compile(f"[{_LATIN}](?:[ \x21-\x7e]?[{_LATIN}])+")
_LATIN_SPACED_RUN = re.compile(f"[{_LATIN}\x20-\x7e]*[{_LATIN}][{_LATIN}\x20-\x7e]*")
# In GBK ’ “ ” — … are 0xA1 and one of these, which Latin-1 shows as an inverted exclamation mark before a symbol.
_QUOTES_RUN = re.compile("\xa1[\xa4\xaa\xad-\xb1]")
_CHINESE_RUN = re.compile(r"[\u20ac\u2010-\u2642\u3000-\u33ff\u3400-\u9fff\ue000-\uf8ff\uff00-\uffef]{2,}")

_PLAUSIBLE = re.compile(r"[\u2010-\u2027\u2030-\u203b\u00a0-\u017f\u20ac\u2122\u3000-\u303f\uff00-\uff65\u4e00-\u9fff]")
_RARE = re.compile(r"[\ue000-\uf8ff\x80-\x9f\ufffd]")


def repair(text: str) -> tuple[str, list[str]]:
    """`text` with its mojibake undone, and the rules that did it."""
    rules: list[str] = []
    lines = []
    for line in text.split("\n"):
        fixed, rule = _repair_line(line)
        lines.append(fixed)
        if rule and rule not in rules:
            rules.append(rule)
    return "\n".join(lines), rules


def _repair_line(line: str) -> tuple[str, str | None]:
    if line.isascii():
        return line, None
    for rule, pattern, turn_back, is_better in _ROUND_TRIPS:
        fixed = "".join(_turned(run, turn_back, is_better) for run in _runs(pattern, line))
        if fixed != line:
            return fixed, rule
    return line, None


def _runs(pattern: re.Pattern[str], line: str) -> Iterator[str]:
    """`line` in pieces: what `pattern` matches, and what lies between."""
    done = 0
    for match in pattern.finditer(line):
        yield line[done : match.start()]
        yield match[0]
        done = match.end()
    yield line[done:]


def _turned(run: str, turn_back: Callable[[str], str], is_better: Callable[[str, str], bool]) -> str:
    try:
        text = turn_back(run)
    except UnicodeError:
        return run
    return text if is_better(run, text) else run


def _windows_bytes(text: str) -> bytes:
    """Bytes of `text` in Windows-1252 where it has the character, else in Latin-1, as browsers do."""
    return b"".join(_windows_byte(char) for char in text)


def _windows_byte(char: str) -> bytes:
    try:
        return char.encode("cp1252")
    except UnicodeEncodeError:
        return char.encode("latin-1")


def _foreign(text: str) -> str:
    return "".join(char for char in text if ord(char) > 127)


def _reads_well(before: str, after: str) -> bool:
    """Fewer odd characters than before, and nothing but plausible ones now."""
    new, old = _foreign(after), _foreign(before)
    return bool(new) and len(new) < len(old) and len(_PLAUSIBLE.findall(new)) == len(new) and not _RARE.search(after)


def _reads_as_chinese(before: str, after: str) -> bool:
    """Everyday Chinese (GB2312 level 1) where there was none."""
    new = _foreign(after)
    return len(new) >= 2 and _everyday(new) >= 0.8 and _everyday(_foreign(before)) < _everyday(new)


def _everyday(text: str) -> float:
    """The share of characters that are common Chinese ones or Chinese punctuation."""
    return sum(_is_everyday(char) for char in text) / len(text) if text else 0.0


def _is_everyday(char: str) -> bool:
    try:
        raw = char.encode("gb2312")
    except UnicodeEncodeError:
        return False
    return len(raw) == 2 and (0xB0 <= raw[0] <= 0xD7 or raw[0] in (0xA1, 0xA3))


def _reads_as_chinese_not_before(before: str, after: str) -> bool:
    return count_chinese(after) > 0 and _everyday(_foreign(after)) >= 0.8 and len(after) < len(before)


_ROUND_TRIPS: list[tuple[str, re.Pattern[str], Callable[[str], str], Callable[[str, str], bool]]] = [
    ("utf8_as_latin1", _LATIN_RUN, lambda run: _windows_bytes(run).decode("utf-8"), _reads_well),
    ("utf8_as_latin1", _LATIN_SPACED_RUN, lambda run: _windows_bytes(run).decode("utf-8"), _reads_well),
    ("gbk_as_latin1", _QUOTES_RUN, lambda run: _windows_bytes(run).decode("gb18030"), _reads_well),
    ("utf8_as_gbk", _CHINESE_RUN, lambda run: run.encode("gb18030").decode("utf-8"), _reads_as_chinese_not_before),
    ("gbk_as_latin1", _LATIN_SPACED_RUN, lambda run: _windows_bytes(run).decode("gb18030"), _reads_as_chinese),
]
