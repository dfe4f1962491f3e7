from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.core.settings import CleanSettings
from tulou.core.state import conversations, open_state, turns
from tulou.core.tables import CONVERSATION, PASSAGE
from tulou.data.clean import clean
from tulou.data.clean.sensitive import redact
from tulou.data.parquet import read_batches
from tulou.data.search.chunk import passages
from tulou.data.split import labelled
from tulou.data.story import Outputs, list_records, tell_story

WriteDocuments = Callable[..., Path]

LONG = "When will the electric kettle that I ordered last week arrive at my house in the mountains"
ROWS = [
    {"id": "aa01", "text": f"<b>{LONG}?</b> Call 13812345678 please", "title": "Call 13812345678"},
    {"id": "aa02", "text": f"{LONG}? Call 13812345678 please"},
    {"id": "ab03", "text": "x"},
    {"id": "ac04", "text": "Where do I find my invoice for the lamp?"},
]


@pytest.fixture
def outputs(write_documents: WriteDocuments, tmp_path: Path) -> Outputs:
    collected = write_documents(ROWS)
    clean(collected, tmp_path / "clean", CleanSettings(), Silent())
    cut = tmp_path / "passages"
    cut.mkdir()
    batches = passages(read_batches(tmp_path / "clean"), 400)
    pq.write_table(pa.Table.from_batches(batches, PASSAGE), cut / "passages-0.parquet")
    example = {"id": "e", "document_id": "ac04", "messages": [], "language": "en", "split": "train"}
    chat = tmp_path / "examples"
    chat.mkdir()
    table = pa.Table.from_pylist([example, example | {"split": "validation"}, example], schema=CONVERSATION)
    pq.write_table(table, chat / "conversations-00000.parquet")
    return Outputs({"tickets": collected}, {"tickets": tmp_path / "clean"}, cut, {"examples.assistant": chat})


def test_kept_record_is_told_from_its_file_to_its_passages(outputs: Outputs) -> None:
    story = tell_story("aa01", outputs, redact)
    assert (story["uri"], story["position"], story["source"]) == ("data/file.csv", "row=1", "source")
    assert [f"{each['step']}.{each['rule']}" for each in story["decisions"]] == [
        "markup.tags",
        "sensitive.PHONE_NUMBER",
    ]
    assert story["decisions"][0]["before"].startswith("<b>When")
    assert story["fate"] == "kept"
    assert story["cleaned"]["text"] == f"{LONG}? Call [phone] please"
    assert story["copies"] == {"count": 1, "ids": ["aa02"]}
    assert len(story["passages"]) == 1


def test_sensitive_values_are_masked_wherever_a_story_shows_them(outputs: Outputs) -> None:
    for record in ("aa01", "aa02"):
        story = tell_story(record, outputs, redact)
        assert "13812345678" not in str(story)
        assert "[phone]" in story["collected"]["text"]


def test_copy_names_the_record_kept_instead_with_its_text(outputs: Outputs) -> None:
    story = tell_story("aa02", outputs, redact)
    assert story["fate"] == "dropped"
    assert story["dropped_by"] in ("exact_duplicate.same_text", "near_duplicate.near_copy")
    assert story["kept_copy"]["id"] == "aa01"
    assert story["kept_copy"]["text"] == f"{LONG}? Call [phone] please"
    assert story["cleaned"] is None


def test_dropped_record_names_the_rule(outputs: Outputs) -> None:
    story = tell_story("ab03", outputs, redact)
    assert (story["fate"], story["dropped_by"], story["kept_copy"]) == ("dropped", "quality.too_short", None)


def test_beginning_of_an_id_is_enough_where_only_one_begins_so(outputs: Outputs) -> None:
    assert tell_story("ac", outputs, redact)["id"] == "ac04"
    with pytest.raises(DataError, match=r"several records have ids that begin with 'aa', such as aa01, aa02"):
        tell_story("aa", outputs, redact)


def test_whole_id_is_found_though_others_begin_with_it(write_documents: WriteDocuments) -> None:
    collected = write_documents([{"text": f"text {number}"} for number in range(30)])
    outputs = Outputs({"tickets": collected}, {})
    assert tell_story("d1", outputs, redact)["id"] == "d1"
    assert tell_story("d1", outputs, redact)["fate"] == "not cleaned yet"


@pytest.mark.parametrize("given", ["", "zz", "aa01x", "%", "a.*"])
def test_unknown_id_is_an_error_that_says_how_to_find_ids(outputs: Outputs, given: str) -> None:
    with pytest.raises(DataError, match=r"no record .* --source NAME --rule STEP.RULE"):
        tell_story(given, outputs, redact)


def test_story_says_in_which_splits_a_record_went(outputs: Outputs, write_documents: WriteDocuments) -> None:
    assert tell_story("ac04", outputs, redact)["datasets"] == [
        {"stage": "examples.assistant", "split": "train", "rows": 2},
        {"stage": "examples.assistant", "split": "validation", "rows": 1},
    ]
    rows = [{"text": f"text {chr(97 + n) * 9} {n * 7919}", "label": f"label{n % 2}"} for n in range(20)]
    documents = write_documents(rows, "labelled-documents")
    labelled(documents, [], documents.parent / "split", seed=1)
    outputs = Outputs({"t": documents}, {"t": documents}, None, {"split.intents": documents.parent / "split"})
    (dataset,) = tell_story("d7", outputs, redact)["datasets"]
    assert dataset["split"] in ("train", "validation", "test")


def test_answers_that_quoted_the_record_are_named(outputs: Outputs, tmp_path: Path) -> None:
    state = open_state("sqlite:///state.db", tmp_path)
    (passage,) = tell_story("ac04", outputs, redact)["passages"]
    turn: dict[str, Any] = {"conversation_id": "c", "language": "en", "answer": "", "kind": "quoted", "model": "m"}
    turn |= {"model_version": "1", "latency_ms": 1.0}
    with state.begin() as connection:
        connection.execute(sa.insert(conversations).values(id="c", app="support", created_at=0.0, updated_at=0.0))
        for number, quoted in enumerate((passage["id"], "another", passage["id"])):
            values = {"id": f"t{number}", "at": float(number), "question": "My phone is 13812345678"}
            connection.execute(sa.insert(turns).values(**turn, **values, passages=[{"id": quoted}]))
    answers = tell_story("ac04", outputs, redact, state)["answers"]
    assert [answer["id"] for answer in answers] == ["t2", "t0"]
    assert answers[0]["question"] == "My phone is [phone]"
    state.dispose()


def test_records_of_a_rule_are_listed_up_to_the_limit(outputs: Outputs) -> None:
    listing = list_records(outputs, "tickets", "sensitive.PHONE_NUMBER", 1)
    assert (listing["total"], [record["id"] for record in listing["records"]]) == (2, ["aa01"])
    assert listing["rules"]["quality.too_short"] == 1
    assert [record["id"] for record in list_records(outputs, None, "quality", 9)["records"]] == ["ab03"]
    assert list_records(outputs, "tickets", None, 99)["total"] == sum(listing["rules"].values())


def test_unknown_source_or_rule_is_an_error_that_names_those_there_are(outputs: Outputs) -> None:
    with pytest.raises(DataError, match=r"no source 'x' was cleaned; choose from tickets"):
        list_records(outputs, "x", None, 9)
    with pytest.raises(DataError, match=r"nothing for the rule 'quality.x'; choose from .*quality.too_short"):
        list_records(outputs, None, "quality.x", 9)
