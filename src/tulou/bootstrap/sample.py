"""`tulou init`: a sample business with the applications' default content templates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tulou.core.progress import Progress


def write_project(template: str, folder: Path, progress: Progress) -> list[dict[str, Any]]:
    """Write the sample business `template` to `folder`; returns `{"path", "skipped"}` for each file."""
    from tulou.apps.content.templates import DEFAULTS
    from tulou.templates import write_template

    written = write_template(template, folder, progress, content=sorted(DEFAULTS.iterdir()))
    return [dict(file) for file in written]
