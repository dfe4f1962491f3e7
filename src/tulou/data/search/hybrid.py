"""Hybrid search, the same over every back end: two rankings in, the best passages out, each with its evidence.

A back end ranks passages by words (BM25) and by vector (cosine) and fetches rows; everything that decides the order is
here, so that an index on a laptop and one on a cluster answer alike. Rankings are joined by weighted reciprocal-rank
fusion (Cormack et al. 2009), which needs no common scale; the caller lowers `vector_weight` where the encoder does not
know the query's words. The price is one more round trip: ranks first, rows after.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.core.errors import DataError
from tulou.core.tables import PASSAGE
from tulou.core.types import Hit, Passage
from tulou.data.language import detect
from tulou.data.search.words import with_characters, words

CANDIDATES = 50  # of each ranking
MAX_TERMS = 48  # of a query, the rarest; a question has ten, a whole letter finds what its rarest words find
COMMON_SHARE = 0.05  # a term in more of the passages than this tells little and costs the most
ENOUGH_RARE_TERMS = 2
_COMMON_FROM = 5000  # passages; below, every term is looked up at once
_RERANKED = 30  # hits that a reranker reads
_RRF_K = 20  # Cormack et al. use 60 for long lists; measured on short ones, sharper is better
_LEXICAL_BONUS = 0.3  # times the IDF share: ranks alone cannot tell a full match from a lucky one
_UNREADABLE = 3  # an encoder that reads a fifth of a query ranks by noise, so its weight falls with this power
_PER_FILE = 2  # so that one long document does not fill the answer
_SAME_LANGUAGE_BOOST = 1.25
_TITLE_REPEATS = 2  # of title and heading among the words, in the manner of BM25F field weights

Rerank = Callable[[str, Sequence[str]], Sequence[float]]
"""A query and texts to how well each answers it, higher is better: a cross-encoder, for instance."""


class SearchIndex(Protocol):
    """Passages with their words and vectors. Safe to use from several threads, readable while being written."""

    @property
    def dimensions(self) -> int: ...

    def count(self) -> int: ...

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """The passages with these ids, in this order; unknown ids are left out."""
        ...

    def search(
        self,
        query: str,
        vector: NDArray[np.float32] | None,
        k: int,
        *,
        languages: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        since: str | None = None,
        until: str | None = None,
        vector_weight: float = 1.0,
        rerank: Rerank | None = None,
    ) -> list[Hit]:
        """The `k` best passages, best first, for `query` and its L2-normalised `vector` (None: words only).

        `languages`, `sources` and the documents' time (`since` and `until`, ISO 8601, both included, a date meaning
        the whole day) restrict; without `languages`, passages in the query's language are merely preferred. `rerank`
        orders the best of what was found anew.
        """
        ...

    def add(self, passages: pa.RecordBatch, vectors: NDArray[np.float32]) -> None:
        """Add PASSAGE rows with vectors (rows, dimensions); rows of the same id are replaced.

        When it returns they are on disk for good, and searches find them within a second.
        """
        ...

    def delete(self, *, ids: Sequence[str] = (), document_ids: Sequence[str] = ()) -> int:
        """Remove these passages and all passages of these documents; returns how many there were."""
        ...

    def optimize(self) -> None:
        """Put what was added into the index proper and free what was deleted. Takes seconds to minutes."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Restriction:
    """What a passage must be to be found; None means anything, an empty tuple nothing."""

    languages: tuple[str, ...] | None = None
    sources: tuple[str, ...] | None = None
    since_ms: int | None = None
    until_ms: int | None = None

    @property
    def excludes_all(self) -> bool:
        return self.languages == () or self.sources == ()

    @classmethod
    def of(
        cls, languages: Sequence[str] | None, sources: Sequence[str] | None, since: str | None, until: str | None
    ) -> Restriction:
        """Raises `DataError` for a time that is not ISO 8601."""
        return cls(
            tuple(storable(languages)) if languages else None,
            tuple(storable(sources)) if sources else None,
            None if since is None else _bound_ms(since, time.min),
            None if until is None else _bound_ms(until, time.max),
        )


@dataclass(frozen=True)
class Frequencies:
    """How common the words of a query are: `passages` in all, and in how many of them each term occurs."""

    passages: int
    of: Mapping[str, int]

    def idf(self, term: str) -> float:
        """As in BM25, never negative. A word that no passage has weighs the most."""
        found = min(self.of.get(term, 0), self.passages)
        return math.log(1 + (self.passages - found + 0.5) / (found + 0.5))


@dataclass(frozen=True)
class Row:
    passage: Passage
    words: str
    cosine: float


class BackEnd(Protocol):
    """One unchanging view of an index; a key names a passage within it."""

    def frequencies(self, terms: Sequence[str]) -> Frequencies: ...

    def rankings(
        self, terms: Sequence[str], vector: NDArray[np.float32] | None, where: Restriction, limit: int
    ) -> tuple[Sequence[Any], Sequence[Any]]:
        """Keys of the passages with most of `terms`, and of those nearest to `vector`; best first."""
        ...

    def rows(self, keys: Sequence[Any], vector: NDArray[np.float32] | None) -> Mapping[Any, Row]: ...


def hybrid_search(
    index: BackEnd,
    query: str,
    vector: NDArray[np.float32] | None,
    k: int,
    where: Restriction,
    vector_weight: float = 1.0,
    rerank: Rerank | None = None,
) -> list[Hit]:
    if where.excludes_all:
        return []
    terms = list(dict.fromkeys(words(query)))
    wanted = with_characters(terms)
    frequencies = index.frequencies(list(dict.fromkeys(wanted)))
    asked = vector if vector_weight > 0 else None
    by_words, by_vector = index.rankings(informative(wanted, frequencies), asked, where, CANDIDATES)
    scores: defaultdict[Any, float] = defaultdict(float)
    for ranking, weight in ((by_words, 1.0), (by_vector, vector_weight**_UNREADABLE)):
        for rank, key in enumerate(ranking, 1):
            scores[key] += weight / (_RRF_K + rank)
    language = detect(query)
    keys = _promising(scores, max(2 * k, _RERANKED if rerank else 0))
    rows = index.rows(keys, vector) if keys else {}
    hits = [_hit(row, scores[key], language, terms, frequencies) for key, row in rows.items()]
    hits.sort(key=lambda hit: (-hit.score, hit.passage.id))
    if rerank is not None:
        hits = _reranked(rerank, query, hits[:_RERANKED]) + hits[_RERANKED:]
    return _varied(hits, k)


def informative(terms: Sequence[str], frequencies: Frequencies) -> list[str]:
    """Those of `terms` worth looking up: known ones, without the commonest where enough others remain."""
    known = sorted((term for term in dict.fromkeys(terms) if frequencies.of.get(term)), key=frequencies.of.__getitem__)
    if frequencies.passages >= _COMMON_FROM:
        rare = [term for term in known if frequencies.of[term] <= COMMON_SHARE * frequencies.passages]
        known = rare if len(rare) >= ENOUGH_RARE_TERMS else known[: max(ENOUGH_RARE_TERMS, len(rare))]
    return known[:MAX_TERMS]


def passage_terms(row: Mapping[str, str]) -> list[str]:
    return with_characters(words(f"{row['title']} {row['heading']}") * _TITLE_REPEATS + words(row["text"]))


def embedded_text(row: Mapping[str, str]) -> str:
    """The passage with its context, for the encoder."""
    return "\n".join(filter(None, (row["title"], row["heading"], row["text"])))


def passage_of(row: Mapping[str, Any]) -> Passage:
    return Passage(**{name: row[name] for name in PASSAGE.names})


def storable(texts: Sequence[str]) -> list[str]:
    """Without those that no passage can have: JSON carries half a surrogate pair, UTF-8 does not."""
    return [text for text in texts if not any("\ud800" <= character <= "\udfff" for character in text)]


def milliseconds(iso: str) -> int | None:
    """Milliseconds since 1970 of an ISO 8601 time, UTC where it names no zone; None where it is none."""
    try:
        moment = datetime.fromisoformat(iso)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def require_dimensions(vectors: NDArray[np.float32], rows: int, dimensions: int) -> None:
    """Raises `DataError` unless there is a finite vector of `dimensions` numbers for each row."""
    if vectors.shape != (rows, dimensions):
        raise DataError(f"{rows} passages need vectors of {dimensions} numbers each, not of shape {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise DataError("a vector holds a number that is not finite; the encoder is broken")


def require_query_dimensions(vector: NDArray[np.float32], dimensions: int) -> None:
    if vector.shape != (dimensions,):
        raise DataError(f"the index holds vectors of {dimensions} numbers, the query has {vector.shape}")


def _bound_ms(iso: str, at: time) -> int:
    whole_day = len(iso) == len("2026-11-30")
    found = milliseconds(f"{iso}T{at.isoformat()}" if whole_day else iso)
    if found is None:
        raise DataError(f"{iso!r} is no date or time; write it like 2026-11-30 or 2026-11-30T08:00:00+08:00")
    return found


def _promising(scores: Mapping[Any, float], wanted: int) -> list[Any]:
    """Without those that no language and no full match can lift among the first `wanted`: fetching rows costs."""
    best = sorted(scores, key=scores.__getitem__, reverse=True)
    if len(best) <= wanted:
        return best
    least = scores[best[wanted - 1]] / (_SAME_LANGUAGE_BOOST * (1 + _LEXICAL_BONUS))
    return [key for key in best if scores[key] >= least]


def _hit(row: Row, score: float, language: str, terms: Sequence[str], frequencies: Frequencies) -> Hit:
    boost = _SAME_LANGUAGE_BOOST if row.passage.language == language else 1.0
    lexical = _idf_share(terms, set(row.words.split()), frequencies)
    return Hit(row.passage, score * boost * (1 + _LEXICAL_BONUS * lexical), lexical, row.cosine)


def _idf_share(terms: Sequence[str], present: set[str], frequencies: Frequencies) -> float:
    """Of the query's informative weight, what the passage has."""
    weights = {term: frequencies.idf(term) for term in terms}
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in present) / total if total else 0.0


def _reranked(rerank: Rerank, query: str, hits: list[Hit]) -> list[Hit]:
    """In the reranker's order. Scores stay on fusion's scale, which whoever weighs them further knows."""
    if not hits:
        return []
    grades = rerank(query, [hit.passage.text for hit in hits])
    order = sorted(range(len(hits)), key=lambda place: -grades[place])
    return [replace(hits[place], score=hits[rank].score) for rank, place in enumerate(order)]


def _varied(hits: list[Hit], k: int) -> list[Hit]:
    """The first `k`, in which a file has at most `_PER_FILE` passages as long as others are waiting."""
    taken: Counter[str] = Counter()
    first: list[Hit] = []
    waiting: list[Hit] = []
    for hit in hits:
        taken[hit.passage.uri] += 1
        (first if taken[hit.passage.uri] <= _PER_FILE else waiting).append(hit)
    chosen = (first + waiting)[:k]
    return sorted(chosen, key=lambda hit: -hit.score)
