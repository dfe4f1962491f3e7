"""How a customer's message comes about: a small grammar with choices and slots, one file for each language.

`(a|b|)` picks one alternative, nested ones first; `{product}` is filled from the table of facts. A message is an
optional greeting, background, the point itself, a detail and a closing. Background may mention another, settled matter,
so that single words do not give the intent away.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from typing import Any

Slots = Callable[[random.Random], Mapping[str, str]]
"""Draws what one message is about: a value for every slot."""

_CHOICE = re.compile(r"\(([^()|]*(?:\|[^()|]*)+)\)")

_GREETING, _SITUATION, _SETTLED, _DETAIL, _CLOSING, _OWN_SUBJECT = 0.45, 0.5, 0.15, 0.55, 0.4, 0.45  # probabilities


class Grammar:
    """The message forms of one language: `rules` as in `texts/tickets/en.toml`."""

    def __init__(self, rules: Mapping[str, Any], slots: Slots, space: str) -> None:
        self._rules = rules
        self._slots = slots
        self._space = space  # between sentences: " " in English, nothing in Chinese

    @property
    def weights(self) -> dict[str, float]:
        """How often each intent comes, relative to the others."""
        return {name: rule["weight"] for name, rule in self._rules["intent"].items()}

    def message(self, intent: str, rng: random.Random) -> tuple[str, str]:
        """Subject (often empty or vague) and body."""
        rule = self._rules["intent"][intent]
        settled = [line for name, other in self._rules["intent"].items() if name != intent for line in other["history"]]
        parts = [
            self._sometimes(_GREETING, self._rules["greetings"], rng),
            self._sometimes(_SETTLED, settled, rng),
            self._sometimes(_SITUATION, self._rules["situations"], rng),
            self._ended(rng.choice(rule["core"]), rng),
            self._sometimes(_DETAIL, rule["details"], rng),
            self._sometimes(_CLOSING, self._rules["closings"], rng),
        ]
        subjects = rule["subjects"] if rng.random() < _OWN_SUBJECT else self._rules["vague_subjects"]
        filled = self._slots(rng)
        body = self._space.join(_chosen(part, rng) for part in parts if part)
        return rng.choice(subjects).format(**filled), body.format(**filled)

    @staticmethod
    def _sometimes(probability: float, lines: list[str], rng: random.Random) -> str:
        return rng.choice(lines) if rng.random() < probability else ""

    def _ended(self, sentence: str, rng: random.Random) -> str:
        return sentence if sentence[-1] in "?!." else sentence + rng.choice(self._rules["endings"])


def _chosen(text: str, rng: random.Random) -> str:
    while _CHOICE.search(text):
        text = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), text)
    return text
