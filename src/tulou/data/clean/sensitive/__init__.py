"""Sensitive data in Chinese and English: found by form, check digit and cue, then masked, tokenized or dropped."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tulou.core.settings import SENSITIVE_KINDS, SensitiveAction
from tulou.data.clean.record import Rewrite
from tulou.data.clean.sensitive.guard import Guard, build_guard, built_in, scan
from tulou.data.clean.sensitive.kinds import rule_name
from tulou.data.clean.sensitive.tokens import Tokens, marks, reveal

__all__ = ["Guard", "build_guard", "find_sensitive", "kinds_to_drop", "protect", "redact", "reveal", "rule_name"]

_MARKS = marks(SENSITIVE_KINDS)
_BY_DEFAULT = Guard((), {}, None)


def find_sensitive(text: str, kinds: Collection[str] = tuple(SENSITIVE_KINDS)) -> list[tuple[int, int, str]]:
    """Places (start, end, kind) of built-in kinds in order, none overlapping."""
    return [finding[:3] for finding in scan(text, built_in(frozenset(kinds)), _MARKS)]


def redact(text: str) -> str:
    """`text` with everything masked that is masked by default: for what people look at."""
    return _BY_DEFAULT.redact(text)


def protect(actions: Mapping[str, SensitiveAction], token_key: bytes | None) -> Rewrite:
    """The rewriting that masks or tokenizes the built-in kinds named in `actions`; others are kept."""
    return Guard((), actions, Tokens(token_key) if token_key else None).rewrite


def kinds_to_drop(actions: Mapping[str, SensitiveAction]) -> set[str]:
    return {kind for kind, action in actions.items() if action == "drop"}
