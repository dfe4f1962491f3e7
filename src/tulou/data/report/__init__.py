"""What cleaning kept, changed and dropped, and why: one HTML page that needs nothing else, and the same as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tulou.data.report.labels import rule_title
from tulou.data.report.page import Source, page

__all__ = ["rule_title", "write_report"]


def write_report(out_html: Path, out_json: Path, sources: Mapping[str, Source]) -> None:
    """Write the page and the JSON for `sources`: name to {"collect", "clean": summaries, "seconds": {stage: s}}."""
    for path in (out_html, out_json):
        path.parent.mkdir(parents=True, exist_ok=True)
    out_json.write_text(json.dumps(sources, ensure_ascii=False, indent=1), encoding="utf-8")
    out_html.write_text(page(sources), encoding="utf-8")
