"""Sentences and documents by the thousand: forms with slots, each slot fed by an endless stream of Zipfian words.

Words are drawn by the thousand at once and handed out one by one, so a document costs tens of microseconds. What that
gives up is meaning: the sentences are grammatical and no more, which is all that duplicates and patterns look at.
"""

from __future__ import annotations

import math
import random
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

Texts = Mapping[str, Any]
"""`texts/LANGUAGE.toml`."""

LANGUAGES = ("zh", "en")

_FOLDER = Path(__file__).parent / "texts"
_SLOT = re.compile(r"\{(\w+)\}")
_DRAWN = 512  # words at a time
_ZIPF = 0.9  # exponent; 1 is English prose, lists of some fifty words are flatter
_THINGS = 4000  # most frequent pairs of modifier and head
_SIGMA = 0.5  # of the logarithm of a document's length
_OPENED, _TAILED = 0.5, 0.45  # probabilities
_PARAGRAPH = 0.12  # probability that a sentence is followed by a new line
_MIN_SENTENCES = 3  # shorter ones would resemble each other by chance


@cache
def load_texts(language: str) -> Texts:
    return tomllib.loads((_FOLDER / f"{language}.toml").read_text(encoding="utf-8"))


@cache
def _weights(count: int) -> list[float]:
    """Cumulative weights of the ranks 1 to `count`."""
    return list(accumulate((rank + 2) ** -_ZIPF for rank in range(count)))


def _stream(words: list[str], rng: random.Random) -> Iterator[str]:
    weights = _weights(len(words))
    while True:
        yield from rng.choices(words, cum_weights=weights, k=_DRAWN)


def _numbers(rng: random.Random, make: Callable[[float], str]) -> Iterator[str]:
    while True:
        yield make(rng.random())


@cache
def _things(language: str) -> list[str]:
    words = load_texts(language)["words"]
    space = "" if language == "zh" else " "
    pairs = [f"{modifier}{space}{head}" for modifier in words["modifier"] for head in words["head"]]
    random.Random(language).shuffle(pairs)
    return pairs[:_THINGS]


@cache
def _days(language: str) -> list[str]:
    first = date(2015, 1, 1)
    form = "{0.year}年{0.month}月{0.day}日" if language == "zh" else "{0.day} {0:%B} {0.year}"
    return [form.format(first + timedelta(days=day)) for day in range(4000)]


class Grammar:
    """One language's sentences. All randomness comes from `rng`, so equal seeds give equal texts."""

    def __init__(self, language: str, rng: random.Random) -> None:
        self.language = language
        self.texts = load_texts(language)
        self.space = "" if language == "zh" else " "
        self._rng = rng
        self._end = "。" if language == "zh" else "."
        self._bytes_per_char = 3 if language == "zh" else 1
        self._streams = self._make_streams()
        forms = list(self.texts["cores"])
        if language == "zh":
            forms += [
                carrier.rstrip("。").replace("{word}", "{right}") for carrier in self.texts["dirt"]["typo_carriers"]
            ]
        self._cores = [self._compiled(form) for form in forms]
        self._openers = [self._compiled(form) for form in self.texts["openers"]]
        self._tails = [self._compiled(form) for form in self.texts["tails"]]

    def _make_streams(self) -> dict[str, Iterator[str]]:
        rng = self._rng
        streams = {name: _stream(words, rng) for name, words in self.texts["words"].items()}
        streams["thing"] = _stream(_things(self.language), rng)
        streams["date"] = _stream(_days(self.language), rng)
        if self.language == "zh":
            streams["right"] = _stream([right for right, _ in self.texts["dirt"]["typos"]], rng)
        streams["n"] = _numbers(rng, lambda x: str(11 + int(x * x * 980)))
        streams["small"] = _numbers(rng, lambda x: str(2 + int(x * x * 18)))
        streams["amount"] = _numbers(rng, lambda x: f"{5 + x * x * x * 9000:.2f}")
        streams["code"] = _numbers(
            rng, lambda x: f"{'KTRMBWHL'[int(x * 8)]}{'XZQDF'[int(x * 40) % 5]}-{1000 + int(x * 1e9) % 9000}"
        )
        return streams

    def _compiled(self, form: str) -> tuple[str, list[Callable[[], str]]]:
        slots = [self._streams[name].__next__ for name in _SLOT.findall(form)]
        return _SLOT.sub("%s", form.replace("%", "%%")), slots

    def sentence(self) -> str:
        random_ = self._rng.random
        form, slots = self._cores[int(random_() * len(self._cores))]
        text = form % tuple([slot() for slot in slots])
        if random_() < _OPENED:
            form, slots = self._openers[int(random_() * len(self._openers))]
            text = form % tuple([slot() for slot in slots]) + text
        if random_() < _TAILED:
            form, slots = self._tails[int(random_() * len(self._tails))]
            text += form % tuple([slot() for slot in slots])
        return text[0].upper() + text[1:] + self._end

    def sentences(self, mean_bytes: int) -> list[str]:
        """One document's sentences; some end a paragraph. Their length together is log-normal around `mean_bytes`."""
        rng = self._rng
        wanted = math.exp(rng.gauss(math.log(mean_bytes) - _SIGMA**2 / 2, _SIGMA)) / self._bytes_per_char
        written: list[str] = []
        while wanted > 0 or len(written) < _MIN_SENTENCES:
            made = self.sentence()
            wanted -= len(made) * (1.0 if written else 1.5)  # half a sentence less, because the last one overshoots
            written.append(made + "\n" if rng.random() < _PARAGRAPH else made)
        return written

    def joined(self, sentences: list[str]) -> str:
        text = self.space.join(sentences)
        return (text.replace("\n ", "\n") if self.space else text).rstrip("\n")
