from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.tables import PASSAGE
from tulou.data.language import detect
from tulou.data.search import SearchIndex, build_index, open_index
from tulou.data.search.words import stem, words

Vectors = Callable[[Sequence[str]], NDArray[np.float32]]

TEXTS = {
    "退货政策": "签收后七天内可以无理由退货，请保持包装完好。",
    "配送说明": "订单满九十九元包邮，一般三天送到，运费十元。",
    "保修政策": "电热水壶保修二十四个月，人为损坏不在保修范围。",
    "会员等级": "金卡会员享受生日礼券和免费取件。",
    "Returns": "You may send anything back within seven days of delivery if the packaging is intact.",
    "Shipping": "Orders from 99 yuan ship free; parcels usually take three days.",
    "Warranty": "The kettle is covered for 24 months; damage from a fall is not covered.",
    "Membership": "Gold members get a birthday voucher.",
}


def passage_rows() -> list[dict[str, Any]]:
    return [
        {
            "id": f"p{number}",
            "document_id": f"d{number}",
            "source": "faq" if title in ("Membership", "会员等级") else "policies",
            "uri": f"data/{title}.md",
            "position": "",
            "title": title,
            "heading": "",
            "text": text,
            "language": detect(text),
            "modified_at": "2026-11-01T00:00:00+00:00",
        }
        for number, (title, text) in enumerate(TEXTS.items())
    ]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> SearchIndex:
    folder = tmp_path_factory.mktemp("index")
    batch = pa.RecordBatch.from_pylist(passage_rows(), schema=PASSAGE)
    summary = build_index([batch], _by_topic, folder, Silent())
    assert summary["passages"] == summary["documents"] == len(TEXTS)
    assert summary["by_language"] == {"zh": 4, "en": 4}
    return open_index(folder)


def _by_topic(texts: Sequence[str]) -> NDArray[np.float32]:
    """Vectors of four topics, as an encoder of English would see them; Chinese all looks alike to it."""
    topics = [("send", "back", "return"), ("ship", "parcel", "post"), ("cover", "fault", "warrant"), ("member", "gift")]
    rows = [[float(sum(text.casefold().count(w) for w in ws)) for ws in topics] + [0.1] for text in texts]
    vectors = np.asarray(rows, dtype=np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def titles(index: SearchIndex, query: str, k: int = 3, **options: Any) -> list[str]:
    vector = _by_topic([query])[0]
    return [hit.passage.title for hit in index.search(query, vector, k, **options)]


@pytest.mark.parametrize(
    ("query", "title"),
    [
        ("买了以后能退吗", "退货政策"),
        ("邮费多少钱", "配送说明"),
        ("水壶坏了保修多久", "保修政策"),
        ("过生日送什么", "会员等级"),
    ],
)
def test_chinese_is_found_by_its_words_alone(index: SearchIndex, query: str, title: str) -> None:
    assert titles(index, query, vector_weight=0.1)[0] == title


def test_english_is_found_by_words_or_by_meaning(index: SearchIndex) -> None:
    assert titles(index, "birthday voucher")[0] == "Membership"
    assert titles(index, "is a fault a matter of warranty")[0] == "Warranty"
    assert titles(index, "post")[0] == "Shipping"


def test_query_language_is_preferred_and_the_other_not_hidden(index: SearchIndex) -> None:
    found = titles(index, "Do you ship? 包邮", k=8)
    assert found[0] == "Shipping"
    assert "配送说明" in found


def test_hits_tell_how_good_they_are(index: SearchIndex) -> None:
    best = index.search("birthday voucher", _by_topic(["gift"])[0], 1)[0]
    assert best.lexical == 1.0
    assert best.cosine > 0.8
    half = index.search("birthday spaceship", None, 1)[0]
    assert 0 < half.lexical < 0.5
    assert half.cosine == 0.0


def test_query_of_unknown_words_finds_nothing_by_words(index: SearchIndex) -> None:
    assert index.search("Netflix 足球", None, 3) == []
    assert index.search("", None, 3) == []


@pytest.mark.parametrize("query", ["'; DROP TABLE", '"unclosed', "a AND (b", "*", "\x00", "退" * 5000])
def test_no_query_breaks_the_search(index: SearchIndex, query: str) -> None:
    index.search(query, _by_topic([query])[0], 3, sources=["it's"])
    index.search(query, None, 3)


def test_languages_and_sources_restrict(index: SearchIndex) -> None:
    chinese = titles(index, "birthday voucher 生日", languages=["zh"], k=8)
    assert chinese
    assert set(chinese) <= {title for title in TEXTS if detect(title) == "zh"}
    assert set(titles(index, "birthday parcels", sources=["faq"], k=8)) <= {"Membership", "会员等级"}


def test_passages_are_fetched_by_id_in_order(index: SearchIndex) -> None:
    assert [passage.id for passage in index.get(["p3", "unknown", "p0"])] == ["p3", "p0"]
    assert index.get([]) == []
    assert index.count() == len(TEXTS)


def test_vector_of_another_encoder_is_refused(index: SearchIndex) -> None:
    with pytest.raises(DataError, match="holds vectors of 5 numbers"):
        index.search("x", np.ones(3, dtype=np.float32), 1)


def test_search_from_many_threads_gives_the_same_answer(index: SearchIndex) -> None:
    expected = titles(index, "how long does shipping take")
    found: list[list[str]] = []
    threads = [
        threading.Thread(target=lambda: found.append(titles(index, "how long does shipping take"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 8


def test_one_long_document_does_not_fill_the_answer(tmp_path: Path, encode: Vectors) -> None:
    rows = [row | {"uri": "long.md", "text": f"refund refund refund part {n}"} for n, row in enumerate(passage_rows())]
    rows[-1] |= {"uri": "other.md", "text": "a refund, among many other things that are told in this text"}
    build_index([pa.RecordBatch.from_pylist(rows, schema=PASSAGE)], encode, tmp_path, Silent())
    found = [hit.passage.uri for hit in open_index(tmp_path).search("refund", None, 3)]
    assert sorted(found) == ["long.md", "long.md", "other.md"]


def test_index_without_passages_is_refused(tmp_path: Path, encode: Vectors) -> None:
    with pytest.raises(DataError, match="no passage to index"):
        build_index([], encode, tmp_path, Silent())


def test_missing_index_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no search index; make one with `tulou run`"):
        open_index(tmp_path / "nothing")


def test_words_of_both_languages_share_stems_and_synonyms() -> None:
    assert words("Refunds and returned parcels") == words("refund return parcel")
    assert words("postage") == words("shipping")
    assert words("邮费是多少") == words("运费")
    assert words("What is the") == []


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("policies", "policy"),
        ("boxes", "box"),
        ("shipping", "ship"),
        ("returned", "return"),
        ("gas", "gas"),
        ("bus", "bus"),
    ],
)
def test_stem_is_mild(word: str, expected: str) -> None:
    assert stem(word) == expected
