"""The dirt of real life: each function damages one clean document and says what it should read.

Damage by encodings is planted only where it can be undone: bytes that were lost are nobody's fault.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from tulou.bench.grammar import Grammar
from tulou.bench.identity import LOOKALIKES, MAKERS, lookalike

_INVISIBLE = ("\u200b", "\u200d", "\ufeff", "\u00ad", "\x07", "\x00", "\x1b", "\u202e", "\u2060", "\x7f")
_MIN_TYPO_CHARS = 6  # a slip in a shorter word often gives another word
_WIDE_VALUES = 0.05  # share of sensitive values typed in full width
_TWO_VALUES = 0.25  # share of sensitive documents with two values
_WHOLE = 0.6  # share of mojibake that runs through the whole document
_TWO_HEADINGS = 0.5  # share of documents with two misread headings rather than one
_FOREIGN = "The café’s note says: “back at noon” – no more than that."  # for English without a foreign character
_MIN_SENTENCES_TO_MOVE = 5
_BY_SENTENCE = 0.25  # share of near copies made by moving whole sentences
_ABOVE = 0.7  # share of the others meant to stay above a similarity of 0.8
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_WIDE_LETTERS = {code: wide for code, wide in _WIDE.items() if chr(code).isalnum()}


@dataclass(frozen=True)
class Value:
    """A value planted in a document."""

    kind: str
    text: str  # as it stands in the document
    is_real: bool


@dataclass(frozen=True)
class Dirty:
    text: str
    detail: str  # which sort of damage; for a typo the right word
    expected: str | None = None  # the whole text as it should read; None where that is not one certain text
    values: tuple[Value, ...] = ()


Dirt = Callable[[list[str], Grammar, random.Random], Dirty]
"""Sentences of a clean document in, the dirty document out. The list may be changed."""


def mojibake(sentences: list[str], grammar: Grammar, rng: random.Random) -> Dirty:
    if grammar.language == "en":
        sort = rng.choice(("utf8_as_latin1", "utf8_as_cp1252"))
        if grammar.joined(sentences).isascii():
            sentences.insert(rng.randrange(len(sentences) + 1), _FOREIGN)
    else:
        sort = rng.choice(tuple(_MISREAD))
    if sort == "utf8_as_gbk":
        return _misread_headings(sentences, grammar, rng)
    if sort.startswith("big5"):
        own = [written for sentence in sentences if _is_big5(written := _in_traditional(sentence))]
        known = rng.sample(grammar.texts["traditional"]["sentences"], rng.randrange(1, 3))
        sentences[:] = [*known, *own[: rng.randrange(2, 6)]]
    damaged = [_misread(sentence, sort) for sentence in sentences]
    hit = [at for at, sentence in enumerate(sentences) if damaged[at] != sentence]
    if rng.random() > _WHOLE:
        spared = set(rng.sample(hit, rng.randrange(len(hit))))
        damaged = [sentence if at in spared else damaged[at] for at, sentence in enumerate(sentences)]
    return Dirty(grammar.joined(damaged), sort, grammar.joined(sentences))


def _in_traditional(sentence: str) -> str:
    """As it is written in Taiwan, character by character."""
    return str(_taiwan().convert(sentence))


@cache
def _taiwan() -> Any:
    import opencc

    return opencc.OpenCC("s2tw")


def _is_big5(text: str) -> bool:
    return text.encode("big5", errors="ignore").decode("big5") == text


def _misread_headings(sentences: list[str], grammar: Grammar, rng: random.Random) -> Dirty:
    """GBK reads bytes in pairs and stumbles over most UTF-8; short lines without a full stop may survive whole."""
    sort = "utf8_as_gbk"
    lines: list[tuple[str, str]] = []  # damaged, right
    while len(lines) < 1 + (rng.random() < _TWO_HEADINGS):
        right = grammar.sentence().rstrip("。")
        damaged = _misread(right, sort)
        if damaged != right:
            lines.append((damaged, right))
    body = grammar.joined(sentences)
    texts = ["\n".join([*(line[side] for line in lines), body]) for side in (0, 1)]
    return Dirty(texts[0], sort, texts[1])


_MISREAD: dict[str, tuple[str, str]] = {
    "utf8_as_latin1": ("utf-8", "latin-1"),
    "utf8_as_cp1252": ("utf-8", "cp1252"),
    "gbk_as_latin1": ("gbk", "latin-1"),
    "utf8_as_gbk": ("utf-8", "gb18030"),
    "big5_as_latin1": ("big5", "latin-1"),
    "big5_as_gbk": ("big5", "gb18030"),
}


def _misread(text: str, sort: str) -> str:
    """`text` written in one encoding and read in another, or `text` itself where that would lose something."""
    written, read = _MISREAD[sort]
    try:
        raw = text.encode(written)
        if read == "cp1252":
            return "".join(_windows_char(byte) for byte in raw)
        damaged = raw.decode(read)
        return damaged if damaged.encode(read) == raw else text
    except UnicodeError:
        return text


def _windows_char(byte: int) -> str:
    """As browsers read Windows-1252: its five undefined bytes stay control characters."""
    try:
        return bytes((byte,)).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


def html(sentences: list[str], grammar: Grammar, rng: random.Random) -> Dirty:
    expected = grammar.joined(sentences)
    text = expected.replace("&", "&amp;")
    shape = rng.randrange(5)
    if shape == 0:
        text = "".join(f"<p>{part}</p>\n" for part in text.split("\n"))
    elif shape == 1:
        text = f'<div class="post"><span style="color:#333">{text}</span><br/></div>'.replace("\n", "<br>\n")
    elif shape == 2:
        text = text.replace(" ", "&nbsp;", 3).replace("，", "，&nbsp;", 2)
        text = f"<td>{text}</td>"
    elif shape == 3:
        text = f"<script>var a=1<2;</script><style>p{{margin:0}}</style>{text}<!-- end of post -->"
    else:
        at = text.find(" ", len(text) // 2) + 1 or len(text) // 2
        text = f'{text[:at]}<a href="/item?id={rng.randrange(10**6)}&amp;from=list">{text[at:]}</a>'
    return Dirty(text, f"shape_{shape}", expected)


def full_width(sentences: list[str], grammar: Grammar, rng: random.Random) -> Dirty:
    expected = grammar.joined(sentences)
    if not re.search(r"[A-Za-z0-9]", expected):
        sentences.append(f"{rng.randrange(1000, 9999)} OK")
        expected = grammar.joined(sentences)
    return Dirty(expected.translate(_WIDE_LETTERS), "letters_and_digits", expected)


def control(sentences: list[str], grammar: Grammar, rng: random.Random) -> Dirty:
    expected = grammar.joined(sentences)
    chars = list(expected)
    for _ in range(rng.randrange(1, 8)):
        chars.insert(rng.randrange(len(chars) + 1), rng.choice(_INVISIBLE))
    return Dirty("".join(chars), "invisible", expected)


def typo(sentences: list[str], grammar: Grammar, rng: random.Random) -> Dirty:
    dirt = grammar.texts["dirt"]
    if grammar.language == "zh":
        right, wrong = rng.choice(dirt["typos"])
        carrier = rng.choice(dirt["typo_carriers"])
        at = rng.randrange(len(sentences) + 1)
        clean = [*sentences[:at], carrier.format(word=right), *sentences[at:]]
        dirty = [*sentences[:at], carrier.format(word=wrong), *sentences[at:]]
        return Dirty(grammar.joined(dirty), right, grammar.joined(clean), (Value("typo", wrong, is_real=True),))
    expected = grammar.joined(sentences)
    places = [
        match for match in re.finditer(r"(?<![\w’-])[a-z]+(?![\w’-])", expected) if len(match[0]) >= _MIN_TYPO_CHARS
    ]
    if not places:
        return typo([*sentences, grammar.sentence()], grammar, rng)
    place = rng.choice(places)
    wrong = _slip(place[0], rng)
    text = expected[: place.start()] + wrong + expected[place.end() :]
    return Dirty(text, place[0], expected, (Value("typo", wrong, is_real=True),))


def _slip(word: str, rng: random.Random) -> str:
    """A slip of the finger: letters swapped, one left out, doubled or replaced; the first one stays."""
    while True:
        at = rng.randrange(1, len(word) - 1)
        wrong = rng.choice(
            (
                word[:at] + word[at + 1] + word[at] + word[at + 2 :],
                word[:at] + word[at + 1 :],
                word[:at] + word[at] + word[at:],
                word[:at] + rng.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :],
            )
        )
        if wrong != word:
            return wrong


def junk(_sentences: list[str], grammar: Grammar, rng: random.Random) -> Dirty:
    dirt = grammar.texts["dirt"]
    sort = rng.choice(("too_short", "symbols", "repeated"))
    if sort == "too_short":
        return Dirty(rng.choice(dirt["junk_short"]), sort)
    if sort == "repeated":
        return Dirty(rng.choice(dirt["junk_unit"]) * rng.randrange(60, 300), sort)
    return Dirty("".join(rng.choice("#@!$%^&*()_+=-~`|\\/<>?;:★◆■●※→") for _ in range(rng.randrange(30, 300))), sort)


def sensitive(sentences: list[str], grammar: Grammar, rng: random.Random, *, split: str = "held_out") -> Dirty:
    values = []
    for kind in rng.sample(tuple(MAKERS), 2 if rng.random() < _TWO_VALUES else 1):
        made = MAKERS[kind](rng, grammar.texts["people"])
        if kind not in ("license_plate", "person", "address") and rng.random() < _WIDE_VALUES:
            made = made.translate(_WIDE)
        carrier = rng.choice(grammar.texts["carriers"][kind][split])
        sentences.insert(rng.randrange(len(sentences) + 1), carrier.format(value=made))
        values.append(Value(kind, made, is_real=True))
    return Dirty(grammar.joined(sentences), values[0].kind, values=tuple(values))


def innocent(sentences: list[str], grammar: Grammar, rng: random.Random) -> Dirty:
    """A number or word that only looks sensitive."""
    kind = rng.choice(tuple(LOOKALIKES))
    made = lookalike(kind, rng)
    carrier = rng.choice(grammar.texts["lookalike"][kind]["carriers"])
    sentences.insert(rng.randrange(len(sentences) + 1), carrier.format(value=made))
    return Dirty(grammar.joined(sentences), kind, values=(Value(kind, made, is_real=False),))


def retyped(sentences: list[str], grammar: Grammar, rng: random.Random) -> str:
    """Nearly the same document: words replaced, left out or put in, or whole sentences moved, added or left out.

    Strength is drawn so that about two thirds stay above a Jaccard similarity of 0.8. Numbers stay as they are.
    """
    if len(sentences) > _MIN_SENTENCES_TO_MOVE and rng.random() < _BY_SENTENCE:
        return grammar.joined(_rearranged(sentences, grammar, rng))
    wanted = rng.uniform(0.8, 0.99) if rng.random() < _ABOVE else rng.uniform(0.45, 0.8)
    text = grammar.joined(sentences)
    swaps = grammar.texts["dirt"]["swaps"]
    edit = _edited_chinese if grammar.language == "zh" else _edited_english
    return edit(text, (1 - wanted) / (1 + wanted) / 3, swaps, rng)  # one edit makes three shingles anew


def _rearranged(sentences: list[str], grammar: Grammar, rng: random.Random) -> list[str]:
    moved = list(sentences)
    way = rng.randrange(4)
    if way == 0:
        moved.append(rng.choice(grammar.texts["dirt"]["again"]))
    elif way == 1:
        moved.insert(rng.randrange(len(moved)), grammar.sentence())
    elif way == 2:
        del moved[rng.randrange(len(moved))]
    else:
        moved.insert(rng.randrange(len(moved) - 1), moved.pop())
    return moved


def _edited_english(text: str, share: float, swaps: list[str], rng: random.Random) -> str:
    words = text.split(" ")
    places = [at for at, word in enumerate(words) if word.isalpha()]
    for at in rng.sample(places, min(len(places), max(1, round(share * len(words))))):
        way = rng.random()
        words[at] = rng.choice(swaps) if way < 0.6 else (f"{words[at]} {rng.choice(swaps)}" if way < 0.8 else "")
    return " ".join(word for word in words if word)


def _edited_chinese(text: str, share: float, swaps: list[str], rng: random.Random) -> str:
    places = [match.start() for match in re.finditer(r"[\u4e00-\u9fff]{2}", text)]
    chars = list(text)
    for at in rng.sample(places, min(len(places), max(1, round(share * len(text))))):
        way = rng.random()
        if way < 0.6:
            chars[at], chars[at + 1] = rng.choice(swaps), ""
        elif way < 0.8:
            chars[at] += rng.choice(swaps)
        else:
            chars[at] = chars[at + 1] = ""
    return "".join(chars)
