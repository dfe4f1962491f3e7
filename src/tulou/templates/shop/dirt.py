"""The dirt of real life, planted on purpose: each kind has a count and a small function, listed in two tables.

A ticket is dirtied once at most, so that a measurement can tell what was found from what was missed. Copies are made of
clean tickets only and come a few minutes after them, as from people who press "send" twice.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from tulou.templates.shop import identity

COLUMNS = ("customer_id", "created_at", "channel", "subject", "body", "intent")

Words = Mapping[str, Any]
"""`texts/tickets/dirt.toml`."""


@dataclass(frozen=True)
class Ticket:
    number: int  # order of making; the ticket_id is given when all are sorted by time
    customer_id: str
    created_at: datetime
    channel: str
    subject: str
    body: str
    intent: str
    language: str  # not a column of the files
    system: str  # "new" or "old"; the old one writes GBK


@dataclass(frozen=True)
class Planted:
    """The truth about one dirty ticket."""

    number: int
    kind: str
    value: str  # the hidden number, or the text as it should read
    of: int | None = None  # the ticket that this one copies


Dirt = Callable[[Ticket, Words, random.Random], tuple[Ticket, str] | None]
"""Gives the dirty ticket and the truth about it, or None where the ticket does not suit."""


def _typo(ticket: Ticket, words: Words, rng: random.Random) -> tuple[Ticket, str] | None:
    if ticket.language == "zh":
        fitting = [(right, wrong) for right, wrong in words["zh"]["typos"] if right in ticket.body]
        if not fitting:
            return None
        right, wrong = rng.choice(fitting)
        return replace(ticket, body=ticket.body.replace(right, wrong, 1)), ticket.body
    places = [at for at in range(1, len(ticket.body) - 2) if ticket.body[at : at + 2].isalpha()]
    at = rng.choice(places)
    swapped = ticket.body[:at] + ticket.body[at + 1] + ticket.body[at] + ticket.body[at + 2 :]
    return (replace(ticket, body=swapped), ticket.body) if swapped != ticket.body else None


def _mojibake(ticket: Ticket, _words: Words, rng: random.Random) -> tuple[Ticket, str] | None:
    """Bytes of one encoding read as another; only where the damage can be undone without loss."""
    body = ticket.body.replace("'", "’")
    if ticket.system == "old" or body.isascii():
        return None
    written, read = rng.choice([("utf-8", "latin-1"), ("utf-8", "cp1252"), ("gbk", "latin-1")])
    try:
        return replace(ticket, body=body.encode(written).decode(read)), body
    except UnicodeError:
        return None


def _full_width(ticket: Ticket, _words: Words, _rng: random.Random) -> tuple[Ticket, str] | None:
    wide = "".join(chr(ord(c) + 0xFEE0) if c.isascii() and c.isalnum() else c for c in ticket.body)
    return (replace(ticket, body=wide), ticket.body) if wide != ticket.body else None


def _html(ticket: Ticket, words: Words, rng: random.Random) -> tuple[Ticket, str] | None:
    return replace(ticket, body=rng.choice(words["html"]["shapes"]).format(body=ticket.body)), ticket.body


def _sensitive(kind: str, ticket: Ticket, words: Words, rng: random.Random) -> tuple[Ticket, str] | None:
    value = identity.MAKERS[kind](rng)
    space = " " if ticket.language == "en" else ""
    sentence = rng.choice(words[ticket.language][kind]).format(value=value)
    return replace(ticket, body=f"{ticket.body}{space}{sentence}"), value


def _wrong_label(ticket: Ticket, words: Words, _rng: random.Random) -> tuple[Ticket, str] | None:
    wrong = words["confused"].get(ticket.intent)
    return (replace(ticket, intent=wrong), ticket.intent) if wrong else None


def _exact_copy(ticket: Ticket, _words: Words, _rng: random.Random) -> tuple[Ticket, str] | None:
    return ticket, ""


def _near_copy(ticket: Ticket, words: Words, rng: random.Random) -> tuple[Ticket, str] | None:
    """The same message with a few characters more; long ones only, so that it stays clearly the same."""
    if len(ticket.body) < {"zh": 50, "en": 120}[ticket.language]:
        return None
    return replace(ticket, body=ticket.body + rng.choice(words[ticket.language]["again"])), ""


def _relabelled_copy(ticket: Ticket, words: Words, rng: random.Random) -> tuple[Ticket, str] | None:
    return _wrong_label(ticket, words, rng)


IN_PLACE: tuple[tuple[str, int, Dirt], ...] = (
    ("typo", 150, _typo),
    ("mojibake", 60, _mojibake),
    ("full_width", 60, _full_width),
    ("html", 80, _html),
    ("phone", 90, partial(_sensitive, "phone")),
    ("id_card", 40, partial(_sensitive, "id_card")),
    ("bank_card", 40, partial(_sensitive, "bank_card")),
    ("email", 70, partial(_sensitive, "email")),
    ("wrong_label", 15, _wrong_label),
)
COPIES: tuple[tuple[str, int, Dirt], ...] = (
    ("exact_duplicate", 90, _exact_copy),
    ("near_duplicate", 90, _near_copy),
    ("conflicting_label", 8, _relabelled_copy),
)
SPAM, EMPTY = 40, 25


def plant(tickets: list[Ticket], words: Words, rng: random.Random) -> tuple[list[Ticket], list[Planted]]:
    """Dirty some tickets and add copies, spam and empty rows; the truth names each by its number."""
    clean = rng.sample(tickets, len(tickets))
    rows = {ticket.number: ticket for ticket in tickets}
    planted: list[Planted] = []
    for kind, count, dirt in IN_PLACE:
        for ticket, dirty, value in _taken(clean, count, dirt, words, rng):
            rows[ticket.number] = dirty
            planted.append(Planted(ticket.number, kind, value))
    for kind, count, dirt in COPIES:
        for ticket, copy, value in _taken(clean, count, dirt, words, rng):
            later = ticket.created_at + timedelta(minutes=rng.randint(1, 50))
            planted.append(Planted(len(rows), kind, value, of=ticket.number))
            rows[len(rows)] = replace(copy, number=len(rows), created_at=later)
    for kind, ticket in _junk(tickets, words, rng):
        planted.append(Planted(len(rows), kind, ""))
        rows[len(rows)] = replace(ticket, number=len(rows))
    return list(rows.values()), planted


def _taken(
    clean: list[Ticket], count: int, dirt: Dirt, words: Words, rng: random.Random
) -> list[tuple[Ticket, Ticket, str]]:
    """Take `count` suitable tickets out of `clean`: each with its dirty form and the truth about it."""
    taken: list[tuple[Ticket, Ticket, str]] = []
    for ticket in list(clean):
        if len(taken) == count:
            return taken
        if made := dirt(ticket, words, rng):
            clean.remove(ticket)
            taken.append((ticket, *made))
    raise ValueError(f"only {len(taken)} of {count} tickets suit {dirt}")


def _junk(tickets: list[Ticket], words: Words, rng: random.Random) -> Iterator[tuple[str, Ticket]]:
    """Spam, which no agent gave an intent, and rows with nothing in them."""
    for _ in range(SPAM):
        near = rng.choice(tickets)
        subject, body = rng.choice(words[near.language]["spam"])
        yield "spam", replace(near, subject=subject, body=body.format(n=rng.randrange(10**6)), intent="")
    for _ in range(EMPTY):
        yield "empty", replace(rng.choice(tickets), subject="", body=rng.choice(["", " ", "　"]))
