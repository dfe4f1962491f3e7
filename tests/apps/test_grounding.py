import pytest
from tests.apps.bookshop import passage, passages

from tulou.apps.support.grounding import flaw_of, judge_sentence, repeats
from tulou.core.prompt import NO_ANSWER


@pytest.mark.parametrize(
    ("topic", "language", "sentence"),
    [
        ("returns", "zh", "自签收之日起 10 天内可以无理由退货。"),
        ("returns", "zh", "自签收之日起十天内可以无理由退货。"),
        ("returns", "zh", "退货运费由买家承担，质量问题由我们承担。"),
        ("delivery", "zh", "普通快递 3 到 5 天送达。"),
        ("payment", "zh", "不支持货到付款。"),
        ("delivery", "en", "Standard delivery takes 3 to 5 days."),
        ("delivery", "en", "Orders leave our warehouse within 24 hours of payment."),
        ("payment", "en", "Cash on delivery is not available."),
        ("gift", "en", "Gift wrapping costs ¥8 an item."),
        ("membership", "en", "Gold members get 8% off everything."),
    ],
)
def test_a_sentence_that_a_passage_says_may_be_said(topic: str, language: str, sentence: str) -> None:
    verdict = judge_sentence(sentence, "zh" if language == "zh" else "en", passages())
    assert verdict.is_grounded, verdict.reason
    assert verdict.passage == passage(topic, language)


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("自签收之日起 30 天内可以无理由退货。", "numbers no passage has"),
        ("普通快递 3 到 5 小时送达。", "numbers no passage has"),
        ("普通快递 7 天送达。", "different places"),  # 3 to 5 days; the 7 belongs to remote areas
        ("我们支持货到付款。", "yes where the passage says no"),
        ("电子书支持退货。", "yes where the passage says no"),
        ("自签收之日起不可以无理由退货。", "words no passage has"),
        ("我们支持微信支付和比特币。", "words no passage has"),
        ("买家由退货承担运费。", "another order"),
        ("由买家承担，质量问题由我们承担。", "begins in the middle"),
        ("退货政策期限。", "nothing beyond the heading"),
        ("退货没有期限政策。", "words no passage has"),
        ("Standard delivery takes 9 days.", "numbers no passage has"),
        ("Delivery is free for orders of ¥68 or more to Mars.", "words no passage has"),
        ("Cash on delivery is available.", "yes where the passage says no"),
        ("You can return a book within 10 days, gold members get 8% off everything.", "no passage has"),
    ],
)
def test_a_sentence_that_no_passage_says_is_refused(sentence: str, reason: str) -> None:
    language = "zh" if "一" <= sentence[0] <= "鿿" else "en"
    verdicts = [judge_sentence(sentence, language, [each]) for each in passages() if each.language == language]  # type: ignore[arg-type]
    assert not any(verdict.is_grounded for verdict in verdicts)
    assert any(reason in verdict.reason for verdict in verdicts)


@pytest.mark.parametrize(
    ("sentence", "flaw"),
    [
        ("自签收之日起 10 天内可以", "complete"),
        ("You can return a book within", "complete"),
        ("退货退货退货退货运费。", "repeats"),
        ("You can return a book, you can return a book.", "repeats"),
        ("The the book can be returned.", "repeats"),
        ("book can be returned within 10 days.", "begin"),
        ("，可以无理由退货。", "begin"),
        ("Can I return a book?", "question"),
        ("微信支付（支付宝可以付款。", "bracket"),
        ("好的。", "nothing"),
        ("Yes.", "nothing"),
        ("退货\ufffd运费由买家承担。", "begin"),
    ],
)
def test_a_broken_sentence_is_refused_whatever_it_says(sentence: str, flaw: str) -> None:
    assert flaw in (flaw_of(sentence) or "")


@pytest.mark.parametrize(
    "sentence",
    ["3 个月和 6 个月分期免手续费。", "谢谢您的来信，我们会尽快处理。", "Bye bye is not a long long way to say it."],
)
def test_ordinary_repetition_is_not_a_flaw_of_chinese(sentence: str) -> None:
    assert repeats(sentence) == sentence.startswith("Bye")


def test_the_answer_is_in_the_language_of_the_question() -> None:
    assert not judge_sentence("Cash on delivery is not available.", "zh", passages()).is_grounded
    assert not judge_sentence("不支持货到付款。", "en", passages()).is_grounded


def test_a_model_that_says_it_does_not_know_is_taken_at_its_word() -> None:
    assert judge_sentence(NO_ANSWER["zh"], "zh", passages()).reason == "the model found no answer"
    assert judge_sentence(NO_ANSWER["en"], "en", passages()).reason == "the model found no answer"


def test_nothing_is_grounded_in_nothing() -> None:
    assert not judge_sentence("不支持货到付款。", "zh", []).is_grounded
