from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulou.core.progress import Silent
from tulou.core.settings import SENSITIVE_KINDS, CleanSettings
from tulou.data.clean import clean
from tulou.data.report import rule_title, write_report
from tulou.data.report.flow import WIDE, flow_picture
from tulou.data.report.labels import RULES
from tulou.data.report.page import changed_parts

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


SOURCE = {"collect": COLLECTED, "clean": CLEANED, "seconds": {"collect": 0.1, "clean": 2.0}}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)


def written(folder: Path, sources: dict[str, Any]) -> str:
    write_report(folder / "report.html", folder / "report.json", sources)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_page_needs_nothing_else_and_escapes_what_customers_wrote(tmp_path: Path) -> None:
    shown = written(tmp_path, {'tickets"><script>': SOURCE})
    tags = Tags()
    tags.feed(shown)
    assert "svg" in tags.seen
    assert not {"script", "link", "img", "iframe"} & set(tags.seen)
    assert not re.search(r"https?://|@import|url\(", shown)
    assert "&lt;script&gt;" in shown
    assert "data/&lt;bad&gt;.pdf" in shown


def test_page_and_json_show_the_counts(tmp_path: Path) -> None:
    shown = written(tmp_path, {"tickets": SOURCE})
    assert "完全重复 · exact copies" in shown
    assert "7 (70.0%)" in shown
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["tickets"]["clean"]["kept"] == 7


def test_source_of_which_nothing_came_is_shown_too(tmp_path: Path) -> None:
    nothing = {"in": 0, "kept": 0, "dropped": {}, "changed": {}, "examples": []}
    shown = written(tmp_path, {"empty": {"collect": {**COLLECTED, "by_media_type": {}}, "clean": nothing}})
    assert "<h2>empty</h2>" in shown


def test_report_on_what_cleaning_really_returns(write_documents: Callable[..., Path], tmp_path: Path) -> None:
    texts = ["<p>Where is my parcel today?</p>", "Where is my parcel today?", "Call me at 13812345678 please", "x", " "]
    cleaned = clean(write_documents([{"text": text} for text in texts]), tmp_path / "out", CleanSettings(), Silent())
    shown = written(tmp_path, {"tickets": {**SOURCE, "clean": cleaned}})
    for words in (
        "网页标签 · HTML tags",
        "过短 · too short",
        "<mark>[phone]</mark>",
        "英文 · English",
        "指纹 · fingerprints",
    ):
        assert words in shown
    assert "13812345678" not in shown
    assert "<mark>&lt;p&gt;</mark>Where" in shown


def test_why_a_record_was_dropped_and_what_was_only_reported_are_shown(tmp_path: Path) -> None:
    cleaned = {
        **CLEANED,
        "dropped": {"quality.language": 1, "sensitive.CN_ID_CARD": 1},
        "changed": {"sensitive.CN_ID_CARD": 1},
        "reported": {"spelling.en": 1},
        "examples": [
            {"step": "quality", "rule": "language", "before": "Добрый день", "after": "other"},
            {"step": "sensitive", "rule": "CN_ID_CARD", "before": "dropped [id_card]", "after": None},
            {"step": "sensitive", "rule": "CN_ID_CARD", "before": "masked [id_card]", "after": "masked [id_card]"},
            {"step": "spelling", "rule": "en", "before": "the parcle", "after": "the parcel"},
        ],
    }
    shown = written(tmp_path, {"tickets": {**SOURCE, "clean": cleaned}})
    assert "because of: <code>other</code></b>Добрый день" in shown
    assert shown.count("dropped [id_card]") == 1
    assert shown.count("masked <mark>[id_card]</mark>") == 1
    assert "What was reported and left as it was" in shown


def test_characters_that_cannot_be_seen_are_shown_by_their_numbers(tmp_path: Path) -> None:
    example = {"step": "characters", "rule": "invisible", "before": "pay\u202eabc\u200b", "after": "payabc"}
    counts = {"characters.invisible": 1}
    shown = written(tmp_path, {"t": {**SOURCE, "clean": {**CLEANED, "changed": counts, "examples": [example]}}})
    assert "⟨202E⟩" in shown
    assert "\u202e" not in shown
    assert "\u200b" not in shown


def test_every_rule_has_words_in_both_languages_and_an_unknown_one_its_name(tmp_path: Path) -> None:
    assert rule_title("sensitive.PHONE_NUMBER", "zh") == "电话号码"
    assert rule_title("sensitive.PHONE_NUMBER") == "phone numbers"
    assert rule_title("unknown.rule") == "unknown.rule"
    assert {f"sensitive.{entity}" for entity, _ in SENSITIVE_KINDS.values()} <= RULES.keys()
    shown = written(tmp_path, {"t": {**SOURCE, "clean": {**CLEANED, "changed": {"sensitive.<EMPLOYEE>": 3}}}})
    assert "sensitive.&lt;EMPLOYEE&gt;" in shown


@pytest.mark.parametrize(
    ("before", "after", "marked"),
    [
        ("tea at 10月１日 sharp", "tea at 10月1日 sharp", ["１", "1"]),
        ("the same", "the same", []),
        ("abc", "", ["abc"]),
        ("the parcle came late", "the parcel came late", ["le", "el"]),
    ],
)
def test_what_changed_is_marked(before: str, after: str, marked: list[str]) -> None:
    left, right = changed_parts(before, after)
    assert "".join(text for text, _ in left) == before
    assert "".join(text for text, _ in right) == after
    assert [text for text, is_changed in (*left, *right) if is_changed] == marked


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_character_is_lost_in_marking(before: str, after: str) -> None:
    left, right = changed_parts(before, after)
    assert ("".join(text for text, _ in left), "".join(text for text, _ in right)) == (before, after)


def test_bands_of_the_flow_never_cross_and_are_as_thick_as_their_counts() -> None:
    dropped = [("first", 20), ("second", 10)]
    picture = flow_picture({"a": 60, "b": 40}, 70, dropped, WIDE)
    ends = [float(y) for y in re.findall(r'class="post (?:kept|dropped)" x="[\d.]+" y="([\d.]+)"', picture)]
    thick = [float(h) for h in re.findall(r'class="post (?:kept|dropped)".*?height="([\d.]+)"', picture)]
    assert ends == sorted(ends)
    assert thick == [WIDE.height * share for share in (0.7, 0.1, 0.2)]
    assert picture.index("second") < picture.index("first")  # the first to leave ends lowest
