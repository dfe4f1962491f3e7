"""English typos: words that neither the dictionary nor the corpus knows, and the one word that was surely meant.

SymSpell proposes what is one slip away (two for long words); frequency in the corpus, the neighbouring words and the
kind of slip choose (the noisy channel of Kernighan, Church and Gale 1990). A word is changed only if it is rare, not
a name, among known English words, and its best reading is clearly better than the next. Typos that are words
themselves ("form" for "from") are left. The index of candidates takes a second to build at the first unknown word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING

from tulou.data.clean.spelling.correction import Correction
from tulou.data.clean.spelling.guards import is_free
from tulou.data.clean.spelling.words import WORD, WordCounts

if TYPE_CHECKING:
    from symspellpy import SymSpell

_MIN_LETTERS = 4
_MAX_LETTERS = 24  # longer ones are rarely typos, and each costs SymSpell the square of its length
_LONG = 8  # letters from which two slips are looked for
_SHORT = 6  # letters up to which a neighbouring word must speak for the candidate
_COMMON = 1_000_000  # in the bundled list of 82,765; a rarer word is a candidate only if the corpus has it
_RARE = 2  # more sightings than this make a word one of the corpus's own ...
_DOMINATED = 100  # ... unless a neighbour is seen this many times as often
_MARGIN = 1.5  # nats between the best candidate and the next
_WINDOW = 8  # words on either side that must look English
_NEIGHBOURS = 2  # at least so many of them are known
_KNOWN_SHARE = 0.7
_PRIOR = 50_000  # words of general English that the corpus is mixed with
_PAIR_PRIOR = 20
_CACHED = 100_000

# The least frequency of a candidate, by letters of the unknown word: the shorter it is, the more names are one slip
# from a word by chance.
_LEAST_FREQUENCY = {3: 1e-3, 4: 1e-4, 5: 3e-5, 6: 1e-5}
_LEAST_OF_LONG = 1e-6

_ACROSS = (("is", "iz"), ("iz", "is"), ("ys", "yz"), ("yz", "ys"), ("our", "or"), ("or", "our"), ("llm", "lm"),
    ("lm", "llm"), ("lled", "led"), ("led", "lled"), ("lling", "ling"), ("ling", "lling"), ("ller", "ler"),
    ("ter", "tre"), ("ameter", "amet"), ("ense", "ence"), ("ence", "ense"), ("aem", "em"), ("ogue", "og"))  # fmt: skip
_PREFIXES = ["re", "un", "de", "non", "pre", "multi", "micro", "anti", "over", "under", "mis", "sub", "inter", "auto"]
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_VOWELS = frozenset("aeiou")

# Costs of slips in nats, after the confusion counts of Kernighan et al.: swapped and doubled letters are commonest.
_SWAP, _DOUBLE, _OMIT, _NEIGHBOUR, _VOWEL, _OTHER, _TWICE = 0.0, 0.3, 0.5, 0.7, 0.7, 2.5, 4.0
_HOPELESS = 50.0


def _neighbours() -> frozenset[str]:
    """Pairs of letters beside each other on a QWERTY keyboard."""
    pairs = set()
    for number, row in enumerate(_ROWS):
        for place, key in enumerate(row):
            beside = row[place + 1 : place + 2]
            below = _ROWS[number + 1][max(place - 1, 0) : place + 1] if number < 2 else ""
            pairs |= {key + other for other in beside + below} | {other + key for other in beside + below}
    return frozenset(pairs)


_NEAR = _neighbours()


class English:
    """Finds corrections in English text; `counts` is what the corpus taught."""

    def __init__(self, counts: WordCounts) -> None:
        self._counts = counts
        self._total = counts.words.total()
        self._bundled = _bundled_words()
        self._bundled_total = sum(self._bundled.values())
        self._informal = frozenset(
            word for line in _lines("informal.txt") if not line.startswith("#") for word in line.split()
        )
        self._known = frozenset(self._bundled) | self._informal
        self._meant: dict[str, list[tuple[str, float]]] = {}

    def has_typo(self, text: str) -> bool:
        """Cheap: whether any word of `text` may have been meant as another. Most words are looked up once."""
        words = {word.lower() for word in set(WORD.findall(text))} - self._known
        return any(self._meant_by(stem) for word in words if len(stem := _stem(word)) >= 3)

    def corrections(self, text: str, places: list[tuple[int, int]]) -> Iterator[Correction]:
        """What to change, outside of the guarded `places`."""
        found = [(match.start(), match[0]) for match in WORD.finditer(text)]
        known = [self.knows(word.lower()) for _, word in found]
        for number, (start, word) in enumerate(found):
            stem = _stem(word)
            if word.lower() in self._known or not self._may_change(text, start, stem):
                continue
            if not self._meant_by(stem.lower()) or not is_free(start, start + len(stem), places):
                continue
            if not _is_among_english(known, number):
                continue
            before, after = (_beside(found, text, number, step) for step in (-1, 1))
            if choice := self._choice(stem.lower(), before, after, is_capital=stem[0].isupper()):
                meant, score = choice
                meant = meant.capitalize() if stem[0].isupper() else meant
                yield Correction(start, start + len(stem), stem, meant, "en", score)

    def knows(self, lower: str) -> bool:
        """Whether it counts as a word among which a typo is seen as one."""
        if lower in self._known or len(lower) < 3 or self._counts.words[lower] > _RARE:
            return True
        head, _, tail = lower.replace("’", "'").partition("'")
        return bool(tail) and (head in self._known or tail != "s")

    @staticmethod
    def _may_change(text: str, start: int, stem: str) -> bool:
        """Lower-case words, and capitalised ones that begin a sentence; names and abbreviations stay."""
        if (
            not 3 <= len(stem) <= _MAX_LETTERS
            or not stem.isalpha()
            or not (stem.islower() or (stem[0].isupper() and stem[1:].islower()))
        ):
            return False
        return stem.islower() or _begins_sentence(text, start)

    def _choice(self, word: str, before: str, after: str, is_capital: bool) -> tuple[str, float] | None:
        """The word meant and by how many nats it is ahead, or None where nothing is clear."""
        candidates = self._meant_by(word)
        if is_capital and (self._counts.names[word] or any(cost == _TWICE for _, cost in candidates)):
            return None
        ranked = sorted(((self._fit(c, before, after) - cost, c) for c, cost in candidates), reverse=True)
        ahead = ranked[0][0] - (ranked[1][0] if len(ranked) > 1 else -math.inf)
        meant = ranked[0][1]
        if ahead < _MARGIN or not self._is_supported(word, meant, before, after):
            return None
        return meant, min(ahead, 99.0)

    def _is_supported(self, word: str, meant: str, before: str, after: str) -> bool:
        """A long word, or two letters swapped, speak for themselves; else a pair with a neighbour has been seen."""
        if len(word) > _SHORT or sorted(word) == sorted(meant):
            return self.frequency(meant) >= _LEAST_FREQUENCY.get(len(word), _LEAST_OF_LONG)
        pairs = (f"{before} {meant}", f"{meant} {after}")
        return any(self._counts.pairs[pair] or self._bundled_pairs.get(pair) for pair in pairs)

    def _meant_by(self, word: str) -> list[tuple[str, float]]:
        """Candidates for an unknown word with their costs, looked up once; none if it may be right."""
        candidates = self._meant.get(word)
        if candidates is None:
            if len(self._meant) >= _CACHED:
                self._meant.clear()
            candidates = self._meant[word] = [] if len(word) > _MAX_LETTERS else list(self._candidates(word))
            if all(cost >= _HOPELESS for _, cost in candidates):
                candidates.clear()
        return candidates

    def _candidates(self, word: str) -> Iterator[tuple[str, float]]:
        """Words that may have been meant with the cost of the slip; none if `word` may be right."""
        if self._is_derived(word):
            return
        from symspellpy import Verbosity

        distance = 1
        suggestions = self._symspell.lookup(word, Verbosity.ALL, max_edit_distance=1)
        if not suggestions and len(word) >= _LONG:
            distance = 2
            suggestions = self._symspell.lookup(word, Verbosity.ALL, max_edit_distance=2)
        if self._is_own(word, [suggestion.term for suggestion in suggestions if suggestion.distance]):
            return
        least = _LEAST_FREQUENCY.get(len(word), _LEAST_OF_LONG)
        for suggestion in suggestions:
            meant = suggestion.term
            if "'" in meant or len(meant) < 3 or meant == word:
                continue
            cost = _slip(word, meant) if distance == 1 else _two_slips(word, meant)
            if len(word) < _MIN_LETTERS and (cost > 0 or self.frequency(meant) < least):
                continue
            # A candidate too rare or too strange to be chosen still competes, so that what is unsure stays.
            yield meant, cost if self.frequency(meant) >= least else cost + _HOPELESS

    def _is_own(self, word: str, others: list[str]) -> bool:
        """The corpus's own word: seen more than once or twice, and not in the shadow of a very common neighbour."""
        seen = self._counts.words[word] + self._counts.names[word]
        if seen <= _RARE:
            return False
        return len(word) < 6 or all(self._counts.words[other] < _DOMINATED * seen for other in others)

    def _is_derived(self, word: str) -> bool:
        """A regular form of a known word, or two common words written as one: rare, but no typo."""
        if any(variant in self._known for variant in _variants(word)):
            return True
        for suffix, base in _stripped(word):
            if base in self._known or self._counts.words[base] > _RARE:
                return bool(suffix)
        return any(
            self._bundled.get(word[:at], 0) > _COMMON * 10 and self._bundled.get(word[at:], 0) > _COMMON * 10
            for at in range(4, len(word) - 3)
        )

    def frequency(self, word: str) -> float:
        """Of the corpus, mixed with general English."""
        general = self._bundled.get(word, 0) / self._bundled_total
        return (self._counts.words[word] + _PRIOR * general + 1e-3) / (self._total + _PRIOR)

    def _fit(self, word: str, before: str, after: str) -> float:
        """Logarithm of how well `word` stands between its neighbours."""
        own = math.log(self._after(before, word)) if before else math.log(self.frequency(word))
        return own + (math.log(self._after(word, after)) if after else 0.0)

    def _after(self, first: str, second: str) -> float:
        pair = f"{first} {second}"
        general = min(self._bundled_pairs.get(pair, 0) / max(self._bundled.get(first, 0), _COMMON), 1.0)
        expected = _PAIR_PRIOR * (general + self.frequency(second))
        return (self._counts.pairs[pair] + expected) / (self._counts.words[first] + 2 * _PAIR_PRIOR)

    @cached_property
    def _symspell(self) -> SymSpell:
        from symspellpy import SymSpell

        index = SymSpell(max_dictionary_edit_distance=2, prefix_length=7)
        for word, count in self._bundled.items():
            if count >= _COMMON or self._counts.words[word] > _RARE:
                index.create_dictionary_entry(word, count)
        for word in self._informal:
            index.create_dictionary_entry(word, _COMMON)
        for word, count in self._counts.words.items():
            if count > 5 * _RARE and len(word) >= _MIN_LETTERS and word.isalpha() and word not in self._known:
                index.create_dictionary_entry(word, count)
        return index

    @cached_property
    def _bundled_pairs(self) -> dict[str, int]:
        path = files("symspellpy").joinpath("frequency_bigramdictionary_en_243_342.txt")
        with path.open(encoding="utf-8-sig") as lines:
            return {pair: int(count) for pair, _, count in (line.rpartition(" ") for line in lines)}


def _bundled_words() -> dict[str, int]:
    path = files("symspellpy").joinpath("frequency_dictionary_en_82_765.txt")
    with path.open(encoding="utf-8-sig") as lines:
        return {word: int(count) for word, count in (line.split() for line in lines)}


def _lines(name: str) -> list[str]:
    return files(__package__).joinpath(name).read_text("utf-8").splitlines()


def _stem(word: str) -> str:
    """Without the 's of a possessive."""
    return word[:-2] if word[-2:] in ("'s", "’s") else word


def _begins_sentence(text: str, start: int) -> bool:
    """After an end mark, or at the text's or a paragraph's start; a wrapped line may begin with a name."""
    before = text[max(start - 12, 0) : start].rstrip(' \t"“(')
    return (not before or before[-1] in ".!?" or before.endswith("\n\n")) and " " in text[start : start + 40].strip()


def _is_among_english(known: list[bool], number: int) -> bool:
    beside = known[max(number - _WINDOW, 0) : number] + known[number + 1 : number + 1 + _WINDOW]
    return sum(beside) >= max(_NEIGHBOURS, _KNOWN_SHARE * len(beside))


def _beside(found: list[tuple[int, str]], text: str, number: int, step: int) -> str:
    """The neighbouring word, if only a space lies between; else nothing."""
    first, second = sorted((number, number + step))
    if first < 0 or second >= len(found):
        return ""
    (start, left), (end, _) = found[first], found[second]
    return found[number + step][1].lower() if text[start + len(left) : end] == " " else ""


def _stripped(word: str) -> Iterator[tuple[str, str]]:
    """Suffixes and prefixes with the word that remains."""
    for suffix in ("ing", "ings", "ness", "less", "able", "like", "wise", "ly", "ers", "es", "ed", "er", "s", "d", "r"):
        base = word.removesuffix(suffix)
        if base == word or len(base) < 3:
            continue
        if suffix in ("d", "r") and base[-1] != "e":
            continue
        if suffix == "s" and base[-1] in "sxz":
            continue
        yield suffix, base
        if suffix in ("ing", "ings", "able", "er", "ed", "ers"):
            yield suffix, base + "e"
    for prefix in _PREFIXES:
        base = word.removeprefix(prefix)
        if base != word and len(base) >= 4:
            yield prefix, base


def _slip(typed: str, meant: str) -> float:
    """Cost of typing `typed` for `meant`, one slip apart. At the edges of a word affixes look like slips: hopeless."""
    same = sum(1 for _ in _common_start(typed, meant))
    if len(typed) == len(meant):
        if typed[same + 1 : same + 2] + typed[same : same + 1] == meant[same : same + 2] and len(typed) > same + 1:
            return _SWAP
        pair = typed[same] + meant[same]
        cost = _NEIGHBOUR if pair in _NEAR else _VOWEL if set(pair) <= _VOWELS else _OTHER
        return cost + (_HOPELESS if same in (0, len(typed) - 1) else 0.0)
    longer, place = (typed, same) if len(typed) > len(meant) else (meant, same)
    is_doubled = place > 0 and longer[place] == longer[place - 1]
    is_edge = place <= 1 or (place == len(longer) - 1 and not is_doubled)
    if len(typed) < len(meant):
        return (_DOUBLE if is_doubled else _OMIT) + (_HOPELESS if place == 0 or meant == typed + "s" else 0.0)
    is_beside = any(longer[place] + beside in _NEAR for beside in longer[max(place - 1, 0) : place + 2])
    cost = _DOUBLE if is_doubled else _NEIGHBOUR if is_beside else _OTHER
    return cost + (_HOPELESS if is_edge else 0.0)


def _two_slips(typed: str, meant: str) -> float:
    """Only inside of a word: other ends are other forms ("implementors", "performant")."""
    return _TWICE if typed[0] == meant[0] and typed[-2:] == meant[-2:] else _HOPELESS


def _variants(word: str) -> Iterator[str]:
    """The same word as spelt across the ocean."""
    for here, there in _ACROSS:
        if here in word:
            yield word.replace(here, there)


def _common_start(first: str, second: str) -> Iterator[str]:
    for a, b in islice(zip(first, second, strict=False), 64):
        if a != b:
            return
        yield a
