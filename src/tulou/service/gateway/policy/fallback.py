"""Which model answers when the one that was asked for cannot: a chain of names, from the settings.

Better a smaller model's answer than none; the answer says which model gave it. Followed only before the first word.
"""

from __future__ import annotations

from collections.abc import Mapping


def chain(model: str, fallback: Mapping[str, str]) -> list[str]:
    """The model, the one to ask instead, the one instead of that; ends where it would go round."""
    names = [model]
    while (name := fallback.get(names[-1])) is not None and name not in names:
        names.append(name)
    return names
