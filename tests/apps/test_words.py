import pytest

from tulou.apps import words
from tulou.apps.quantities import is_money, is_time


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("七天内", {("7", "天")}),
        ("3-5个工作日", {("3", "工作日"), ("5", "工作日")}),
        ("3 到 5 天", {("3", "天"), ("5", "天")}),
        ("一百二十元", {("120", "元")}),
        ("二〇二四年", {("2024", "年")}),
        ("¥1,299.00", {("1299", "元")}),
        ("$299", {("299", "$")}),
        ("seven days", {("7", "day")}),
        ("within 2 working days", {("2", "work")}),
        ("from 9:00 to 21:00", {("9:00", ""), ("21:00", "")}),
        ("打 92 折", {("92", "折")}),
        ("8% off", {("8", "%")}),
        ("一个账号", set()),
        ("the R6 reader, IP67", set()),
    ],
)
def test_numbers_are_read_with_their_unit(text: str, found: set[tuple[str, str]]) -> None:
    assert words.quantities(text) == found


def test_spelling_of_a_number_does_not_matter() -> None:
    assert words.quantities("十五天") == words.quantities("１５日")
    assert words.quantities("fifteen days") == words.quantities("15 days")


def test_time_and_money_are_told_apart() -> None:
    assert all(map(is_time, words.quantities("3 天，9:00")))
    assert not any(map(is_time, words.quantities("¥30")))
    assert all(map(is_money, words.quantities("¥30，40 元")))


def test_grammar_is_not_content() -> None:
    assert words.terms("您可以在七天内退货") == ("退货",)
    assert words.terms("You can return it within 7 days") == ("return", "within", "day")


def test_a_question_is_about_its_content_words_only() -> None:
    assert words.question_terms("请问退货怎么办啊？") == ("退货",)


@pytest.mark.parametrize(
    ("text", "count"),
    [("不支持退货", 1), ("支持退货", 0), ("We cannot and do not ship", 2), ("don't", 1), ("It's unknown", 0)],
)
def test_negations_are_counted(text: str, count: int) -> None:
    assert words.negations(words.fold(text)) == count


def test_clauses_end_at_punctuation_but_not_inside_numbers() -> None:
    assert [clause.text for clause in words.clauses("Open 9:00-18:00, price 1,299.50 yuan. Call us; we answer.")] == [
        "open 9:00-18:00",
        "price 1,299.50 yuan",
        "call us",
        "we answer",
    ]


def test_what_a_semicolon_joins_is_one_sentence() -> None:
    assert words.sentences("出库前可以改；出库后不能改。谢谢。") == ["出库前可以改；出库后不能改。", "谢谢。"]
