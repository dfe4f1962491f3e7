"""The model card: what a model was made of, how good it is for whom, and what it is bad at. JSON, and one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tulou.core.stage import write_json
from tulou.model.card.page import page

HTML, JSON = "card.html", "card.json"

__all__ = ["HTML", "JSON", "page", "write_card"]


def write_card(out: Path, card: Mapping[str, Any]) -> None:
    """Write `card.json` and `card.html`. `card` needs `name`, `task`, `base`, `fingerprint`; others may lack."""
    write_json(out / JSON, card)
    (out / HTML).write_text(page(card), encoding="utf-8")
