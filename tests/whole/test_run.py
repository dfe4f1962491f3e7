"""`tulou run` and the verbs that look at its results."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

Tulou = Callable[..., subprocess.CompletedProcess[str]]


def test_every_stage_ran_and_said_what_it_did(first_run: dict[str, Any]) -> None:
    assert set(first_run) == {"project", "did_nothing", "seconds", "planned", "stages"}
    assert not first_run["did_nothing"]
    names = [stage["name"] for stage in first_run["stages"]]
    for name in ("collect.knowledge", "clean.tickets", "store", "index", "train.intents", "pretrain.assistant", "exam"):
        assert name in names
    assert not any(stage["cached"] for stage in first_run["stages"])


def test_a_second_run_does_nothing_and_says_so(tulou: Tulou, shop: Path) -> None:
    again = tulou("run", "--project", str(shop))
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout


def test_search_finds_the_right_document_in_both_languages(tulou: Tulou, shop: Path) -> None:
    for query, uri in (("how many days to return a kettle", "returns.md"), ("电子发票多久开", "发票.md")):
        found = json.loads(tulou("search", query, "--json", "--project", str(shop)).stdout)
        assert set(found) == {"query", "hits"}
        assert found["hits"][0]["uri"].endswith(uri)


def test_an_answer_is_honest_about_its_making_and_can_be_traced(tulou: Tulou, shop: Path) -> None:
    asked = json.loads(tulou("ask", "How long is the warranty of a toaster?", "--json", "--project", str(shop)).stdout)
    assert asked["kind"] in ("generated", "quoted")
    assert "two years" in asked["text"]
    assert asked["sources"][0]["uri"] == "data/knowledge/warranty.md"
    traced = json.loads(tulou("trace", asked["turn_id"], "--json", "--project", str(shop)).stdout)
    assert set(traced) == {"answer", "model", "feedback", "passages", "no_longer_in_the_index"}
    assert traced["passages"][0]["document"]["uri"] == "data/knowledge/warranty.md"
    assert len(traced["passages"][0]["document"]["content_hash"]) == 64


def test_what_no_document_knows_is_declined_in_the_language_of_the_question(tulou: Tulou, shop: Path) -> None:
    declined = json.loads(tulou("ask", "明天火星天气怎么样？", "--json", "--project", str(shop)).stdout)
    assert declined["kind"] == "declined"
    assert "人工客服" in declined["text"]


def test_the_exam_and_the_models_are_reported(tulou: Tulou, shop: Path) -> None:
    evaluated = json.loads(tulou("evaluate", "--json", "--project", str(shop)).stdout)
    assert set(evaluated) == {"exam", "models"}
    assert evaluated["exam"]["questions"] == 2
    assert evaluated["exam"]["off_topic_declined"] == 1
    assert set(evaluated["models"]) == {"intents", "assistant", "encoder"}
    listed = json.loads(tulou("models", "list", "--json", "--project", str(shop)).stdout)["models"]
    assert {row["name"] for row in listed} == {"intents", "assistant", "encoder"}
    assert all(row["is_champion"] for row in listed)


def test_status_tells_of_the_last_run(tulou: Tulou, shop: Path) -> None:
    status = json.loads(tulou("status", "--json", "--project", str(shop)).stdout)
    assert set(status) == {
        "project", "folder", "last_run", "run_at_work", "planned", "models", "running", "url", "pid", "ready",
        "replicas", "scalings",
    }  # fmt: skip
    assert status["run_at_work"] is None
    assert status["last_run"]["stages"] > 10
