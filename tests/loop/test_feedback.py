from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tulou.core.errors import DataError
from tulou.core.settings import SensitiveAction
from tulou.core.state import conversations, feedback, open_state, turns
from tulou.loop.feedback import latest_snapshot, preferences_of, snapshot_digest, take_snapshot
from tulou.loop.trace import trace_answer

PASSAGE = {
    "id": "p1",
    "document_id": "d1",
    "source": "knowledge",
    "uri": "returns.md",
    "position": "",
    "title": "Returns",
    "heading": "Returns",
    "text": "You have 14 days.",
    "language": "en",
}


MASK: dict[str, SensitiveAction] = {"phone": "mask", "email": "mask"}


@pytest.fixture
def state(tmp_path: Path) -> Engine:
    engine = open_state("sqlite:///state.db", tmp_path)
    with engine.begin() as connection:
        connection.execute(sa.insert(conversations).values(id="c", app="support", created_at=0, updated_at=0))
    return engine


def rate(state: Engine, turn_id: str, rating: int, kind: str = "quoted", correction: str | None = None) -> None:
    row: dict[str, Any] = {
        "id": turn_id,
        "conversation_id": "c",
        "at": 1.0,
        "language": "en",
        "question": "How long?",
        "answer": "14 days.",
        "kind": kind,
        "passages": [PASSAGE],
        "model": "assistant",
        "model_version": "1",
        "latency_ms": 5.0,
    }
    with state.begin() as connection:
        connection.execute(sa.insert(turns).values(row))
        connection.execute(sa.insert(feedback).values(turn_id=turn_id, at=2.0, rating=rating, correction=correction))


def test_thumbs_up_and_corrections_become_conversations_and_thumbs_down_do_not(state: Engine, tmp_path: Path) -> None:
    rate(state, "up", 1)
    rate(state, "down", -1)
    rate(state, "corrected", -1, correction="Fourteen days from delivery.")
    rate(state, "declined", 1, kind="declined")
    said = take_snapshot(state, tmp_path / "feedback", MASK)
    assert (said["given"], said["up"], said["down"], said["corrected"], said["conversations"]) == (4, 2, 2, 1, 2)
    rows = pq.read_table(said["snapshot"]).to_pylist()
    assert [row["messages"][-1]["content"] for row in rows] == ["14 days.", "Fourteen days from delivery."]
    assert "You have 14 days." in rows[0]["messages"][1]["content"]


def test_corrections_and_thumbs_say_which_answer_is_the_better_one(state: Engine, tmp_path: Path) -> None:
    rate(state, "corrected", -1, correction="Fourteen days from delivery.")
    rate(state, "up", 1)
    rate(state, "same", -1)  # the very answer that another person liked
    with state.begin() as connection:
        connection.execute(sa.update(turns).where(turns.c.id == "up").values(answer="Two weeks.", question="how LONG"))
    said = take_snapshot(state, tmp_path / "feedback", MASK)
    rows = pq.read_table(preferences_of(Path(said["snapshot"]))).to_pylist()
    assert said["preferences"] == len(rows) == 2
    assert [(row["chosen"], row["rejected"]) for row in rows] == [
        ("Fourteen days from delivery.", "14 days."),
        ("Two weeks.", "14 days."),
    ]
    assert [message["role"] for message in rows[0]["messages"]] == ["system", "user"]


def test_a_snapshot_is_only_made_when_something_was_said(state: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "feedback"
    assert take_snapshot(state, folder, MASK)["snapshot"] is None
    assert snapshot_digest(folder) == "none"
    rate(state, "up", 1)
    assert take_snapshot(state, folder, MASK)["is_new"]
    first, digest = latest_snapshot(folder), snapshot_digest(folder)
    assert not take_snapshot(state, folder, MASK)["is_new"]
    rate(state, "up2", 1)
    take_snapshot(state, folder, MASK)
    assert latest_snapshot(folder) != first
    assert snapshot_digest(folder) != digest


def test_what_customers_wrote_is_protected_before_it_is_learnt(state: Engine, tmp_path: Path) -> None:
    rate(state, "corrected", -1, correction="Call 13812345678.")
    folder = tmp_path / "feedback"
    take_snapshot(state, folder, MASK)
    snapshot = latest_snapshot(folder)
    assert snapshot is not None
    assert pq.read_table(snapshot).to_pylist()[0]["messages"][-1]["content"] == "Call [phone]."
    assert take_snapshot(state, folder, {"phone": "drop"})["conversations"] == 0


def test_an_unknown_answer_cannot_be_traced(state: Engine, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no answer 'nope'"):
        trace_answer("nope", state, {}, tmp_path)


def test_an_answer_is_traced_to_its_passages_even_when_the_index_moved_on(state: Engine, tmp_path: Path) -> None:
    rate(state, "up", 1)
    traced = trace_answer("up", state, {}, tmp_path)
    assert traced["model"] == {"name": "assistant", "version": "1"}
    assert traced["feedback"]["rating"] == 1
    assert traced["no_longer_in_the_index"] == ["p1"]


def test_the_beginning_of_an_id_is_enough_where_it_is_one_answers(state: Engine, tmp_path: Path) -> None:
    for turn_id in ("up", "up2", "corrected"):
        rate(state, turn_id, 1)
    assert trace_answer("corr", state, {}, tmp_path)["answer"]["id"] == "corrected"
    assert trace_answer("up", state, {}, tmp_path)["answer"]["id"] == "up", "though up2 begins so too"
    with pytest.raises(DataError, match="several answers begin with 'u': up, up2"):
        trace_answer("u", state, {}, tmp_path)
    with pytest.raises(DataError, match="no answer '%'"):
        trace_answer("%", state, {}, tmp_path)
    with pytest.raises(DataError, match="no answer ''"):
        trace_answer("", state, {}, tmp_path)
