"""The exam is answerable from the documents, and cannot be passed by having read it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tulou.core.progress import Silent
from tulou.templates.shop import TEXTS
from tulou.templates.shop.knowledge import FOLDER, render
from tulou.templates.shop.tickets import write_tickets

LONGEST_SHARED = {"zh": 9, "en": 7}  # characters; words


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (TEXTS / "exam" / name).read_text("utf-8").splitlines()]


@pytest.fixture(scope="module")
def documents() -> dict[str, str]:
    """Path in the project to the text of every document."""
    facts = tomllib.loads((TEXTS / "facts.toml").read_text("utf-8"))
    sources = (TEXTS / "knowledge").rglob("*.md")
    return {f"{FOLDER}/{path}": text for path, text in (render(s.read_text("utf-8"), facts) for s in sources)}


@pytest.fixture(scope="module")
def everything_trained_on(documents: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("tickets")
    write_tickets(TEXTS, folder, Silent())
    tickets = [(folder / "data/tickets.csv").read_text("utf-8"), (folder / "data/tickets-2023.csv").read_text("gbk")]
    return "\n".join([*documents.values(), *tickets]).lower()


def test_thirty_questions_in_each_language_and_ten_off_topic() -> None:
    questions = rows("questions.jsonl")
    assert sum(row["language"] == "zh" for row in questions) == 30
    assert sum(row["language"] == "en" for row in questions) == 30
    assert len(rows("off_topic.jsonl")) == 10
    assert len({row["id"] for row in questions}) == len({row["question"] for row in questions}) == 60


def test_every_answer_names_documents_that_exist_in_both_languages(documents: dict[str, str]) -> None:
    for row in rows("questions.jsonl"):
        assert set(row["documents"]) <= set(documents), row
        assert {path.isascii() for path in row["documents"]} == {True, False}, row


def test_questions_are_in_the_customers_own_words(everything_trained_on: str) -> None:
    for row in [*rows("questions.jsonl"), *rows("off_topic.jsonl")]:
        question = re.sub(r"[？?。.！!]", "", row["question"].lower())
        units, joint = (question.split(), " ") if row["language"] == "en" else (list(question), "")
        size = LONGEST_SHARED[row["language"]]
        for at in range(len(units) - size + 1):
            assert joint.join(units[at : at + size]) not in everything_trained_on, row


def test_the_two_languages_of_a_topic_state_the_same_numbers(documents: dict[str, str]) -> None:
    """Twins are told apart by name only, so compare each policy's figures, where words do not stand in for digits."""
    twins = {
        "delivery/times": ("配送/配送时效与运费.docx", "delivery/delivery-times-and-fees.pdf"),
        "returns": ("售后/退货政策.pdf", "after-sales/returns.docx"),
        "gift cards": ("支付/礼品卡使用须知.txt", "payment/gift-cards.md"),
        "levels": ("会员/会员等级与积分.pptx", "membership/levels-and-points.pptx"),
    }
    for topic, names in twins.items():
        chinese, english = (set(re.findall(r"\d+", documents[f"{FOLDER}/{name}"])) for name in names)
        assert chinese == english, topic


def test_catalogue_and_warranty_policy_agree() -> None:
    facts = tomllib.loads((TEXTS / "facts.toml").read_text("utf-8"))
    terms, months = facts["warranty"], {one["key"]: one["warranty_months"] for one in facts["product"]}
    for keys, term in {
        ("kettle", "grinder", "coffee", "rice", "vacuum", "humidifier"): "appliance_months",
        ("headphones", "powerbank", "scale"): "electronics_months",
        ("lamp", "pillow"): "lamp_and_pillow_months",
        ("suitcase",): "suitcase_months",
    }.items():
        assert {months.pop(key) for key in keys} == {terms[term]}
    assert not months
