"""云雀 / Yunque, an online shop of our invention: what it knows, what its customers write, and an exam about it.

Everything it says is text under `texts/`, with prices, days and limits filled in from the one table `texts/facts.toml`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tulou.core.progress import Progress
from tulou.core.settings import FILE_NAME
from tulou.templates.shop.knowledge import write_knowledge
from tulou.templates.shop.tickets import write_tickets
from tulou.templates.written import Written

TEXTS = Path(__file__).parent / "texts"

_COPIED = (FILE_NAME, "exam/questions.jsonl", "exam/off_topic.jsonl")


def write(folder: Path, progress: Progress) -> list[Written]:
    return [
        *(_copy(name, folder) for name in _COPIED),
        *write_knowledge(TEXTS, folder, progress),
        *write_tickets(TEXTS, folder, progress),
    ]


def _copy(name: str, folder: Path) -> Written:
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(TEXTS / name, target)
    return Written(path=name, skipped=None)
