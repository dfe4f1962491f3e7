"""What every index must do, put to each implementation; Elasticsearch where TULOU_TEST_ELASTICSEARCH_URL names one."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.data.passages import DIMENSIONS, batch, row, vectors

from tulou.core.errors import DataError
from tulou.data.search import IndexHome, SearchIndex, open_home

SERVER = "TULOU_TEST_ELASTICSEARCH_URL"

ROWS = [
    row("return", "You may send anything back within seven days.", source="policies"),
    row("ship", "Parcels usually take three days.", modified_at="2026-03-01T00:00:00+08:00"),
    row(
        "退货",
        "签收后七天内可以无理由退货。",
        language="zh",
        source="policies",
        modified_at="2026-09-30T23:00:00+00:00",
    ),
    row("配送", "订单满九十九元包邮，一般三天送到。", language="zh"),
    row("quote", "It's a \"quoted\" \\ text with 100% odd'; DROP TABLE passages; -- marks", source="it's"),
    row("ageless", "Nobody knows how old this parcel is.", modified_at=""),
]


def new_home(kind: str, tmp_path: Path) -> IndexHome:
    if kind == "folder":
        return open_home(f"search-{secrets.token_hex(4)}", tmp_path)
    url = os.environ.get(SERVER)
    if not url:
        pytest.skip(f"{SERVER} is not set")
    base, _, options = url.partition("?")
    scheme, _, rest = base.rstrip("/").partition("://")
    named = f"{scheme}://{rest.partition('/')[0]}/tulou-test-{secrets.token_hex(4)}"
    named = named.replace("https://", "elasticsearch+https://").replace("http://", "elasticsearch://")
    return open_home(f"{named}?{options}" if options else named, tmp_path)


def remove(home: IndexHome) -> None:
    cluster = getattr(home, "_cluster", None)
    if cluster is not None:
        for entry in cluster.call("GET", f"/_cat/indices/{cluster.prefix}-*?format=json&h=index") or []:
            cluster.call("DELETE", f"/{entry['index']}")
    home.close()


KINDS = ["folder", pytest.param("elasticsearch", marks=pytest.mark.live)]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def home(kind: str, tmp_path: Path) -> Iterator[IndexHome]:
    made = new_home(kind, tmp_path)
    yield made
    remove(made)


@pytest.fixture(scope="module")
def filled(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchIndex]:
    """An index of ROWS that no test changes."""
    folder = tmp_path_factory.mktemp("filled")
    made = new_home(kind, folder)
    yield with_rows(made, folder, ROWS)
    remove(made)


def with_rows(home: IndexHome, scratch: Path, rows: Sequence[dict[str, Any]], name: str = "0" * 16) -> SearchIndex:
    index = home.create(name, DIMENSIONS, scratch / "scratch")
    if rows:
        index.add(batch(rows), vectors([each["text"] for each in rows]))
    return index


def found(index: SearchIndex, query: str, k: int = 10, **where: Any) -> list[str]:
    return [hit.passage.id for hit in index.search(query, vectors([query])[0], k, **where)]


def worded(index: SearchIndex, query: str, k: int = 10, **where: Any) -> list[str]:
    return [hit.passage.id for hit in index.search(query, None, k, **where)]


def test_words_of_both_languages_find_their_passage(filled: SearchIndex) -> None:
    assert worded(filled, "parcels days")[0] == "ship"
    assert worded(filled, "退货")[0] == "退货"
    assert worded(filled, "包邮吗")[0] == "配送"
    assert worded(filled, "Netflix 足球") == worded(filled, "") == worded(filled, "the of") == []


def test_a_vector_finds_its_passage_and_says_how_near_it_is(filled: SearchIndex) -> None:
    best = filled.search("", vectors([ROWS[3]["text"]])[0], 3)[0]
    assert best.passage.id == "配送"
    assert best.cosine == pytest.approx(1.0, abs=1e-3)
    assert [hit.cosine for hit in filled.search("parcels", None, 1)] == [0.0]


def test_evidence_of_words_is_the_share_of_what_they_tell(filled: SearchIndex) -> None:
    assert filled.search("seven days back", None, 1)[0].lexical == pytest.approx(1.0)
    assert 0 < filled.search("parcels spaceship", None, 1)[0].lexical < 0.6


def test_rows_come_back_as_they_went_in(filled: SearchIndex) -> None:
    assert filled.count() == len(ROWS)
    assert filled.dimensions == DIMENSIONS
    assert [vars(each) for each in filled.get(["quote", "unknown", "退货", "\ud800"])] == [ROWS[4], ROWS[2]]
    assert filled.get([]) == []


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"languages": ["zh"]}, {"退货", "配送"}),
        ({"sources": ["policies"]}, {"return", "退货"}),
        ({"sources": ["policies", "it's"], "languages": ["en"]}, {"return", "quote"}),
        ({"since": "2026-09-01"}, {"退货"}),
        ({"until": "2026-02-28"}, {"ship"}),  # which is the last of February in UTC
        ({"until": "2026-02-27"}, set()),
        ({"since": "2026-06-15", "until": "2026-06-15"}, {"return", "配送", "quote"}),
        ({"since": "2026-06-15T20:00:00+08:00", "until": "2026-06-15T12:00:00Z"}, {"return", "配送", "quote"}),
        ({"since": "2026-06-15T12:00:01"}, {"退货"}),
        ({"sources": ["nobody"]}, set()),
        ({"sources": ["\ud800"]}, set()),
        ({"sources": [], "languages": None}, {each["id"] for each in ROWS}),
    ],
)
def test_filters_restrict_both_rankings(filled: SearchIndex, where: dict[str, Any], expected: set[str]) -> None:
    assert set(found(filled, "parcels", **where)) == expected
    assert set(worded(filled, "parcels days 退货 三天 marks", **where)) <= expected


@pytest.mark.parametrize("time_", ["yesterday", "2026-13-01", "", "2026-06-15T99", "'; --"])
def test_a_time_that_is_none_is_refused(filled: SearchIndex, time_: str) -> None:
    with pytest.raises(DataError, match="is no date or time; write it like"):
        filled.search("x", None, 1, since=time_)


texts = st.text(max_size=40) | st.sampled_from(
    ["it's", "' OR '1'='1", "policies' --", '"', "\\", "%", "*", "{}", "\0", "\ud83d"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=texts, sources=st.lists(texts, min_size=1, max_size=3), languages=st.lists(texts, min_size=1, max_size=2))
def test_no_text_gets_around_a_filter(
    filled: SearchIndex, query: str, sources: list[str], languages: list[str]
) -> None:
    vector = vectors(["x"])[0]
    both: dict[str, Any] = {"sources": sources, "languages": languages}
    for where in ({"sources": sources}, {"languages": languages}, both):
        for hit in filled.search(query, vector, 10, **where):
            assert hit.passage.source in where.get("sources", [hit.passage.source])
            assert hit.passage.language in where.get("languages", [hit.passage.language])


@pytest.mark.parametrize(
    "query",
    [
        "",
        " ",
        "😀🎁",
        "\x00\x01",
        "parcel " * 15_000,
        "退" * 50_000,
        "''''",
        '"',
        "a AND (b OR",
        "\ud800",
        "ﷺ" * 99,
        "x" * 10**5,
    ],
)
def test_any_query_is_answered(filled: SearchIndex, query: str) -> None:
    assert len(found_any(filled, query)) == len(ROWS)
    filled.search(query, None, 3)


def found_any(index: SearchIndex, query: str) -> list[str]:
    return [hit.passage.id for hit in index.search(query, vectors(["x"])[0], 10)]


def test_a_reranker_decides_the_order_and_scores_still_fall(filled: SearchIndex) -> None:
    seen: list[tuple[str, int]] = []

    def longest_last(query: str, texts: Sequence[str]) -> list[float]:
        seen.append((query, len(texts)))
        return [-len(text) for text in texts]

    hits = filled.search("parcels", vectors(["parcels"])[0], 10, rerank=longest_last)
    lengths = [len(hit.passage.text) for hit in hits]
    assert lengths == sorted(lengths)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert seen == [("parcels", len(ROWS))]


def test_what_is_added_is_found_within_a_second_and_what_is_deleted_is_gone(home: IndexHome, tmp_path: Path) -> None:
    index = with_rows(home, tmp_path, ROWS)
    assert worded(index, "umbrella") == []
    started = time.monotonic()
    index.add(batch([row("rain", "An umbrella for rainy days.")]), vectors(["An umbrella for rainy days."]))
    assert worded(index, "umbrella") == ["rain"]
    assert index.count() == len(ROWS) + 1
    assert index.delete(document_ids=["doc-rain", "doc-nothing"], ids=["ship", "nothing"]) == 2
    assert worded(index, "umbrella") == []
    assert "ship" not in found(index, "parcels")
    assert index.count() == len(ROWS) - 1
    assert time.monotonic() - started < 10  # seven round trips; one of them takes far less than a second


def test_a_passage_added_again_is_replaced(home: IndexHome, tmp_path: Path) -> None:
    index = with_rows(home, tmp_path, ROWS)
    again = [row("ship", "Nothing of that."), row("ship", "A drone brings it.")]
    index.add(batch(again), vectors([each["text"] for each in again]))
    assert index.count() == len(ROWS)
    assert worded(index, "drone") == ["ship"]
    assert index.search("parcels three", None, 1)[0].passage.id != "ship"
    assert index.get(["ship"])[0].text == "A drone brings it."


def test_an_empty_index_finds_nothing_and_takes_rows_later(home: IndexHome, tmp_path: Path) -> None:
    index = with_rows(home, tmp_path, [])
    assert index.count() == 0
    assert found(index, "parcels") == []
    assert index.delete(ids=["x"]) == 0
    index.add(batch([]), vectors([]))
    index.optimize()
    index.add(batch(ROWS), vectors([each["text"] for each in ROWS]))
    assert worded(index, "parcels days")[0] == "ship"
    index.optimize()
    assert worded(index, "parcels days")[0] == "ship"


@pytest.mark.parametrize("wrong", [np.ones((1, 3)), np.ones((2, DIMENSIONS)), np.full((1, DIMENSIONS), np.nan)])
def test_vectors_that_do_not_fit_are_refused(home: IndexHome, tmp_path: Path, wrong: Any) -> None:
    index = with_rows(home, tmp_path, [])
    with pytest.raises(DataError, match="vector"):
        index.add(batch([row("a", "a")]), wrong.astype(np.float32))
    with pytest.raises(DataError, match="holds vectors of"):
        index.search("x", np.ones(3, dtype=np.float32), 1)
    assert index.count() == 0


def test_readers_find_the_published_index_only_and_the_one_before_stays(home: IndexHome, tmp_path: Path) -> None:
    assert home.current() is None
    with pytest.raises(DataError, match="there is no search index"):
        home.open()
    readers = []
    for number, name in enumerate(("a" * 16, "b" * 16, "c" * 16, "c" * 16)):
        with_rows(home, tmp_path, [row("only", f"edition {number} of wordage{number}")], name).close()
        home.publish(name, tmp_path / "scratch")
        readers.append(home.open())
        assert worded(readers[-1], f"wordage{number}") == ["only"]
        if number:
            before = worded(readers[-2], f"wordage{number - 1}")
            assert before == ["only"] or name == "c" * 16  # one of the same name is replaced where it is
    assert "c" * 16 in (home.current() or "")
