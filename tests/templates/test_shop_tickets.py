"""The tickets carry exactly the dirt that the truth file tells of."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tulou.core.progress import Silent
from tulou.templates.shop import TEXTS
from tulou.templates.shop.tickets import write_tickets

Tickets = dict[str, dict[str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tickets")
    write_tickets(TEXTS, folder, Silent())
    return folder


@pytest.fixture(scope="module")
def tickets(folder: Path) -> Tickets:
    """Both files, the old one read as the GBK that it is."""
    texts = [(folder / "data/tickets.csv").read_text("utf-8"), (folder / "data/tickets-2023.csv").read_text("gbk")]
    return {row["ticket_id"]: row for text in texts for row in csv.DictReader(io.StringIO(text))}


@pytest.fixture(scope="module")
def planted(folder: Path) -> dict[str, list[dict[str, str]]]:
    truth: dict[str, Any] = json.loads((folder / "exam/planted.json").read_text("utf-8"))
    return {kind: entry["rows"] for kind, entry in truth["planted"].items()}


def text(ticket: dict[str, str]) -> tuple[str, str]:
    return ticket["subject"], ticket["body"]


def test_there_are_enough_tickets_intents_and_both_languages(tickets: Tickets) -> None:
    intents = Counter(ticket["intent"] for ticket in tickets.values() if ticket["intent"])
    chinese = sum(any("一" <= character <= "鿿" for character in ticket["body"]) for ticket in tickets.values())
    assert len(tickets) >= 3000
    assert len(intents) >= 20
    assert min(intents.values()) >= 50
    assert 0.4 < chinese / len(tickets) < 0.7


def test_truth_counts_add_up_and_dirty_a_ticket_once(folder: Path, tickets: Tickets) -> None:
    truth = json.loads((folder / "exam/planted.json").read_text("utf-8"))
    rows = [row["ticket_id"] for entry in truth["planted"].values() for row in entry["rows"]]
    assert sum(truth["rows"].values()) == len(tickets)
    assert all(entry["count"] == len(entry["rows"]) for entry in truth["planted"].values())
    assert len(rows) == len(set(rows))
    assert set(rows) <= set(tickets)


def test_exact_duplicates_repeat_a_ticket_and_nothing_else_does(
    tickets: Tickets, planted: dict[str, list[dict[str, str]]]
) -> None:
    for row in planted["exact_duplicate"]:
        assert text(tickets[row["ticket_id"]]) == text(tickets[row["of"]])
    copies = {row["ticket_id"] for kind in ("exact_duplicate", "conflicting_label") for row in planted[kind]}
    junk = {row["ticket_id"] for kind in ("spam", "empty") for row in planted[kind]}
    originals = [text(ticket) for number, ticket in tickets.items() if number not in copies | junk]
    assert len(originals) == len(set(originals))


def test_near_duplicates_share_nearly_everything(tickets: Tickets, planted: dict[str, list[dict[str, str]]]) -> None:
    for row in planted["near_duplicate"]:
        copy, original = tickets[row["ticket_id"]], tickets[row["of"]]
        assert copy["body"].startswith(original["body"])
        assert 0 < len(copy["body"]) - len(original["body"]) <= 8


def test_conflicting_copies_have_the_same_text_and_another_intent(
    tickets: Tickets, planted: dict[str, list[dict[str, str]]]
) -> None:
    for row in planted["conflicting_label"]:
        copy, original = tickets[row["ticket_id"]], tickets[row["of"]]
        assert text(copy) == text(original)
        assert copy["intent"] != original["intent"]


def test_mojibake_can_be_undone_to_the_text_in_the_truth(
    tickets: Tickets, planted: dict[str, list[dict[str, str]]]
) -> None:
    undone = 0
    for row in planted["mojibake"]:
        body = tickets[row["ticket_id"]]["body"]
        assert body != row["value"]
        undone += row["value"] in readings(body)
    assert undone == len(planted["mojibake"]) > 0


def readings(damaged: str) -> set[str]:
    found = set()
    for read, written in [("latin-1", "utf-8"), ("cp1252", "utf-8"), ("latin-1", "gbk")]:
        try:
            found.add(damaged.encode(read).decode(written))
        except UnicodeError:
            continue
    return found


def test_hidden_numbers_are_in_the_text_and_pass_their_checks(
    tickets: Tickets, planted: dict[str, list[dict[str, str]]]
) -> None:
    for kind in ("phone", "id_card", "bank_card", "email"):
        assert all(row["value"] in tickets[row["ticket_id"]]["body"] for row in planted[kind])
    assert all(is_id_card(row["value"]) for row in planted["id_card"])
    assert all(passes_luhn(row["value"].replace(" ", "")) for row in planted["bank_card"])


def is_id_card(number: str) -> bool:
    """The rule as GB 11643 states it: the weighted sum of all 18 characters, X being 10, is 1 modulo 11."""
    values = [10 if character == "X" else int(character) for character in number]
    return sum(value << (17 - at) for at, value in enumerate(values)) % 11 == 1


def passes_luhn(number: str) -> bool:
    doubled = [int(digit) * 2 if at % 2 else int(digit) for at, digit in enumerate(reversed(number))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def test_the_old_file_is_gbk_and_no_utf8(folder: Path) -> None:
    with pytest.raises(UnicodeDecodeError):
        (folder / "data/tickets-2023.csv").read_text("utf-8")


def test_no_choice_or_slot_of_the_grammar_is_left_over(tickets: Tickets) -> None:
    for ticket in tickets.values():
        assert not set("|{}") & set("".join(text(ticket))), ticket
