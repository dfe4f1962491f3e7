"""The shop's support tickets: distinct messages from a grammar, then the dirt of real life, and the truth about it.

Originals are pairwise distinct (shingle similarity below a limit), so that every duplicate in the files is one that was
planted and `exam/planted.json` tells exactly what a good cleaning finds.
"""

from __future__ import annotations

import csv
import io
import json
import random
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tulou.core.progress import Bar, Progress
from tulou.templates.shop.dirt import COLUMNS, Planted, Ticket, plant
from tulou.templates.shop.grammar import Grammar, Slots
from tulou.templates.written import Written

SEED = 20260901
ORIGINALS = 3000

_FILES = {"new": ("data/tickets.csv", "utf-8"), "old": ("data/tickets-2023.csv", "gbk")}  # by the ticket's system
_TRUTH = "exam/planted.json"

_CHINESE_SHARE, _OLD_SHARE = 0.55, 0.2
_STARTS = {"new": datetime(2025, 9, 1, 8), "old": datetime(2023, 1, 3, 8)}
_SPAN_MINUTES = 350 * 24 * 60
_CUSTOMERS = 1500
_CHANNELS = ("app", "app", "web", "email", "wechat", "phone")

_MAX_SIMILARITY = 0.6  # of two originals; cleaning calls records alike from 0.8
_SHINGLE = 4  # characters
_MAX_TRIES = 300


def write_tickets(texts: Path, folder: Path, progress: Progress) -> list[Written]:
    """Write both ticket files and the truth about what was planted in them."""
    rng = random.Random(SEED)
    words = _read(texts, "tickets/dirt.toml")
    with progress.bar("Writing the shop's tickets", ORIGINALS, "tickets") as bar:
        tickets, planted = plant(list(_originals(load_grammars(texts), rng, bar)), words, rng)
    tickets.sort(key=lambda ticket: (ticket.created_at, ticket.number))
    ids = {ticket.number: f"T{rank:05d}" for rank, ticket in enumerate(tickets, start=1)}
    files = {name: [ticket for ticket in tickets if ticket.system == system] for system, (name, _) in _FILES.items()}
    for name, encoding in _FILES.values():
        _write_csv(folder / name, encoding, files[name], ids)
    truth = {"seed": SEED, "originals": ORIGINALS, "rows": {name: len(rows) for name, rows in files.items()}}
    _write_json(folder / _TRUTH, truth | {"planted": _truth(planted, ids)})
    return [Written(path=name, skipped=None) for name in (*files, _TRUTH)]


def load_grammars(texts: Path) -> dict[str, Grammar]:
    facts = _read(texts, "facts.toml")
    grammars = {}
    for language, space in {"zh": "", "en": " "}.items():
        rules = _read(texts, f"tickets/{language}.toml")
        grammars[language] = Grammar(rules, _slots(facts, rules, language), space)
    return grammars


def _read(texts: Path, name: str) -> dict[str, Any]:
    return tomllib.loads((texts / name).read_text(encoding="utf-8"))


def _originals(grammars: dict[str, Grammar], rng: random.Random, bar: Bar) -> Iterator[Ticket]:
    known: dict[tuple[str, str], list[frozenset[str]]] = defaultdict(list)
    for number in range(ORIGINALS):
        language = "zh" if rng.random() < _CHINESE_SHARE else "en"
        system = "old" if rng.random() < _OLD_SHARE else "new"
        weights = grammars[language].weights
        intent = rng.choices(list(weights), list(weights.values()))[0]
        subject, body = _unlike(known[language, intent], grammars[language], intent, rng)
        yield Ticket(
            number=number,
            customer_id=f"C{rng.randrange(_CUSTOMERS):05d}",
            created_at=_STARTS[system] + timedelta(minutes=rng.randrange(_SPAN_MINUTES)),
            channel=rng.choice(_CHANNELS),
            subject=subject,
            body=body,
            intent=intent,
            language=language,
            system=system,
        )
        bar.advance()


def _unlike(known: list[frozenset[str]], grammar: Grammar, intent: str, rng: random.Random) -> tuple[str, str]:
    """A message that no earlier one of its intent resembles; remembers it in `known`."""
    for _ in range(_MAX_TRIES):
        subject, body = grammar.message(intent, rng)
        shingles = _shingles(f"{subject} {body}")
        if all(_jaccard(shingles, other) < _MAX_SIMILARITY for other in known):
            known.append(shingles)
            return subject, body
    raise ValueError(f"the grammar has too few forms for intent {intent!r}: add sentences to its 'core'")


def _shingles(text: str) -> frozenset[str]:
    text = "".join("0" if character.isdigit() else character for character in text.lower() if character.isalnum())
    return frozenset(text[at : at + _SHINGLE] for at in range(max(1, len(text) - _SHINGLE + 1)))


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)


def _slots(facts: dict[str, Any], rules: dict[str, Any], language: str) -> Slots:
    """Fills for one message, all about one product: its colours and, where it has any, its parts."""

    def fill(rng: random.Random) -> dict[str, str]:
        product, other = rng.sample(facts["product"], 2)
        parts = [part[language] for part in facts["part"] if part["for"] == product["key"]] or rules["common_parts"]
        return {
            "product": product[language],
            "other_product": other[language],
            "part": re.split(r"[（,]", rng.choice(parts))[0],
            "colour": rng.choice(re.split(r"、|, ", product[f"colours_{language}"])),
            "city": rng.choice(rules["cities"]),
            "country": rng.choice(rules["countries"]),
            "date": rng.choice(rules["dates"]).format(month=rng.randint(1, 12), day=rng.randint(1, 28)),
            "order": f"YQ{rng.randrange(10**8):08d}",
            "number": str(rng.randint(3, 14)),
            "amount": str(rng.choice(rules["amounts"])),
            "count": str(rng.choice(rules["counts"])),
        }

    return fill


def _write_csv(path: Path, encoding: str, tickets: list[Ticket], ids: dict[int, str]) -> None:
    rows = io.StringIO()
    table = csv.DictWriter(rows, ["ticket_id", *COLUMNS], extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for ticket in tickets:
        values = {"ticket_id": ids[ticket.number], "created_at": f"{ticket.created_at:%Y-%m-%d %H:%M}"}
        table.writerow(asdict(ticket) | values)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rows.getvalue().encode(encoding))


def _truth(planted: list[Planted], ids: dict[int, str]) -> dict[str, Any]:
    """For each kind of dirt its count and rows: ticket, hidden value, and for a copy the ticket it was made of."""
    kinds: dict[str, list[dict[str, str]]] = defaultdict(list)
    for one in planted:
        row = {"ticket_id": ids[one.number], "value": one.value}
        kinds[one.kind].append(row if one.of is None else row | {"of": ids[one.of]})
    return {
        kind: {"count": len(rows), "rows": sorted(rows, key=lambda row: row["ticket_id"])}
        for kind, rows in sorted(kinds.items())
    }


def _write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
