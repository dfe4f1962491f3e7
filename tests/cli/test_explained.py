from __future__ import annotations

import re
from typing import Any

import pytest
from rich.console import Console

from tulou.cli import explained

TEXT = "昨天下单的那件深蓝色羊毛大衣到现在还没有发货，请问我的包裹究竟什么时候才能够送到我家里来呢？" * 2
URI = "data/knowledge/配送与物流/云雀商城配送时效与运费的详细说明-2026.md"
RECORD = "3f9d1c0b7a6e5d4c3b2a19080706f5e4"


def found() -> dict[str, Any]:
    tokens = [{"text": char, "start": i, "end": i + 1, "score": 0.5 - i / 40} for i, char in enumerate(TEXT[:17])]
    told = {"text": TEXT, "label": "物流查询", "probability": 0.91, "labels": [["物流查询", 0.91], ["退货", 0.09]]}
    sums = {"logit": 3.0, "baseline_logit": 1.0, "completeness_error": 0.01, "relative_error": 0.005, "steps": 32}
    hit = {"score": 0.0328, "cosine": 0.71, "lexical": 12.5, "heading": "配送时效", "title": "", "text": TEXT}
    return {
        "model": "intents",
        "classification": {**told, **sums, "tokens": tokens},
        "neighbours": [{"cosine": 0.934, "label": "物流查询", "text": TEXT, "document_id": RECORD}],
        "is_champion": True,
        "passages": [{**hit, "uri": URI}],
    }


@pytest.mark.parametrize("width", [80, 120])
def test_chinese_folds_in_tables_and_nothing_is_lost(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=width, record=True, force_terminal=False)
    monkeypatch.setattr(explained, "stdout", console)
    explained.show_explanation(found())
    shown = console.export_text()
    assert "…" not in shown
    assert "8 of 17 tokens shown" in shown
    for figure in ("0.934", "0.0328", "0.71", "12.50", "+0.500"):
        assert re.search(rf"(?m)(^| ){re.escape(figure)}( |$)", shown), f"{figure} stays in one piece"
    joined = re.sub(r"\s", "", shown)
    assert sum(joined.count(char) for char in "羊") >= 3 * TEXT.count("羊"), "the text, the row and the passage"
    for text in (RECORD, URI):
        assert all(shown.count(char) >= text.count(char) for char in set(text))
