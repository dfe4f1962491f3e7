from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from tests.model.test_judging import LABELS, row, says_first_word

from tulou.model.card import write_card
from tulou.model.card.parts import table
from tulou.model.card.pictures import confusion, curves, reliability
from tulou.model.evaluate import report_classifier
from tulou.model.passport.diversity import diversity
from tulou.model.passport.gap import curve
from tulou.model.passport.overlap import overlap

VOID = {"meta", "br", "img", "input", "link", "hr"}
ALONE = {"rect", "line", "circle", "path"}


class Checked(HTMLParser):
    """Whether every element is closed, and what could be loaded or run."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [str(value) for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(html: str) -> Checked:
    parser = Checked()
    parser.feed(html)
    assert parser.open == []
    return parser


def a_card() -> dict[str, Any]:
    rows = [row(number, LABELS[number % 3], "zh" if number % 2 else "en") for number in range(1, 31)]
    rows[2]["text"] = "invoice <script>alert(1)</script> 3"
    rows[2]["label"] = "invoice"
    texts = [each["text"] for each in rows]
    history = [{"step": n, "loss": 1 / n, "validation_loss": 0.5, "validation_accuracy": 0.9} for n in (1, 2)]
    passport = {
        "curve": {**curve({"history": history}), "smoothed_floor": 0.63}, "stage": "train.intents",
        "before": [{"stage": "pretrain.intents", **curve({"history": history, "best_step": 1})}],
        "gap": None, "memorisation": None, "diversity": diversity(texts),
        "contamination": {"exam": overlap(["refund 1"], [("1", "refund 1")])}, "warnings": ["look <here>"],
    }  # fmt: skip
    return {
        "name": "intents", "task": "classify", "base": "minilm", "fingerprint": "abc", "passport": passport,
        "results": report_classifier(says_first_word, LABELS, rows),
        "compression": {
            "table": [
                {"precision": "fp32", "size_bytes": 9e7, "latency_ms_p50": 7.0, "accuracy": 0.95},
                {"precision": "int8", "size_bytes": 3e7, "latency_ms_p50": 2.0, "accuracy": 0.90},
            ],
            "chosen": "fp32", "reason": "fp32 serves", "front": ["fp32", "int8"], "max_accuracy_loss": 0.005,
            "left_out": [{"precision": "int4", "reason": "int4 is for <chat> models"}],
        },
        "parity": [{"precision": "fp32", "probes": 3, "logit_difference": 1e-6, "same_labels": 1.0,
                    "mean_cosine": 1.0}],
        "data": {
            "splits": {"train": 3}, "languages": {"zh": 3}, "fingerprints": {"train.intents": "f"},
            "sources": {"tickets": {"in": 4, "kept": 3, "fingerprint": "f"}},
            "cleaning": {"records": 3, "touched": 1, "rules": {"markup.tags": 1}},
        },
        "budget": [{"stage": "train.intents", "predicted_s": 10.0, "seconds": 12.0, "deviation": 0.2,
                    "predicted_bytes": 1e9, "peak_rss_bytes": 2e9}],
        "settings": {"model": {}},
    }  # fmt: skip


def test_a_card_is_one_page_that_loads_and_runs_nothing(tmp_path: Path) -> None:
    write_card(tmp_path, a_card())
    html = (tmp_path / "card.html").read_text()
    page = checked(html)
    assert "script" not in page.tags
    assert page.loaded == []
    assert "svg" in page.tags
    assert "alert(1)" in html, "the row it was wrong about is shown"
    assert "look &lt;here&gt;" in html
    assert 'class="pareto"' in html
    assert "<b>int4</b>: int4 is for &lt;chat&gt; models" in html
    assert "Pretraining" in html
    assert "kept: 1<" in html
    assert "cannot fall below 0.63" in html
    assert "macro_f1" not in html
    assert "+20%" in html, "the plan beside the truth"
    assert json.loads((tmp_path / "card.json").read_text())["results"]["accuracy"] < 1


def test_columns_of_sentences_get_room_and_names_stay_on_one_line() -> None:
    html = table("", ["text", "label", ">times"], [["a sentence that is longer than a name or an id", "x", 1]])
    assert '<th class="long">text</th><th>label</th><th class="n">times</th>' in html
    assert html.startswith('<div class="scroll"><table>')


def test_what_is_not_known_is_left_out(tmp_path: Path) -> None:
    write_card(tmp_path, {"name": "encoder", "task": "embed", "base": "minilm", "fingerprint": "f"})
    assert checked((tmp_path / "card.html").read_text()).tags >= {"h1"}
    assert "<section" not in (tmp_path / "card.html").read_text()


def test_a_card_of_search_shows_its_figures(tmp_path: Path) -> None:
    from tulou.model.evaluate import Pair, evaluate_retrieval

    found = evaluate_retrieval([Pair("a?", frozenset({"a"})), Pair("b?", frozenset({"b"}), "zh")], lambda _: ["a"])
    write_card(
        tmp_path,
        {
            "name": "e", "task": "rerank", "base": "b", "fingerprint": "f", "results": {"retrieval": found},
            "parity": [{"precision": "fp32", "probes": 3, "logit_difference": 1e-6, "same_engine": 1.0}],
        },
    )  # fmt: skip
    html = (tmp_path / "card.html").read_text()
    assert "hit@1" in html
    assert "b?" in html, "the question it missed"


@pytest.mark.parametrize(
    "picture",
    [
        reliability([{"from": 0.9, "to": 1.0, "rows": 3, "confidence": 0.95, "accuracy": 1.0}]),
        confusion({"labels": ["a", "<b>"], "counts": [[3, 1], [0, 2]]}),
        curves([{"step": 1, "loss": 0.0}], {"loss": "loss"}),
        curves([{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}], {"loss": "loss", "validation_loss": "v"}),
    ],
)
def test_pictures_are_whole_whatever_the_figures(picture: str) -> None:
    checked(picture)
    assert "nan" not in picture.lower()
    assert "<b>" not in picture
