"""The shop's documents: Markdown with facts in braces, written out in the format that each one's first line names."""

from __future__ import annotations

import tomllib
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from tulou.core.errors import MissingExtraError
from tulou.core.progress import Progress
from tulou.templates.markup import parse
from tulou.templates.writers import WRITERS
from tulou.templates.writers.unavailable import UnavailableError
from tulou.templates.written import Written

FOLDER = "data/knowledge"

_WRITE = "write:"


def write_knowledge(texts: Path, folder: Path, progress: Progress) -> list[Written]:
    """Write every document of `texts/knowledge`; one that this machine cannot write is left out with the reason."""
    facts = tomllib.loads((texts / "facts.toml").read_text(encoding="utf-8"))
    sources = sorted((texts / "knowledge").rglob("*.md"))
    written = []
    with progress.bar("Writing the shop's documents", len(sources), "documents") as bar:
        for source in sources:
            name, markdown = render(source.read_text(encoding="utf-8"), facts)
            written.append(_write_document(f"{FOLDER}/{name}", markdown, folder))
            bar.advance()
    return written


def render(source: str, facts: dict[str, object]) -> tuple[str, str]:
    """The path that the first line `write: PATH` asks for, and the text after it with facts filled in."""
    first, _, template = source.partition("\n")
    if not first.startswith(_WRITE):
        raise ValueError(f"a document starts with '{_WRITE} PATH', not {first!r}")
    environment = Environment(undefined=StrictUndefined, trim_blocks=True, autoescape=False)  # noqa: S701  plain text
    return first.removeprefix(_WRITE).strip(), environment.from_string(template).render(facts)


def _write_document(name: str, markdown: str, folder: Path) -> Written:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        WRITERS[path.suffix](parse(markdown), path)
    except (UnavailableError, MissingExtraError) as err:
        return Written(path=name, skipped=str(err))
    return Written(path=name, skipped=None)
