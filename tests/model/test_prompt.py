from __future__ import annotations

from tulou.core.prompt import (
    MAX_CONTEXT_BYTES,
    NO_ANSWER,
    is_no_answer,
    question_in,
    support_messages,
)
from tulou.core.types import Passage


def passage(text: str, heading: str = "Returns") -> Passage:
    return Passage("p", "d", "knowledge", "returns.md", "", "Returns", heading, text, "en")


def test_prompt_names_the_passage_and_ends_with_the_question() -> None:
    system, user = support_messages("How long may I\n send it back?", [passage("Thirty days.")], "en")
    assert system.role == "system"
    assert user.content == "Documents:\n[Returns] Thirty days.\n\nQuestion: How long may I send it back?"


def test_prompt_speaks_the_language_of_the_question() -> None:
    system, user = support_messages("多久可以退货？", [passage("三十天。", "退货")], "zh")
    assert "客服" in system.content
    assert user.content.endswith("问题: 多久可以退货？")


def test_the_question_can_be_read_back() -> None:
    for question, language in (("多久可以退货？", "zh"), ("Is it: late?", "en")):
        assert question_in(support_messages(question, [passage("x")], language)[1].content) == question  # type: ignore[arg-type]


def test_passages_beyond_the_budget_are_left_out_and_the_first_is_cut_at_a_sentence() -> None:
    long = "一句很长的话，说明退货的办法。" * 100
    _, user = support_messages("?", [passage(long), passage("never reached")], "zh")
    context = user.content.split("\n\n")[0]
    assert len(context.encode()) <= MAX_CONTEXT_BYTES + len("资料:\n".encode())
    assert context.endswith("。")
    assert "never reached" not in context


def test_only_the_best_passages_are_put_before_the_model() -> None:
    _, user = support_messages("?", [passage("one"), passage("two"), passage("three")], "en")
    assert "two" in user.content
    assert "three" not in user.content


def test_a_passage_without_any_sentence_end_is_cut_between_characters() -> None:
    _, user = support_messages("?", [passage("字" * 2000, heading="")], "zh")
    assert 500 < user.content.count("字") < 534


def test_the_taught_refusal_is_recognised() -> None:
    assert is_no_answer(NO_ANSWER["zh"])
    assert is_no_answer("  the documents do not answer this question")
    assert not is_no_answer("The documents you need are an invoice and a card.")
