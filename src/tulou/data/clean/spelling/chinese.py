"""Chinese typos: a character that sounds or looks like the one meant, shown by the corpus's own three-character model.

A character is examined only if a pair it stands in is rare in the corpus; a candidate only if its pair is common there.
The gain in log-probability over the three triples that hold the place decides (Dirichlet-smoothed back-off, after
MacKay and Peto 1995), with a margin that is higher where a dictionary knows the form as a word. Text not about what the
corpus is about is left alone, for there the model knows no better; so are names, numerals and particles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tulou.data.clean.spelling.correction import Correction
from tulou.data.clean.spelling.grams import (
    FIRST_HAN,
    SYMBOLS,
    CharacterCounts,
    character,
    pair_key,
    symbol,
    symbols,
    triple_key,
)
from tulou.data.clean.spelling.guards import is_free
from tulou.data.clean.spelling.sounds import fuzzy_sound, same_sound

if TYPE_CHECKING:
    import rjieba

_VOCABULARY = 4096  # commonest characters of the corpus; the pair table takes their square in bytes
_MIN_PAIRS = 4  # sightings of a pair that make it evidence
_DOMINATES = 20  # times as often as the pair that was written
_PHRASE_DOMINATES = 4  # for pairs of words that are known to be confused
_RARE_SHARE = 2e-5  # of all characters: a pair rarer than this may hold a typo
_PAIR_PRIOR, _TRIPLE_PRIOR = 5.0, 3.0
_SURE_WORD = 50  # frequency in the dictionary from which a form is not doubted
_REACH = 10  # characters on either side that the dictionary sees
_CONTEXT = 8
_BLOCK = 4096  # places examined at a time

_MARGIN = 4.0  # the corrected form is a word, what was written is not
_WEAK_WORD_MARGIN = 8.0  # what was written is a rare word
_NO_WORD_MARGIN = 9.0  # neither is a word
_PHRASE_MARGIN = 0.5  # a known confusion
_AHEAD = 2.0  # of the next best candidate
_FUZZY_COST, _SHAPE_COST = 1.5, 0.0

# Numerals, pronouns, particles: rarely typed wrong, and their neighbours vary too much to tell.
_FIXED = frozenset("〇零一二三四五六七八九十百千万亿两几的地得了吗呢吧啊呀哦嗯哈我你您他她它们这那哪是不也都和与及个")
# Which of a group is right is a matter of grammar or taste; a three-character model cannot say.
_LEFT_ALONE = tuple(
    map(
        frozenset,
        (
            "的地得",
            "他她它",
            "那哪",
            "做作",
            "象像",
            "带戴",
            "坐座",
            "你您",
            "吗嘛么",
            "呐呢",
            "和合",
            "份分",
            "帐账",
            "纪记",
            "订定",
            "因应",
        ),
    )
)

Log8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Phrase:
    """Two words that are known to be confused, and what must stand near for the first to be wrong."""

    wrong: str
    right: str
    near: tuple[str, ...]


class Chinese:
    """Finds corrections in Chinese text; `counts` is what the corpus taught."""

    def __init__(self, counts: CharacterCounts) -> None:
        self._counts = counts
        self._total = int(counts.singles[FIRST_HAN:].sum())
        self._compact, self._chars = _vocabulary(counts)
        self._pairs = _pair_table(counts, self._compact, len(self._chars) + 1)
        self._rare = np.uint8(_log8(np.array([max(2.0, _RARE_SHARE * self._total)]))[0])
        self._offsets, self._candidates, self._costs = _candidate_table(self._compact, self._chars)
        self._phrases = tuple(phrase for phrase in _phrases() if self._is_backed(phrase))

    def corrections(self, text: str, places: list[tuple[int, int]]) -> list[Correction]:
        """What to change, outside of the guarded `places`; each is one character or one known phrase."""
        row = symbols(text)
        found = self._known_confusions(text, places)
        taken = sorted({(one.start, one.end) for one in found})
        best: list[Correction] = []
        for place, options in self._suspects(row):
            if is_free(place, place + 1, places) and is_free(place, place + 1, taken):
                choice = self._choice(text, row, place, options)
                best += [choice] if choice else []
        return sorted(found + _apart(best), key=lambda one: one.start)

    def _suspects(self, row: npt.NDArray[np.uint16]) -> Iterator[tuple[int, list[tuple[int, float]]]]:
        """Places with candidates (symbol, cost): their pair with a neighbour is common, the written one rare."""
        ids = np.zeros(len(row) + 2, np.intp)  # 0 at both ends: no character of the vocabulary
        ids[1:-1] = self._compact[row]
        beside = self._pairs[ids[:-1], ids[1:]]  # (n + 1,) logarithms of pairs
        left, right = beside[:-1], beside[1:]
        is_han = row >= FIRST_HAN
        is_doubted = is_han & (np.minimum(left, right) <= self._rare)
        doubted = np.flatnonzero(is_doubted)
        for at in range(0, len(doubted), _BLOCK):
            yield from self._options(ids, left, right, row, doubted[at : at + _BLOCK])

    def _options(
        self,
        ids: npt.NDArray[np.intp],
        left: Log8,
        right: Log8,
        row: npt.NDArray[np.uint16],
        places: npt.NDArray[np.intp],
    ) -> Iterable[tuple[int, list[tuple[int, float]]]]:
        """The candidates of `places` all at once: their number is ten times that of the places."""
        written = row[places]
        first, last = self._offsets[written], self._offsets[written + 1]
        lengths = last - first
        if not lengths.any():
            return ()
        owner = np.repeat(np.arange(len(places)), lengths)
        at = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths) + np.repeat(first, lengths)
        candidate = self._candidates[at]
        where = places[owner]
        on_left, on_right = self._pairs[ids[where], candidate], self._pairs[candidate, ids[where + 2]]
        # In steps of _log8; 20 times as often, with one sighting of the written form forgiven.
        is_better = (on_left >= _jump(left[where])) | (on_right >= _jump(right[where]))
        chosen = np.flatnonzero(is_better)
        by_place: dict[int, list[tuple[int, float]]] = {}
        for number in chosen.tolist():
            option = (int(self._chars[candidate[number] - 1]), float(self._costs[at[number]]))
            by_place.setdefault(int(where[number]), []).append(option)
        return by_place.items()

    def _choice(
        self, text: str, row: npt.NDArray[np.uint16], place: int, options: list[tuple[int, float]]
    ) -> Correction | None:
        written = text[place]
        if written in _FIXED:
            return None
        around = _around(row, place)
        before = self._fit(around, int(row[place]), forgiven=1)
        ranked = sorted(
            ((self._fit(around, option, forgiven=0) - before - cost, option) for option, cost in options), reverse=True
        )
        gain, best = ranked[0]
        ahead = gain - ranked[1][0] if len(ranked) > 1 else gain
        meant = character(best)
        if gain < _MARGIN or ahead < _AHEAD or any({written, meant} <= group for group in _LEFT_ALONE):
            return None
        if not self._is_evident(around, int(row[place]), best) or gain < self._margin(text, place, meant):
            return None
        return Correction(place, place + 1, written, meant, "zh", min(gain, ahead))

    def _margin(self, text: str, place: int, meant: str) -> float:
        """How much gain is asked for, by what the dictionary says of both forms."""
        start, end = _run(text, place)
        written = self._words(text[start:end], start)
        first, last = _holding(written, place)
        meant_first, meant_last = _holding(self._words(text[start:place] + meant + text[place + 1 : end], start), place)
        if last - first > 1:
            if self._frequency(text[first:last]) >= _SURE_WORD or meant_last - meant_first < last - first:
                return math.inf
            return _WEAK_WORD_MARGIN
        if meant_last - meant_first > 1:
            # 明显棋 is 明显 and something, not 显示: a word that is whole as written is not broken up for another.
            taken = (_holding(written, near) for near in range(meant_first, meant_last))
            is_broken = any(a < meant_first or b > meant_last for a, b in taken)
            return math.inf if is_broken else _MARGIN
        if meant in _FIXED or not self._stands_on_both_sides(text, place, meant):
            return math.inf
        return _NO_WORD_MARGIN

    def _stands_on_both_sides(self, text: str, place: int, meant: str) -> bool:
        """A single character is shown by both its neighbours or not at all: a rare one right is no typo."""
        left, _, right = symbols(
            text[max(place - 1, 0) : place].rjust(1) + meant + text[place + 1 : place + 2].ljust(1)
        )
        keys = (pair_key(int(left), symbol(meant)), pair_key(symbol(meant), int(right)))
        return all(self._counts.pairs[key] >= _MIN_PAIRS for key in keys) and min(left, right) >= FIRST_HAN

    def _is_evident(self, around: tuple[int, int, int, int], written: int, meant: int) -> bool:
        """A pair or triple with the candidate is common in the corpus, and with the written form it is not."""
        _, left, right, _ = around
        pairs = self._counts.pairs
        sides = (
            (pairs[pair_key(left, meant)], pairs[pair_key(left, written)]),
            (pairs[pair_key(meant, right)], pairs[pair_key(written, right)]),
        )
        return any(count >= max(_MIN_PAIRS, _DOMINATES * max(rival - 1, 0.2)) for count, rival in sides)

    def _fit(self, around: tuple[int, int, int, int], middle: int, forgiven: int) -> float:
        """Log-probability of the three symbols from `middle` on; `forgiven` sightings of them are taken as typos."""
        far_left, left, right, far_right = around
        return (
            self._step(far_left, left, middle, forgiven)
            + self._step(left, middle, right, forgiven)
            + self._step(middle, right, far_right, forgiven)
        )

    def _step(self, a: int, b: int, c: int, forgiven: int) -> float:
        """log p(c | a b), from the triple through the pair to the single."""
        if c < FIRST_HAN:
            return 0.0
        counts = self._counts
        single = (float(counts.singles[c]) + 0.5) / (self._total + SYMBOLS)
        if b < FIRST_HAN:
            return math.log(single)
        pair = max(counts.pairs[pair_key(b, c)] - forgiven, 0)
        pair_share = (pair + _PAIR_PRIOR * single) / (float(counts.singles[b]) + _PAIR_PRIOR)
        triple = max(counts.triples[triple_key(a, b, c)] - forgiven, 0)
        context = max(counts.pairs[pair_key(a, b)] - forgiven, triple)
        return math.log((triple + _TRIPLE_PRIOR * pair_share) / (context + _TRIPLE_PRIOR))

    def _known_confusions(self, text: str, places: list[tuple[int, int]]) -> list[Correction]:
        found: dict[int, Correction] = {}
        for phrase in self._phrases:
            at = text.find(phrase.wrong)
            while at >= 0:
                end = at + len(phrase.wrong)
                if is_free(at, end, places) and self._is_confused(text, at, phrase):
                    found |= {one.start: one for one in _exchanges(at, phrase)}
                at = text.find(phrase.wrong, end)
        return list(found.values())

    def _is_confused(self, text: str, at: int, phrase: Phrase) -> bool:
        end = at + len(phrase.wrong)
        if phrase.near:
            context = text[max(at - _CONTEXT, 0) : at] + " " + text[end : end + _CONTEXT]
            if not any(word in context for word in phrase.near):
                return False
        # No word may reach over the edge of the phrase: 可以经常 holds 以经 and no error.
        start, stop = _run(text, at)
        words = self._words(text[start:stop], start)
        if any((first < at < last or first < end < last) and last - first > 1 for first, last in words):
            return False
        meant = text[start:at] + phrase.right + text[end:stop]
        words = self._words(meant, start)
        if not any(first <= at and end <= last for first, last in words):
            return len(phrase.right) > 2 or phrase.right in _UNLISTED
        return True

    def _is_backed(self, phrase: Phrase) -> bool:
        """The corpus writes the right form, and the wrong one so much less that it is no house style."""
        right, wrong = (self._seen(word) for word in (phrase.right, phrase.wrong))
        if len(phrase.right) > 3:
            return True  # a saying: no corpus needs to show how it is written
        return right >= _MIN_PAIRS and right >= _PHRASE_DOMINATES * wrong

    def _seen(self, word: str) -> int:
        numbers = symbols(word).tolist()
        if len(numbers) == 2:
            return self._counts.pairs[pair_key(*numbers)]
        return self._counts.triples[triple_key(*numbers[:3])]

    def _words(self, run: str, start: int) -> list[tuple[int, int]]:
        return _segments(self._dictionary.cut(run, False), start)

    def _frequency(self, word: str) -> int:
        return self._dictionary.suggest_freq(word)

    @cached_property
    def _dictionary(self) -> rjieba.Jieba:
        import rjieba

        return rjieba.Jieba()


_UNLISTED = frozenset({"卡券", "领券", "用券", "到账", "换货", "收货", "退货", "发货", "到货", "未收", "未到", "未付"})


def _vocabulary(counts: CharacterCounts) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.intp]]:
    """Symbol to its place among the commonest from 1 on (0: none of them), and back."""
    han = counts.singles[FIRST_HAN:]
    commonest = np.argsort(-han.astype(np.int64), kind="stable")[:_VOCABULARY]
    chars = commonest[han[commonest] > 0] + FIRST_HAN
    compact = np.zeros(SYMBOLS, np.uint16)
    compact[chars] = np.arange(1, len(chars) + 1)
    return compact, chars


def _pair_table(counts: CharacterCounts, compact: npt.NDArray[np.uint16], size: int) -> Log8:
    """Logarithms of the counts of pairs of the vocabulary, one byte each."""
    keys = np.asarray(counts.pairs.keys)
    first, second = compact[keys >> np.uint64(15)], compact[keys & np.uint64(SYMBOLS - 1)]
    table = np.zeros((size, size), np.uint8)
    both = (first > 0) & (second > 0)
    table[first[both], second[both]] = _log8(np.asarray(counts.pairs.counts)[both])
    return table


def _log8(counts: npt.NDArray[np.integer[Any]] | npt.NDArray[np.floating[Any]]) -> Log8:
    """1 + 8 log2 of a count, 0 for none: eight steps double it."""
    return np.where(counts > 0, np.minimum(1 + 8 * np.log2(np.maximum(counts, 1)), 255), 0).astype(np.uint8)


def _jump(written: Log8) -> npt.NDArray[np.int16]:
    """What a candidate's pair must reach beside a written pair: common, and a dozen times as often."""
    return np.maximum(written.astype(np.int16) + 8 * 3, 1 + 8 * 2)


def _candidate_table(
    compact: npt.NDArray[np.uint16], chars: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For each symbol where its candidates begin, their places in the vocabulary, and what each costs."""
    tables = ((fuzzy_sound(), _FUZZY_COST), (same_sound(), 0.0), (_same_shape(), _SHAPE_COST))
    place_of = {character(number): int(compact[number]) for number in chars.tolist()}
    lengths = np.zeros(SYMBOLS, np.intp)
    candidates: list[int] = []
    costs: list[float] = []
    for char in sorted({char for table, _ in tables for char in table}):
        cost_of: dict[int, float] = {}
        for table, cost in tables:
            cost_of |= {place_of[other]: cost for other in table.get(char, "") if other in place_of}
        lengths[symbol(char)] = len(cost_of)
        candidates += cost_of.keys()
        costs += cost_of.values()
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.intp)
    return offsets, np.array(candidates, np.intp), np.array(costs, np.float32)


def _same_shape() -> Mapping[str, str]:
    sets: dict[str, set[str]] = {}
    for line in _lines("shapes.txt"):
        for char in line:
            sets.setdefault(char, set()).update(line)
    return {char: "".join(sorted(others - {char})) for char, others in sets.items()}


def _phrases() -> Iterator[Phrase]:
    for line in _lines("phrases.txt"):
        wrong, right, *near = line.split(" ")
        yield Phrase(wrong, right, tuple(near))


def _lines(name: str) -> list[str]:
    lines = files(__package__).joinpath(name).read_text("utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _around(row: npt.NDArray[np.uint16], place: int) -> tuple[int, int, int, int]:
    """Two symbols on either side; 0 beyond the text."""
    a, b, c, d = (int(row[at]) if 0 <= at < len(row) else 0 for at in (place - 2, place - 1, place + 1, place + 2))
    return a, b, c, d


def _run(text: str, place: int) -> tuple[int, int]:
    """The Chinese characters around `place` that stand together, a few on either side."""
    start = end = place
    while start > 0 and place - start < _REACH and "\u4e00" <= text[start - 1] <= "\u9fff":
        start -= 1
    while end < len(text) and end - place <= _REACH and "\u4e00" <= text[end] <= "\u9fff":
        end += 1
    return start, end


def _segments(words: Iterable[str], start: int) -> list[tuple[int, int]]:
    spans = []
    for word in words:
        spans.append((start, start + len(word)))
        start += len(word)
    return spans


def _holding(words: list[tuple[int, int]], place: int) -> tuple[int, int]:
    return next((span for span in words if span[0] <= place < span[1]), (place, place))


def _exchanges(at: int, phrase: Phrase) -> Iterator[Correction]:
    """A correction for each character in which the two forms differ."""
    for number, (wrong, right) in enumerate(zip(phrase.wrong, phrase.right, strict=True)):
        if wrong != right:
            yield Correction(at + number, at + number + 1, wrong, right, "zh", _PHRASE_MARGIN)


def _apart(corrections: list[Correction]) -> list[Correction]:
    """Of corrections within two characters of each other the surest: each was judged by neighbours left as they are."""
    kept: dict[int, Correction] = {}
    for one in sorted(corrections, key=lambda one: (-one.score, one.start)):
        if not any(place in kept for place in range(one.start - 2, one.start + 3)):
            kept[one.start] = one
    return list(kept.values())
