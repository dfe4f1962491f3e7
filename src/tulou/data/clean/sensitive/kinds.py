"""The two names of a kind of sensitive data: the short one of tulou.toml and of masks, and Presidio's for the rule."""

from __future__ import annotations

from tulou.core.settings import SENSITIVE_KINDS

_SHORT_NAMES = {entity: kind for kind, (entity, _) in SENSITIVE_KINDS.items()}
MASKED_KINDS = frozenset(kind for kind, (_, action) in SENSITIVE_KINDS.items() if action != "keep")


def short_name(name: str) -> str:
    """`phone` for PHONE_NUMBER; a kind that is not built in keeps its name."""
    return _SHORT_NAMES.get(name, name)


def mark_of(rule: str) -> str:
    """What masks and tokens of a rule begin with: `[phone` for PHONE_NUMBER."""
    return f"[{short_name(rule)}"


def rule_name(kind: str) -> str:
    """`PHONE_NUMBER` for phone; a kind that is not built in keeps its name."""
    return SENSITIVE_KINDS[kind][0] if kind in SENSITIVE_KINDS else kind
