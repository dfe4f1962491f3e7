"""How well spelling does: typos planted in sentences it has not learned from, and what it makes of them.

Sentences are dealt to three parts (learn, tune, held out) that share none. English slips are a keyboard neighbour, a
swap, an omission, a doubling; Chinese ones a same-sounding character, one that only some speakers merge (f/h, r/l,
g/k: in no table of the corrector) or a look-alike from a list of its own. Every result follows from the seed.
"""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from tulou.data.clean.spelling.correction import Correction
from tulou.data.clean.spelling.counts import count
from tulou.data.clean.spelling.sounds import same_sound, syllables
from tulou.data.clean.spelling.speller import Speller

Part = Literal["learn", "tune", "held_out"]
Language = Literal["en", "zh"]
_PARTS: tuple[Part, ...] = ("learn", "learn", "learn", "tune", "held_out")
_WORD = re.compile(r"[A-Za-z]{4,}|[\u4e00-\u9fff]")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_OTHER_MERGERS = (("f", "h"), ("h", "f"), ("r", "l"), ("l", "r"), ("g", "k"), ("k", "g"))
_PLANTED_PER_TEXT = 0.5  # so that both damaged and clean texts are seen in any corpus


@dataclass(frozen=True)
class Typo:
    """One planted slip: where it is in the damaged text, and what stood there."""

    start: int
    end: int
    meant: str


@dataclass
class Score:
    """Counts of one language; a correction is right if it restores exactly what stood there."""

    words: int = 0
    planted: int = 0
    right: int = 0
    wrong: int = 0  # a planted typo changed into something else, or a sound word changed

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.wrong) if self.right + self.wrong else 1.0

    @property
    def recall(self) -> float:
        return self.right / self.planted if self.planted else 1.0


@cache
def _sample() -> Mapping[str, Any]:
    return tomllib.loads(files(__package__).joinpath("sample.toml").read_text("utf-8"))


def write_texts(language: Language, part: Part, number: int, seed: int, fold: int = 0) -> list[str]:
    """`number` texts of a few sentences each, of those that belong to `part`; five folds turn the parts around."""
    rng = random.Random(f"{seed} {language} {part} {fold}")
    words = _sample()[language]
    sentences = [text for place, text in enumerate(words["sentence"]) if _PARTS[(place + fold) % len(_PARTS)] == part]
    space = " " if language == "en" else ""
    texts = []
    for _ in range(number):
        body = space.join(rng.sample(sentences, rng.randint(2, 4)))
        text = rng.choice(words["opening"]) + body + rng.choice(words["closing"])
        texts.append(re.sub(r"\{thing\}", lambda _: str(rng.choice(words["thing"])), text))
    return texts


def damage(text: str, language: Language, rng: random.Random) -> tuple[str, Typo] | None:
    """`text` with one slip, or None where it has no place for one."""
    if language == "en":
        places = [match for match in re.finditer(r"\b[a-z]{4,}\b", text) if match[0] not in _names()]
        if not places:
            return None
        match = rng.choice(places)
        slipped = _slip(match[0], rng)
        if slipped == match[0]:
            return None
        changed = text[: match.start()] + slipped + text[match.end() :]
        return changed, Typo(match.start(), match.start() + len(slipped), match[0])
    at = rng.choice([place for place, char in enumerate(text) if "\u4e00" <= char <= "\u9fff"])
    others = rng.choices((same_sound(), _merged_sound(), _lookalikes()), weights=(5, 1, 3))[0].get(text[at], "")
    if not others:
        return None
    return text[:at] + rng.choice(others) + text[at + 1 :], Typo(at, at + 1, text[at])


def measure(
    number: int = 2000, part: Part = "held_out", seed: int = 7, fold: int = 0
) -> dict[Language, dict[str, Score]]:
    """Learn from texts of which half hold typos, then score on others, `damaged` and `sound` (as they were)."""
    languages: tuple[Language, ...] = ("en", "zh")
    rng = random.Random(seed)
    taught = [text for language in languages for text in write_texts(language, "learn", number, seed, fold)]
    speller = Speller(count(_damaged_half(taught, rng)))
    scores: dict[Language, dict[str, Score]] = {}
    for language in languages:
        sound = write_texts(language, part, number, seed, fold)
        scores[language] = {"damaged": Score(), "sound": Score()}
        for text in sound:
            score(scores[language]["sound"], text, [], speller.corrections(text))
            if hurt := damage(text, language, rng):
                score(scores[language]["damaged"], hurt[0], [hurt[1]], speller.corrections(hurt[0]))
    return scores


def score(total: Score, text: str, typos: list[Typo], corrections: list[Correction]) -> None:
    """Add one text to `total`."""
    total.words += sum(1 for _ in _WORD.finditer(text))
    total.planted += len(typos)
    for correction in corrections:
        if any(_restores(correction, typo, text) for typo in typos):
            total.right += 1
        else:
            total.wrong += 1


def _restores(correction: Correction, typo: Typo, text: str) -> bool:
    """Whether the correction makes of the typo's place exactly what was meant, and touches nothing else wrongly."""
    if correction.start > typo.start or correction.end < typo.end:
        return False
    before, after = text[correction.start : typo.start], text[typo.end : correction.end]
    return correction.after == before + typo.meant + after


def _damaged_half(texts: list[str], rng: random.Random) -> Iterator[str]:
    for text in texts:
        language: Language = "en" if text.isascii() else "zh"
        hurt = damage(text, language, rng) if rng.random() < _PLANTED_PER_TEXT else None
        yield hurt[0] if hurt else text


def _slip(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word) - 1)
    kind = rng.choice(("neighbour", "swap", "omit", "double"))
    if kind == "swap":
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if kind == "omit":
        return word[:at] + word[at + 1 :]
    if kind == "double":
        return word[: at + 1] + word[at:]
    row = next(row for row in _ROWS if word[at] in row)
    beside = row[max(row.index(word[at]) - 1, 0) : row.index(word[at]) + 2].replace(word[at], "")
    return word[:at] + rng.choice(beside) + word[at + 1 :]


@cache
def _names() -> frozenset[str]:
    """Made-up products: a slip in one cannot be told from another name."""
    return frozenset({"zephyrpad"})


@cache
def _merged_sound() -> Mapping[str, str]:
    table = syllables()
    merged: dict[str, str] = {}
    for syllable, chars in table.items():
        others = "".join(table.get(b + syllable[1:], "") for a, b in _OTHER_MERGERS if syllable.startswith(a))
        merged |= {char: merged.get(char, "") + others for char in chars if others}
    return merged


@cache
def _lookalikes() -> Mapping[str, str]:
    return {pair[0]: pair[1:] for pair in _sample()["zh"]["lookalike"] if pair[0] != pair[1]}
