"""What the card's sections are made of: facts, tables and escaped text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufffe]+")

_SHORT = 32  # characters of a cell that stays on one line: a name, an id


def section(title: str, *parts: str, style: str = "") -> str:
    """A section, or nothing where none of its parts says anything."""
    body = "".join(parts)
    return f'<section class="{style}"><h2>{title}</h2>{body}</section>' if body else ""


def facts(pairs: Iterable[tuple[str, str | None]]) -> str:
    """Figures with their names; those that are not known are left out."""
    shown = "".join(f"<div><b>{safe(value)}</b><span>{name}</span></div>" for name, value in pairs if value is not None)
    return f'<div class="facts">{shown}</div>' if shown else ""


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table; columns that start with '>' hold figures. Nothing where there are no rows.

    Columns of sentences get room to be read in; where a screen is narrower than all columns, the table scrolls.
    """
    shown = [[str(cell) for cell in row] for row in rows]
    kinds = [
        "n" if column.startswith(">") else "long" if any(len(row[place]) > _SHORT for row in shown) else ""
        for place, column in enumerate(columns)
    ]
    styles = [f' class="{kind}"' if kind else "" for kind in kinds]
    body = "".join(
        f"<tr>{''.join(f'<td{style}>{safe(cell)}</td>' for style, cell in zip(styles, row, strict=True))}</tr>"
        for row in shown
    )
    if not body:
        return ""
    heads = [column.lstrip(">").replace(" ·", "&nbsp;·") for column in columns]
    head = "".join(f"<th{style}>{name}</th>" for style, name in zip(styles, heads, strict=True))
    heading = f"<h3>{title}</h3>" if title else ""
    return f'{heading}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def percent(share: float | None, digits: int = 1) -> str | None:
    return None if share is None else f"{share:.{digits}%}"


def number(value: float | None, digits: int = 3) -> str | None:
    return None if value is None else f"{value:,.{digits}f}"


def safe(text: object) -> str:
    """`text` for HTML; characters that cannot be seen, or turn the direction of writing, by their numbers."""
    return _UNSEEN.sub(lambda found: "".join(f"⟨{ord(char):02X}⟩" for char in found[0][:8]), escape(str(text)))
