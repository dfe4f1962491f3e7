"""The hybrid index: LanceDB holds the passages, their words and their vectors; two rankings are fused into one.

Lexical ranking is BM25 over segmented words (title and heading count more than the text), vector ranking is cosine.
They are joined by weighted reciprocal-rank fusion (Cormack et al. 2009), which needs no common scale; the caller lowers
`vector_weight` where the encoder does not know the query's words. Every hit also says how good it is in terms that can
be compared between queries: the IDF share of the query it contains, and its cosine.
"""

from __future__ import annotations

import json
import math
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tulou.core.errors import DataError
from tulou.core.progress import Progress
from tulou.core.types import PASSAGE, Encode, Hit, Passage
from tulou.data.language import detect
from tulou.data.search.words import with_characters, words

_TABLE = "passages"
_STATISTICS = "statistics.json"
_COLUMNS = [*PASSAGE.names, "words", "vector"]
_ENCODE_BATCH = 64
_FLAT_SEARCH_ROWS = 50_000  # below this, comparing with every vector is exact and takes milliseconds
_CANDIDATES = 50  # of each ranking
_RRF_K = 20  # Cormack et al. use 60 for long lists; measured on short ones, sharper is better
_LEXICAL_BONUS = 0.3  # times the IDF share: ranks alone cannot tell a full match from a lucky one
_UNREADABLE = 3  # an encoder that reads a fifth of a query ranks by noise, so its weight falls with this power
_PER_FILE = 2  # so that one long document does not fill the answer
_SAME_LANGUAGE_BOOST = 1.25
_TITLE_REPEATS = 2  # of title and heading among the words, in the manner of BM25F field weights


def build_index(
    passages: Iterable[pa.RecordBatch], encode: Encode, out: Path, progress: Progress, *, total: int | None = None
) -> dict[str, Any]:
    """Index PASSAGE batches into the folder `out`.

    Returns {"passages", "documents", "terms", "dimensions", "by_language"}. Raises `DataError` where there is nothing.
    """
    lancedb = _lancedb()
    frequency: Counter[str] = Counter()
    by_language: Counter[str] = Counter()
    documents: set[str] = set()
    table = None
    out.mkdir(parents=True, exist_ok=True)
    database = lancedb.connect(str(out))
    with progress.bar("index", total=total, unit="passages") as bar:
        for batch in _sliced(passages, _ENCODE_BATCH):
            rows = batch.to_pylist()
            terms = [_passage_terms(row) for row in rows]
            for row_terms in terms:
                frequency.update(set(row_terms))
            by_language.update(row["language"] for row in rows)
            documents.update(row["document_id"] for row in rows)
            vectors = np.asarray(encode([_embedded_text(row) for row in rows]), dtype=np.float32)  # (rows, dimensions)
            data = _table_rows(batch, terms, vectors)
            if table is None:
                table = database.create_table(_TABLE, data, mode="overwrite")
                dimensions = vectors.shape[1]
            else:
                table.add(data)
            bar.advance(len(rows))
    if table is None:
        raise DataError("there is no passage to index; every indexed source came out empty after cleaning")
    count = by_language.total()
    _add_indices(table, count)
    statistics = {"passages": count, "frequency": dict(frequency), "dimensions": dimensions}
    (out / _STATISTICS).write_text(json.dumps(statistics, ensure_ascii=False), encoding="utf-8")
    return {
        "passages": count,
        "documents": len(documents),
        "terms": len(frequency),
        "dimensions": dimensions,
        "by_language": dict(by_language),
    }


def open_index(path_or_url: str | Path) -> SearchIndex:
    """Open what `build_index` made. Raises `DataError` where there is no index."""
    return SearchIndex(Path(str(path_or_url).removeprefix("file://")))


class SearchIndex:
    """A finished index, read only; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        lancedb = _lancedb()
        try:
            statistics = json.loads((folder / _STATISTICS).read_text(encoding="utf-8"))
            self._table = lancedb.connect(str(folder)).open_table(_TABLE)
        except (OSError, ValueError) as err:
            raise DataError(f"{folder} holds no search index; make one with `tulou run`") from err
        self._count = int(statistics["passages"])
        self._frequency: dict[str, int] = statistics["frequency"]
        self.dimensions = int(statistics["dimensions"])

    def count(self) -> int:
        return self._count

    def get(self, ids: Sequence[str]) -> list[Passage]:
        """The passages with these ids, in this order; unknown ids are left out."""
        if not ids:
            return []
        search = self._table.search().where(f"id IN ({_quoted(ids)})", prefilter=True)
        found = {row["id"]: row for row in search.select(PASSAGE.names).limit(len(ids)).to_list()}
        return [_passage(found[key]) for key in ids if key in found]

    def search(
        self,
        query: str,
        vector: NDArray[np.float32] | None,
        k: int,
        *,
        languages: Sequence[str] | None = None,
        sources: Sequence[str] | None = None,
        vector_weight: float = 1.0,
    ) -> list[Hit]:
        """The `k` best passages, best first, for `query` and its L2-normalised `vector` (None: words only).

        `languages` and `sources` restrict; without them, passages in the query's language are merely preferred.
        """
        terms = list(dict.fromkeys(words(query)))
        where = _filter(languages, sources)
        lexical = self._lexical_ranking(terms, where)
        semantic = self._vector_ranking(vector, where) if vector is not None and vector_weight > 0 else []
        scores: defaultdict[str, float] = defaultdict(float)
        for ranking, weight in ((lexical, 1.0), (semantic, vector_weight**_UNREADABLE)):
            for rank, row in enumerate(ranking, 1):
                scores[row["id"]] += weight / (_RRF_K + rank)
        rows = {row["id"]: row for row in [*lexical, *semantic]}
        language = detect(query)
        hits = [self._hit(rows[key], score, language, terms, vector) for key, score in scores.items()]
        hits.sort(key=lambda hit: (-hit.score, hit.passage.id))
        return _varied(hits, k)

    def _lexical_ranking(self, terms: Sequence[str], where: str | None) -> list[dict[str, Any]]:
        known = [term for term in dict.fromkeys(with_characters(list(terms))) if term in self._frequency]
        if not known:
            return []
        from lancedb.query import MatchQuery

        search = self._table.search(MatchQuery(" ".join(known), "words"), query_type="fts")
        search = search.where(where, prefilter=True) if where else search
        rows: list[dict[str, Any]] = search.select([*_COLUMNS, "_score"]).limit(_CANDIDATES).to_list()
        return rows

    def _vector_ranking(self, vector: NDArray[np.float32], where: str | None) -> list[dict[str, Any]]:
        if vector.shape != (self.dimensions,):
            raise DataError(f"the index holds vectors of {self.dimensions} numbers, the query has {vector.shape}")
        search = self._table.search(vector, vector_column_name="vector").distance_type("cosine")
        search = search.where(where, prefilter=True) if where else search
        rows: list[dict[str, Any]] = search.select([*_COLUMNS, "_distance"]).limit(_CANDIDATES).to_list()
        return rows

    def _hit(
        self,
        row: dict[str, Any],
        score: float,
        language: str,
        terms: Sequence[str],
        vector: NDArray[np.float32] | None,
    ) -> Hit:
        boost = _SAME_LANGUAGE_BOOST if row["language"] == language else 1.0
        cosine = float(np.dot(np.asarray(row["vector"], dtype=np.float32), vector)) if vector is not None else 0.0
        lexical = self._idf_share(terms, set(row["words"].split()))
        return Hit(_passage(row), score * boost * (1 + _LEXICAL_BONUS * lexical), lexical, cosine)

    def _idf_share(self, terms: Sequence[str], present: set[str]) -> float:
        """Of the query's informative weight, what the passage has. A word no passage knows weighs the most."""
        weights = {term: self._idf(term) for term in terms}
        total = sum(weights.values())
        return sum(weight for term, weight in weights.items() if term in present) / total if total else 0.0

    def _idf(self, term: str) -> float:
        frequency = self._frequency.get(term, 0)
        return math.log(1 + (self._count - frequency + 0.5) / (frequency + 0.5))  # as in BM25, never negative


def _lancedb() -> Any:
    os.environ.setdefault("LANCEDB_LOG", "error")  # it warns that a new table did not exist before
    import lancedb

    # Replicas are started by fork and exec; what it warns of is a fork that goes on using it.
    warnings.filterwarnings("ignore", "lancedb fork support", RuntimeWarning)
    return lancedb


def _passage_terms(row: dict[str, str]) -> list[str]:
    return with_characters(words(f"{row['title']} {row['heading']}") * _TITLE_REPEATS + words(row["text"]))


def _embedded_text(row: dict[str, str]) -> str:
    """The passage with its context, for the encoder."""
    return "\n".join(filter(None, (row["title"], row["heading"], row["text"])))


def _table_rows(batch: pa.RecordBatch, terms: list[list[str]], vectors: NDArray[np.float32]) -> pa.Table:
    columns = {name: batch.column(name) for name in PASSAGE.names}
    columns["words"] = pa.array([" ".join(row) for row in terms], pa.string())
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), vectors.shape[1])
    return pa.table(columns)


def _add_indices(table: Any, count: int) -> None:
    from lancedb.index import FTS, HnswSq

    spaces_only = FTS(
        base_tokenizer="whitespace", stem=False, remove_stop_words=False, lower_case=False, ascii_folding=False
    )
    table.optimize()  # one file instead of one a batch
    table.create_index("words", config=spaces_only)
    if count > _FLAT_SEARCH_ROWS:
        table.create_index("vector", config=HnswSq(distance_type="cosine"))


def _sliced(batches: Iterable[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)


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


def _filter(languages: Sequence[str] | None, sources: Sequence[str] | None) -> str | None:
    chosen = [("language", languages), ("source", sources)]
    return " AND ".join(f"{column} IN ({_quoted(values)})" for column, values in chosen if values) or None


def _quoted(values: Sequence[str]) -> str:
    return ", ".join("'" + value.replace("'", "''") + "'" for value in values)


def _passage(row: dict[str, Any]) -> Passage:
    return Passage(**{name: row[name] for name in PASSAGE.names})
