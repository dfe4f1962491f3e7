from __future__ import annotations

from pathlib import Path

import pytest
from tests.model.test_classify import WORDS, settings, write_rows

from tulou.core.errors import ModelError
from tulou.core.progress import Silent
from tulou.model.explain import attribute, explanation_page, highlighted, nearest
from tulou.model.finetune.classify import train_classifier


@pytest.fixture(scope="module")
def trained(bert_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    home = tmp_path_factory.mktemp("explained")
    rows = write_rows(home / "rows", WORDS)
    train_classifier(rows, home / "out", home, settings(bert_folder, 8), home, Silent())
    return home / "out", rows


PASSAGE = {
    "score": 0.1764, "cosine": 0.71, "lexical": 1.0, "heading": "Head", "title": "", "uri": "a.md",
    "text": "It stays <b> for 30 days after delivery.",
}  # fmt: skip


def test_scores_add_up_to_the_difference_of_logits(trained: tuple[Path, Path]) -> None:
    found = attribute(trained[0], "hello 退款 7")
    total = sum(token.score for token in found.tokens)
    assert total - (found.logit - found.baseline_logit) == pytest.approx(found.completeness_error, abs=1e-4)
    assert found.relative_error < 0.1
    assert found.label == "refund"
    assert found.probability == pytest.approx(found.labels[0][1])


def test_the_words_that_tell_the_label_get_the_highest_scores(trained: tuple[Path, Path]) -> None:
    found = attribute(trained[0], "hello 退款 7")
    assert all(
        found.text[token.start : token.end] == token.text for token in found.tokens if token.text in ("退", "款")
    )
    assert sum(t.score for t in found.tokens if t.text in ("退", "款")) > sum(
        t.score for t in found.tokens if t.text not in ("退", "款")
    )


def test_another_label_can_be_asked_after(trained: tuple[Path, Path]) -> None:
    other = attribute(trained[0], "hello 退款 7", "invoice")
    assert other.label == "invoice"
    assert other.probability < 0.5
    with pytest.raises(ModelError, match="no label 'x'; it knows delivery, invoice, refund"):
        attribute(trained[0], "hello", "x")


def test_what_has_no_tokens_or_no_head_is_refused(trained: tuple[Path, Path], bert_folder: Path) -> None:
    with pytest.raises(ModelError, match="has no tokens"):
        attribute(trained[0], " ")
    with pytest.raises(ModelError, match="holds no classifier"):
        attribute(bert_folder, "hello")


def test_nearest_rows_are_of_the_training_split_and_lead_to_records(trained: tuple[Path, Path], tmp_path: Path) -> None:
    cache = tmp_path / "vectors" / "x.npy"
    found = nearest(*trained, "hello 退款 7", 5, cache)
    assert len(found) == 5
    assert [each.cosine for each in found] == sorted((each.cosine for each in found), reverse=True)
    assert found[0].label == "refund"
    assert all(int(each.id) % 5 for each in found), "rows of the validation split are no training rows"
    assert cache.is_file()
    assert [each.id for each in nearest(*trained, "hello 退款 7", 5, cache)] == [each.id for each in found]


def test_the_page_escapes_what_people_wrote() -> None:
    tokens = [{"start": 0, "end": 3, "score": 1.0}, {"start": 4, "end": 7, "score": -0.5}]
    shown = highlighted("<b> bad", tokens)
    assert "&lt;b&gt;" in shown
    assert 'class="against"' in shown
    page = explanation_page({"text": "<why>", "passages": [PASSAGE]})
    assert '<td class="long">Head: It stays &lt;b&gt; for 30 days after delivery.</td>' in page
    assert "0.1764" in page
    assert '<p class="text">&lt;why&gt;</p>' in page
    assert "no &lt;index&gt; yet" in explanation_page({"passages": [], "no_passages_because": "no <index> yet"})
    page = explanation_page({"neighbours": [{"cosine": 1, "label": "<i>", "text": "<u>", "document_id": "d"}]})
    assert "<u>" not in page
