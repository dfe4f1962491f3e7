"""Mojibake: text that was read in the wrong encoding, put right by the strict round trip.

Text is turned back to the bytes it was read from and those are decoded as what they might have been, strictly. What
comes out must look more like writing than what went in, by character frequencies for Chinese and by structure for
UTF-8; real text practically never passes. What lost bytes on the way cannot be repaired and is left alone. Undamaged
English and simplified Chinese cost a search, accented and traditional text some tens of microseconds a kilobyte.
"""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import NamedTuple

from tulou.data.everyday import beyond_level_1, everyday_score, everyday_weights, is_writing, level_1

NEEDS = ("MISREAD", "RARE_HAN")

_MAX_ROUNDS = 8  # nobody damages a text oftener; each round undoes one

# What bytes 0x80-0x9F show as in Windows-1252; five of them show as themselves, as in browsers.
_WINDOWS = {
    ord(bytes([byte]).decode("cp1252")): byte for byte in range(0x80, 0xA0) if byte not in b"\x81\x8d\x8f\x90\x9d"
}
_TO_WINDOWS = codecs.charmap_build(
    "".join({byte: chr(char) for char, byte in _WINDOWS.items()}.get(byte, chr(byte)) for byte in range(256))
)
_WINDOWS_CHARS = "".join(map(chr, _WINDOWS))
_C1_RUN = re.compile("([\x80-\x9f]+)")
_HIGH = "\x80-\xff" + _WINDOWS_CHARS
_PLAIN = re.compile(r"(?<=[\x01-\x7f])[\x01-\x7f]+")  # where no damage shows: ASCII, but for the first behind a sign
_ZERO_BYTES = re.compile(r"(?:[\x01-\x7f]\0){2,}|(?:\0[\x01-\x7f]){2,}")
_ZEROS_APART = re.compile(r"\0[\x01-\x7f]\0")  # what each of those has, found many times sooner
_LATIN_SIGN = re.compile("[\0\x80-\xff”]")  # a byte's character; of those in Windows-1252 only ” may stand alone
_ASCII_BYTES = bytes(range(0x80))
_MIN_UTF16_MEAN = -0.5  # of everyday score for each character; read from the wrong end, English scores -4


def repair(text: str) -> tuple[str, list[str]]:
    """`text` with its mojibake undone, and the rules that did it, last damage first."""
    rules: list[str] = []
    while len(rules) < _MAX_ROUNDS and (undone := _undone(text)):
        text, rule = undone
        rules.append(rule)
    return text, list(dict.fromkeys(rules))


def _undone(text: str) -> tuple[str, str] | None:
    """`text` without the damage that was done to it last."""
    if text.isascii() and "\0" not in text:
        return None
    is_latin = _LATIN_SIGN.search(text) is not None  # Chinese with no such character is spared most of the rules
    foreign = " ".join(_PLAIN.split(text)) if is_latin else ""
    for damage in _DAMAGES:
        if (is_latin or not damage.is_latin) and damage.shows_in(foreign or text):
            better = damage.undo(text)
            if better != text:
                return better, damage.rule
    return None


# --- UTF-16 read byte by byte -------------------------------------------------------------------------------------


def _from_utf16(text: str) -> str:
    try:
        data = _bytes(text)
    except UnicodeEncodeError:  # a character that no byte shows as
        data = b""
    whole = [decoded for end in ("le", "be") if (decoded := _decoded_utf16(data, f"utf-16-{end}"))]
    best = max(whole, key=everyday_score, default="")
    if best and everyday_score(best) > _MIN_UTF16_MEAN * len(best):
        return best
    if not _ZEROS_APART.search(text):
        return text
    return _ZERO_BYTES.sub(lambda run: run[0].replace("\0", ""), text)


def _decoded_utf16(data: bytes, encoding: str) -> str | None:
    whole = (_decoded(data, encoding) or "").removeprefix("\ufeff")
    return whole if whole and _is_all_writing(whole) else None


# --- UTF-8 read as Latin-1 or Windows-1252 ------------------------------------------------------------------------

_REST = "[\x80-\xbf" + _WINDOWS_CHARS + "]"  # bytes 0x80-0xBF, which follow the first of a character
_UTF8_CHARS = f"(?:[\xc2-\xdf]{_REST}|[\xe0-\xef]{_REST}{{2}}|[\xf0-\xf4]{_REST}{{3}})+"
_UTF8_RUN = re.compile(_UTF8_CHARS)
_UTF8_ALONE = f"(?<![\x80-\xff]){_UTF8_CHARS}+(?![\x80-\xff])"  # what a run that proves itself looks like
_CLOSING = frozenset("”“’‘»™…–—‰\xa0®©°.,")  # what real text has after an accented capital
_MIN_SHARE = 0.8
_ASCII = frozenset(map(chr, range(0x80)))


def _utf8_from_latin(text: str) -> str:
    if (whole := _whole_utf8(text)) is not None:
        return whole
    runs = list(_UTF8_RUN.finditer(text))
    proven = [run for run in runs if _is_utf8_by_itself(text, run)]
    if not proven:
        return text
    covered = _latin1_chars("".join(run[0] for run in runs))
    is_all_over = covered >= _MIN_SHARE * _latin1_chars(text)  # then one that proves it speaks for the rest
    parts = []
    done = 0
    for run in runs if is_all_over else proven:
        decoded = _decoded(_bytes(run[0]), "utf-8")
        if decoded and all(map(_is_writing_or_c1, decoded)):
            parts += [text[done : run.start()], decoded]
            done = run.end()
    return "".join([*parts, text[done:]])


def _latin1_chars(text: str) -> int:
    """How many characters are U+0080 to U+00FF."""
    return len(text.encode("latin-1", errors="ignore").translate(None, _ASCII_BYTES))


def _is_writing_or_c1(char: str) -> bool:
    return "\x80" <= char <= "\x9f" or is_writing(char)


def _whole_utf8(text: str) -> str | None:
    """`text` decoded at once, where all of it is UTF-8 and one run proves it; the same as run by run, and sooner."""
    try:
        decoded = _decoded(_bytes(text), "utf-8")
    except UnicodeEncodeError:  # a character that no byte shows as
        return None
    if decoded is None:
        return None
    # What can be printed is writing, and nobody need look at each character.
    is_plain = decoded.replace("\n", "").isprintable() or "".join(decoded.split()).isprintable()
    if not is_plain and not all(_is_writing_or_c1(char) for char in set(decoded) if char > "\x7f"):
        return None
    return decoded if any(_is_utf8_by_itself(text, run) for run in _UTF8_RUN.finditer(text)) else None


def _is_utf8_by_itself(text: str, run: re.Match[str]) -> bool:
    start, end = run.span()
    before, after = text[max(0, start - 1) : start], text[end : end + 1]
    if "\x80" <= before <= "\xff" or "\x80" <= after <= "\xff":
        return False
    decoded = _decoded(_bytes(run[0]), "utf-8")
    if not decoded:
        return False
    if len(decoded) > 1:
        chinese = _decoded(_bytes(run[0]), "gb18030")
        return chinese is None or (score := everyday_score(chinese)) < 2.0 or score < everyday_score(decoded)
    is_closed = _CLOSING.issuperset(run[0][1:])  # CAFÉ™, „Ä“, è…»
    if not decoded.isalpha():
        is_sign = "\xa0" <= decoded < "\xc0" or decoded >= "\u2000"
        return is_sign or (decoded in "×÷" and not (is_closed and before.isalpha()))
    if decoded < "\u0180":
        return not is_closed or before.islower() or after.isalpha()
    return decoded in level_1() and not is_closed


# --- GBK or Big5 read as Latin-1 or Windows-1252 ------------------------------------------------------------------

# Two bytes of everyday Chinese; accented small letters never make the first, and ¿Qué and «Un are no signs of Big5.
_PAIRS = {
    "gb18030": re.compile("[\xa1-\xa3\xb0-\xd7][\xa1-\xfe]"),
    "big5hkscs": re.compile("[\xa4-\xc6][\xa1-\xfe]|[\xa4-\xaa\xac-\xbe\xc0-\xc6][@-~]"),
}
_STRETCH = re.compile(f"[{_HIGH}\t\x20-\x7e]+")
_WORD = re.compile(f"[{_HIGH}\x21-\x7e]+")
_SIGN = "\x80-\xbf\xd7\xf7"
_ODD_PAIR = re.compile(f"[{_SIGN}][{_HIGH}]|[{_HIGH}][{_SIGN}]|[\xdf-\xff][\xc0-\xde]")
_ORDINARY = re.compile(f"[A-Za-z][\xc0-\xff]|[\xc0-\xff][a-z]|[{_WINDOWS_CHARS}]")
_OPENED = re.compile("[\xab\xbf][A-Za-z]")  # «Un, ¿Qué
_SIGN_START = "[\xa1\xa2\xa8][CKVX\xa1-\xff]|[\x81\x94”][0-9]"
# Punctuation and accents of English text, where no Chinese character can tell. No Spanish sentence goes ¡¯ or ¡¦.
_GBK_SIGN = re.compile(
    "(?<![\x80-\xff])(?:\xa1[\xa4\xaa\xad-\xb1]|\xa8[\xa1-\xba]|\xa8C(?![a-z])"
    "|(?<=[0-9 ])\xa1\xc1(?=[0-9 ])|\xa1\xc0(?= ?[0-9])|\xa1\xe3(?=[CF]\\b)|\xa2\xe3(?=[0-9])"
    f"|\x81[0-9][{_HIGH}][0-9]|[\x94”]9[\x80-\xff][0-9])+(?![\x80-\xff])"  # rarer letters and emoji take four bytes
)
_ANY_SIGN = {"gb18030": re.compile("[\xa1-\xa3\xa8][\xa1-\xfe]"), "big5hkscs": re.compile("[\xa1-\xa3][\xa1-\xfe]")}
_BIG5_SIGN = re.compile("(?<![\x80-\xff])(?:\xa1[\xa5-\xa8]|\xa1[KVX](?![A-Za-z\xc0-\xff]))+(?![\x80-\xff])")
_SURE_SCORE = 3.0  # e^3 to one, about the odds against damage in a text that looks like it
_SURE_MEAN = -0.5


class _Reading(NamedTuple):
    before: str
    after: str
    score: float
    is_sure: bool


def _gbk_from_latin(text: str) -> str:
    return _chinese_from_latin(text, "gb18030", "big5hkscs")


def _big5_from_latin(text: str) -> str:
    return _chinese_from_latin(text, "big5hkscs", "gb18030")


def _chinese_from_latin(text: str, encoding: str, other: str) -> str:
    readings = [(start, reading) for start, reading in _readings(text, encoding) if reading.score > 0]
    if any(reading.is_sure for _, reading in readings):
        readings = [(start, read) for start, read in readings if read.score > _score_as(other, read.before)]
    if any(reading.is_sure for _, reading in readings):
        return _replaced(text, [(start, start + len(read.before), read.after) for start, read in readings])
    return _with_signs(text, encoding)


def _with_signs(text: str, encoding: str) -> str:
    signs = _GBK_SIGN if encoding == "gb18030" else _BIG5_SIGN
    better = signs.sub(lambda sign: _sign(sign[0], encoding), text)
    return better if better == text else _ANY_SIGN[encoding].sub(lambda sign: _sign(sign[0], encoding), better)


def _sign(before: str, encoding: str) -> str:
    after = _decoded(_bytes(before), encoding)
    return after if after and all(map(_is_western_sign, after)) else before


def _is_western_sign(char: str) -> bool:
    return "\xa0" <= char < "\u0250" or "\u2010" <= char <= "\u2122" or "\U0001f000" <= char < "\U0001fc00"


def _readings(text: str, encoding: str) -> Iterator[tuple[int, _Reading]]:
    """The stretches of `text` that decode; where one does not as a whole, those of its words that do."""
    for stretch in _STRETCH.finditer(text):
        if not _PAIRS[encoding].search(stretch[0]):
            continue
        if whole := _reading(stretch[0], encoding):
            yield stretch.start(), whole
            continue
        for word in _WORD.finditer(text, stretch.start(), stretch.end()):
            if _PAIRS[encoding].search(word[0]) and (read := _reading(word[0], encoding)):
                yield word.start(), read


@lru_cache(maxsize=64)  # each of the two encodings is asked about what the other one reads
def _reading(before: str, encoding: str) -> _Reading | None:
    after = _decoded(_bytes(before), encoding)
    if after is None:
        return None
    chinese = everyday_score(after)
    score = chinese + 2 * len(_ODD_PAIR.findall(before)) - len(_ORDINARY.findall(before))
    score -= 2 * len(_OPENED.findall(before))
    is_sure = score >= _SURE_SCORE and chinese >= _SURE_MEAN * _foreign_chars(after) and _has_two_han(after)
    return _Reading(before, after, score, is_sure)


def _foreign_chars(text: str) -> int:
    return len(text) - len(text.encode("ascii", errors="ignore"))


def _has_two_han(text: str) -> bool:
    return sum("\u3400" <= char <= "\u9fff" for char in set(text)) >= 2


def _score_as(encoding: str, before: str) -> float:
    reading = _reading(before, encoding)
    return -math.inf if reading is None else reading.score


# --- UTF-8 or Big5 read as GBK ------------------------------------------------------------------------------------

_FOREIGN_RUN = re.compile(r"[^\x00-\x7f]+")
_UTF8_BYTES = re.compile(rb"(?:[\xe2-\xef][\x80-\xbf]{2}|\xf0[\x90-\xbf][\x80-\xbf]{2})+[\x00-\x7f]?")
# Sound Chinese may hold the bytes of one UTF-8 character by chance, but neither first in a run nor two in a row.
_UTF8_CHAR = r"[\xe2-\xf0][\x80-\xbf]{2}"
_UTF8_TRACE = re.compile(rf"{_UTF8_CHAR}(?:{_UTF8_CHAR}|(?<=[\x00-\x7f]{_UTF8_CHAR}))".encode("latin-1"))
_SYMBOLS = re.compile(
    "[\xa0-\xbf\xd7\xf7\u2010-\u203f\u20ac\u2100-\u21ff\u2460-\u27bf\u3000-\u303f\ufe0f\uff00-\uffef\U0001f000-\U0001fbff]"
)
_MIN_BYTES_INSIDE = 6
_ASCII_OR_LOST = re.compile("[\x00-\x7f\ufffd]+")
_EAST_ASIAN = re.compile("[\xc0-\u017f\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]+")
_KANA = re.compile("[\u3040-\u30ff]")
_MIXED = re.compile("[\u4e00-\u9fff][\u0370-\u0451][\u4e00-\u9fff]")  # no word has a Greek letter between Han
_MIN_MEAN = -0.5  # of everyday score for each letter
_MIN_GAIN = 10.0  # of everyday score in all, and 1 for each character


def _utf8_from_gbk(text: str) -> str:
    if not _UTF8_TRACE.search(b"\n" + _gbk_bytes(text)):
        return text
    return _FOREIGN_RUN.sub(lambda run: _utf8_from_gbk_run(run[0]), text)


def _utf8_from_gbk_run(run: str) -> str:
    data = _gbk_bytes(run)
    if not _UTF8_TRACE.search(b"\n" + data) or not (_is_rare(run) or _MIXED.search(run)):
        return run
    covered = [found.end() - found.start() for found in _UTF8_BYTES.finditer(data)]
    if 2 * sum(covered) >= len(data) and _reads_better(run, whole := _decoded_but_for_lost(data)):
        return whole
    return _utf8_inside(run, data) if max(covered, default=0) >= _MIN_BYTES_INSIDE else run


def _decoded_but_for_lost(data: bytes) -> str:
    """As UTF-8; a character of which a byte was lost is one U+FFFD."""
    return re.sub("\ufffd+", "\ufffd", data.decode("utf-8", errors="replace"))


def _reads_better(before: str, after: str) -> bool:
    """Everyday Chinese or kana, symbols, and no more losses than there were."""
    rest = _SYMBOLS.sub("", _ASCII_OR_LOST.sub("", after))
    if after.count("\ufffd") > before.count("\ufffd"):
        return False
    if not rest:
        return _SYMBOLS.search(after) is not None
    return len(set(rest)) > 1 and _EAST_ASIAN.fullmatch(rest) is not None and _mean_score(rest) >= _MIN_MEAN


def _utf8_inside(run: str, data: bytes) -> str:
    """`run` with damage undone that stands beside sound Chinese."""
    places = {0: 0}  # where characters begin and end, in bytes and in characters
    length = 0
    for number, char in enumerate(run, 1):
        length += len(_gbk_bytes(char))
        places[length] = number
    replacements = []
    done = 0
    for first, start in list(places.items()):
        found = _UTF8_BYTES.match(data, first) if first >= done else None
        last = found.end() if found else 0
        if found and last not in places and last - 1 in places:  # the last byte of the match is a next character's
            last -= 1
        if found and last in places and last - first >= _MIN_BYTES_INSIDE:
            piece, whole = run[start : places[last]], _decoded_but_for_lost(data[first:last])
            if (_is_rare(piece) or _MIXED.search(piece)) and _reads_better(piece, whole):
                replacements.append((start, places[last], whole))
                done = last
    return _replaced(run, replacements)


def _mean_score(letters: str) -> float:
    return everyday_score(_KANA.sub("", letters)) / len(letters)


_NOT_GBK = re.compile("[€\ufffd]")


def _gbk_bytes(text: str) -> bytes:
    """As GB18030, but Windows reads a lone byte 0x80 as €, and U+FFFD was a byte that no encoding has."""
    if "€" not in text and "\ufffd" not in text:
        return text.encode("gb18030", errors="replace")
    parts = (part.encode("gb18030", errors="replace") for part in _NOT_GBK.split(text))
    signs = (b"\x80" if sign == "€" else b"\xff" for sign in [*_NOT_GBK.findall(text), ""])
    return b"".join(part + sign for part, sign in zip(parts, signs, strict=True))[:-1]


def _big5_from_gbk(text: str) -> str:
    if not _big5_trace().search(text):  # which ends where a line does
        return text
    lines = [_big5_from_gbk_line(line) if not line.isascii() else line for line in text.split("\n")]
    return "\n".join(lines)


def _big5_from_gbk_line(line: str) -> str:
    """Both encodings take two bytes for a character, so that each one can be damaged or sound for itself."""
    if not _big5_trace().search(line) or not _is_rare(line):
        return line
    gains = list(map(_big5_gain().__getitem__, line))
    replacements = []
    for start, end in _damaged_stretches(line, gains):
        if better := _big5_from_gbk_stretch(line[start:end], is_whole=end - start == len(line)):
            replacements.append((start, end, better))
    return _replaced(line, replacements[::-1])


def _big5_from_gbk_stretch(stretch: str, *, is_whole: bool) -> str | None:
    decoded = _decoded(stretch.encode("gb18030", errors="replace"), "big5hkscs")
    if decoded is None or not _is_rare(stretch):
        return None
    foreign = _foreign_chars(stretch)
    is_kana = 2 * len(_KANA.findall(stretch)) > foreign  # hiragana is where 人 and 大 are
    if is_kana or not _is_all_writing(decoded):
        return None
    score = everyday_score(decoded)
    wanted = max(_MIN_GAIN, foreign) if is_whole else 2 * max(_MIN_GAIN, foreign)  # the best of many stretches
    return decoded if score > 0 and score - everyday_score(stretch) >= wanted else None


_MUCH = 2.0
_SWITCH, _SWITCH_INSIDE = 3.0, 8.0  # of everyday score for each change between sound and damaged
_ENDS = frozenset("。！？；，：、”」》）.!?;,: \t")
_ENDS_DAMAGED = frozenset(sign.encode("big5").decode("gb18030") for sign in "。！？；，：、」》）") | frozenset(
    ".!?;,: \t"
)


def _damaged_stretches(line: str, gains: list[float]) -> Iterator[tuple[int, int]]:
    """From where to where a line is most likely damaged, last stretch first (Viterbi, two states).

    Given what each character gains; a change costs less where a clause ends.
    """
    sound, damaged = 0.0, -_SWITCH
    came_from: list[tuple[bool, bool]] = []  # was it damaged before, if it is sound now, if it is damaged now
    before = "。"
    for char, gain in zip(line, gains, strict=True):
        to_sound = damaged - (_SWITCH if before in _ENDS_DAMAGED else _SWITCH_INSIDE)
        to_damaged = sound - (_SWITCH if before in _ENDS else _SWITCH_INSIDE)
        came_from.append((to_sound > sound, damaged >= to_damaged))
        sound = to_sound if to_sound > sound else sound  # max() would take half of the time of it all
        damaged = (damaged if damaged >= to_damaged else to_damaged) + gain
        before = char
    is_damaged = damaged > sound
    end = len(gains)
    for place in range(len(gains) - 1, -1, -1):
        was_damaged = came_from[place][is_damaged]
        if was_damaged != is_damaged:
            if is_damaged:
                yield place, end
            end = place
        is_damaged = was_damaged
    if is_damaged:
        yield 0, end


class _Big5Gain(dict[str, float]):
    """How much more everyday a character is when the bytes of its GBK are read as Big5."""

    def __missing__(self, char: str) -> float:
        if char < "\x80":
            gain = 0.0
        else:
            decoded = _decoded(char.encode("gb18030", errors="replace"), "big5hkscs")
            gain = -math.inf if decoded is None else everyday_score(decoded) - everyday_score(char)
        self[char] = gain
        return gain


@cache
def _big5_trace() -> re.Pattern[str]:
    """What any stretch that is worth undoing has: three characters near each other that gain much. Takes some 20 ms."""
    codes = [*range(0x3000, 0x3400), *range(0x4E00, 0xA000), *range(0xE000, 0xE800), *range(0xFE30, 0xFE50)]
    chars = [*map(chr, [*range(0x80, 0x500), *codes])]
    data = "\n".join(chars).encode("gb18030", errors="replace")
    decoded = data.decode("big5hkscs", errors="replace").split("\n")  # no character of two bytes has a line end
    weights = everyday_weights()
    gains = _big5_gain()
    for char, other in zip(chars, decoded, strict=True):
        score = weights[ord(other)] if len(other) == 1 and other <= "\uffff" else everyday_score(other)
        gains[char] = -math.inf if "\ufffd" in other else score - weights[ord(char)]
    much = "".join(re.escape(char) for char in chars if gains[char] >= _MUCH)
    return re.compile(f"[{much}](?:.{{0,4}}[{much}]){{2}}")


@cache
def _big5_gain() -> _Big5Gain:
    return _Big5Gain()


# --- Windows-1252 read as Latin-1 ---------------------------------------------------------------------------------

_CONTROL_QUOTE = re.compile("(?<![\x80-\x9f\xa0-\xbf])[\x80\x82-\x8c\x8e\x91-\x9c\x9e\x9f](?![\x80-\xbf])")


def _windows_from_latin(text: str) -> str:
    """Quotes and dashes that became control characters; real text has none of those."""
    return _CONTROL_QUOTE.sub(lambda char: char[0].encode("latin-1").decode("cp1252"), text)


# --- shared -------------------------------------------------------------------------------------------------------


def _bytes(text: str) -> bytes:
    """Bytes of `text` in Windows-1252 where it has the character, else in Latin-1, as browsers read them."""
    try:  # many times sooner, where one of the two has all characters
        return text.encode("latin-1")
    except UnicodeEncodeError:
        pass
    try:
        return codecs.charmap_encode(text, "strict", _TO_WINDOWS)[0]
    except UnicodeEncodeError as err:
        if text[err.start] > "\xff":
            raise
    parts = enumerate(_C1_RUN.split(text))  # every other one is of characters that only Latin-1 has
    return b"".join(
        part.encode("latin-1") if place % 2 else codecs.charmap_encode(part, "strict", _TO_WINDOWS)[0]
        for place, part in parts
    )


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeError:
        return None


def _is_all_writing(text: str) -> bool:
    return text.isprintable() or all(map(is_writing, text))


def _replaced(text: str, places: list[tuple[int, int, str]]) -> str:
    parts = []
    done = 0
    for start, end, replacement in places:
        parts += [text[done:start], replacement]
        done = end
    return "".join([*parts, text[done:]])


@cache
def _rare() -> re.Pattern[str]:
    """What Chinese read in a wrong encoding is full of: Han outside GB2312 level 1, kana, private use, U+FFFD."""
    return re.compile(f"[{beyond_level_1()}\u3040-\u30ff\ue000-\uf8ff\ufffd]")


@lru_cache(maxsize=1)  # two rules ask about the same text
def _is_rare(text: str) -> bool:
    found = _rare().search(text)
    return found is not None and _rare().search(text, found.end()) is not None


def _shows(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda foreign: compiled.search(foreign) is not None


@dataclass(frozen=True)
class _Damage:
    rule: str
    shows_in: Callable[[str], bool]  # of the foreign characters of a text; costs little, and sound text seldom has it
    undo: Callable[[str], str]
    is_latin: bool = True  # shows as characters of Latin-1


# In this order.
_DAMAGES = [
    _Damage("utf16_as_bytes", _shows("\0"), _from_utf16),
    _Damage("utf8_as_latin1", _shows(_UTF8_ALONE), _utf8_from_latin),
    _Damage("gbk_as_latin1", _shows(f"{_PAIRS['gb18030'].pattern}|{_SIGN_START}"), _gbk_from_latin),
    _Damage(
        "big5_as_latin1",
        _shows(f"(?:{_PAIRS['big5hkscs'].pattern})[^\0]*?(?:{_PAIRS['big5hkscs'].pattern})|{_SIGN_START}"),
        _big5_from_latin,
    ),
    _Damage("utf8_as_gbk", _is_rare, _utf8_from_gbk, is_latin=False),
    _Damage("big5_as_gbk", _is_rare, _big5_from_gbk, is_latin=False),
    _Damage("cp1252_as_latin1", _shows("[\x80-\x9f]"), _windows_from_latin),
]
