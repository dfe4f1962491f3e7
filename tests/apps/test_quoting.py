from dataclasses import replace

import pytest
from tests.apps.bookshop import passage

from tulou.apps.support.quoting import QUOTE_CHARS, addresses, quote, sentences_of
from tulou.core.types import Hit, Language, Passage


def hit(found: Passage, score: float = 1.0) -> Hit:
    return Hit(found, score, 0.5, 0.0)


@pytest.mark.parametrize(
    ("question", "topic", "language", "text"),
    [
        ("可以货到付款吗", "payment", "zh", "我们支持微信支付、支付宝、银联卡和礼品卡，不支持货到付款。"),
        ("积分怎么抵钱", "membership", "zh", "每消费 1 元积 1 分，100 分抵 1 元。"),
        ("What discount do gold members have?", "membership", "en", "Gold members get 8% off everything."),
        ("Is cash possible?", "payment", "en", "Cash on delivery is not available."),
        ("R6 充一次电能用几周", "reader", "zh", "续航：一次充电可用 4 周"),
        ("What's the battery life of the Inkpage reader?", "reader", "en", "Battery: 4 weeks on one charge"),
    ],
)
def test_the_sentence_that_answers_is_quoted(question: str, topic: str, language: Language, text: str) -> None:
    quoted = quote(question, language, [hit(passage(topic, language))])
    assert quoted is not None
    assert quoted.text == text


def test_a_quote_stands_in_the_passage_word_for_word() -> None:
    source = passage("delivery", "zh")
    quoted = quote("偏远地区几天送到，台风会延误吗", "zh", [hit(source)])
    assert quoted is not None
    assert quoted.text in source.text


def test_the_language_of_the_question_comes_first_even_from_a_lower_hit() -> None:
    quoted = quote("可以货到付款吗", "zh", [hit(passage("payment", "en"), 2.0), hit(passage("payment", "zh"))])
    assert quoted is not None
    assert quoted.passage.language == "zh"


def test_the_other_language_is_quoted_where_there_is_no_passage_in_the_own() -> None:
    quoted = quote("Where is the Chengdu store?", "en", [hit(passage("store", "zh"))])
    assert quoted is not None
    assert quoted.passage.id == "store.zh"


def test_a_question_in_a_passage_is_not_quoted_but_its_answer_is() -> None:
    faq = replace(
        passage("returns", "zh"), text="问：电池保修吗？\n答：电池保修 12 个月。\n屏幕能换吗？屏幕可以换，收费 200 元。"
    )
    assert sentences_of(faq) == ["电池保修 12 个月。", "屏幕能换吗？", "屏幕可以换，收费 200 元。"]
    quoted = quote("换屏幕多少钱", "zh", [hit(faq)])
    assert quoted is not None
    assert quoted.text == "屏幕可以换，收费 200 元。"


def test_markup_and_a_repeated_heading_are_not_shown() -> None:
    noisy = replace(
        passage("gift", "en"), text="## Wrapping and cards\n- **Gift wrapping** costs `¥8`.\n1. It takes a day."
    )
    assert sentences_of(noisy) == ["Gift wrapping costs ¥8.", "It takes a day."]


def test_what_a_colon_announces_is_quoted_with_it() -> None:
    listed = replace(passage("payment", "en"), text="You can pay with:\n- Alipay\n- a gift card")
    quoted = quote("How can I pay?", "en", [hit(listed)])
    assert quoted is not None
    assert quoted.text == "You can pay with:\nAlipay\na gift card"


def test_a_quote_stays_short() -> None:
    long = replace(
        passage("delivery", "en"), text=" ".join(f"Delivery number {n} takes {n} days or so." for n in range(60))
    )
    quoted = quote("How long does delivery take?", "en", [hit(long)])
    assert quoted is not None
    assert len(quoted.text) <= QUOTE_CHARS["en"]


def test_there_is_nothing_to_quote_without_passages_or_text() -> None:
    assert quote("?", "zh", []) is None
    assert quote("?", "zh", [hit(replace(passage("gift", "zh"), text=" \n"))]) is None


def test_an_answer_must_say_as_much_about_the_question_as_the_quote() -> None:
    hits = [hit(passage("delivery", "zh"))]
    assert addresses("普通快递 3 到 5 天送达。", "快递几天能送达", "zh", hits)
    assert not addresses("付款后出库。", "快递几天能送达", "zh", hits)  # true, but it is no number of days


def test_a_row_is_quoted_whole_where_its_best_cell_only_names_the_thing() -> None:
    cells = "product: cordless lamp\nmodel: L1\nprice in yuan: 129\ncolours: white"
    row = Passage("p", "d", "knowledge", "catalogue.csv", "row=1", "cordless lamp", "", cells, "en")
    quoted = quote("How much is the cordless lamp?", "en", [Hit(row, 1.0, 1.0, 0.5)])
    assert quoted is not None
    assert quoted.text == cells
