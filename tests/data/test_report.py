from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from tulou.data.report import rule_title, write_report

COLLECTED: dict[str, Any] = {
    "files": 3,
    "documents": 10,
    "by_media_type": {"text/csv": 10},
    "failed": [{"uri": "data/<bad>.pdf", "reason": "is damaged"}],
    "bytes": 100,
}
CLEANED: dict[str, Any] = {
    "in": 10,
    "kept": 7,
    "dropped": {"exact_duplicate.same_text": 2, "empty.no_text": 1},
    "changed": {"sensitive.PHONE_NUMBER": 4},
    "examples": [{"step": "markup", "rule": "tags", "before": "<script>alert(1)</script>", "after": "plain"}],
}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def test_page_needs_nothing_else_and_escapes_what_customers_wrote(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", tmp_path / "report.json", {"tickets": (COLLECTED, CLEANED)})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    tags = Tags()
    tags.feed(page)
    assert "svg" in tags.seen
    assert not {"script", "link", "img", "iframe"} & set(tags.seen)
    assert not re.search(r"https?://", page)
    assert "&lt;script&gt;" in page
    assert "data/&lt;bad&gt;.pdf" in page


def test_page_and_json_show_the_counts(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", tmp_path / "report.json", {"tickets": (COLLECTED, CLEANED)})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "完全重复 · exact copies" in page
    assert "kept 7 (70.0%)" in page
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["tickets"]["clean"]["kept"] == 7


def test_source_of_which_nothing_was_kept_is_shown_too(tmp_path: Path) -> None:
    nothing = {"in": 0, "kept": 0, "dropped": {}, "changed": {}, "examples": []}
    write_report(tmp_path / "report.html", tmp_path / "report.json", {"empty": (COLLECTED, nothing)})
    assert "<h2>empty</h2>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_every_rule_has_words_in_both_languages() -> None:
    assert rule_title("sensitive.PHONE_NUMBER", "zh") == "电话号码"
    assert rule_title("sensitive.PHONE_NUMBER") == "phone numbers"
    assert rule_title("unknown.rule") == "unknown.rule"
