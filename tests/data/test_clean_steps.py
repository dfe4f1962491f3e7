"""Each cleaning rule on its own."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tulou.core.errors import SettingsError
from tulou.core.settings import CleanSettings
from tulou.data.clean.characters import collapse_space, fold_characters
from tulou.data.clean.encoding import repair
from tulou.data.clean.markup import strip_markup
from tulou.data.clean.quality import advertising, quality
from tulou.data.clean.sensitive import find_sensitive, protect, redact
from tulou.data.kernels.survey import survey_one

CHINESE = ["我的订单还没发货，请帮忙看看", "你们的耳机多少钱？", "订单 YQ-123 的发票"]


@pytest.mark.parametrize("text", [*CHINESE, "Where’s my order — it’s late", "café crème"])
@pytest.mark.parametrize(("written", "read"), [("utf-8", "latin-1"), ("utf-8", "cp1252")])
def test_utf8_read_as_latin1_is_undone(text: str, written: str, read: str) -> None:
    try:
        damaged = text.encode(written).decode(read)
    except UnicodeDecodeError:
        pytest.skip("these bytes have no meaning there")
    assert repair(damaged) == (text, ["utf8_as_latin1"])


@pytest.mark.parametrize("text", [*CHINESE, "Where’s my order"])
def test_gbk_read_as_latin1_is_undone(text: str) -> None:
    assert repair(text.encode("gb18030").decode("latin-1")) == (text, ["gbk_as_latin1"])


def test_utf8_read_as_gbk_is_undone() -> None:
    damaged = CHINESE[0].encode().decode("gb18030")
    assert repair(damaged) == (CHINESE[0], ["utf8_as_gbk"])


def test_only_the_damaged_line_is_touched() -> None:
    damaged = "好的标题\n" + CHINESE[0].encode().decode("latin-1")
    assert repair(damaged)[0] == "好的标题\n" + CHINESE[0]


@pytest.mark.parametrize(
    "text",
    [
        *CHINESE,
        "Füße und Äpfel – “quoted” ünïcödé",
        "naïve café É À",
        "联通",
        "价格：￥299，满 100 减 10",
        "20 °C ± ½ µm",
        "«très bien» à l’été",
    ],
)
def test_sound_text_is_never_repaired(text: str) -> None:
    assert repair(text) == (text, [])


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("<p>Hello<br/>there</p>", "Hello\nthere"),
        ("fish &amp; chips&nbsp;", "fish & chips\xa0"),
        ('<div class="x">我的<b>订单</b></div>', "我的订单"),
        ("<script>bad()</script>text<!-- no -->", "text"),
        ("a < b and c > d", "a < b and c > d"),
        ("write to <your name>", "write to <your name>"),
        ("AT&T; R&D", "AT&T; R&D"),
    ],
)
def test_only_real_markup_is_stripped(text: str, plain: str) -> None:
    assert strip_markup(text)[0] == plain


def test_full_width_letters_are_folded_and_chinese_punctuation_stays() -> None:
    assert fold_characters("ＡＰＰ　１２３，你好！（测试）①m²")[0] == "APP　123，你好！（测试）①m²"
    assert fold_characters("ef\ufb01cient\u200b \u2f00") == ("efficient 一", ["invisible", "full_width"])
    assert fold_characters("plain") == ("plain", [])


def test_white_space_is_collapsed_and_indentation_stays() -> None:
    assert collapse_space("a   b  \r\n\r\n\r\n\r\n  - c\t d")[0] == "a b\n\n  - c d"
    assert collapse_space("你好 ，世界")[0] == "你好，世界"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("电话13812345678谢谢", "电话[phone]谢谢"),
        ("我的手机号是１３８１２３４５６７８。", "我的手机号是[phone]。"),
        ("+86 138-1234-5678", "[phone]"),
        ("打010-62345678吧", "打[phone]吧"),
        ("call +44 20 7946 0958 or (212) 555-0147", "call [phone] or [phone]"),
        ("身份证11010519491231002X。", "身份证[id_card]。"),
        ("卡号6222021234567890128转账", "卡号[bank_card]转账"),
        ("card 4111 1111 1111 1111 declined", "card [bank_card] declined"),
        ("邮箱a.b@example.com收", "邮箱[email]收"),
    ],
)
def test_sensitive_values_are_found_beside_chinese_too(text: str, shown: str) -> None:
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "订单 202311221380013800099",  # a phone number's digits inside a longer number
        "order YQ13812345678",
        "身份证110105194912310021",  # wrong check digit
        "卡号6222021234567890123",  # wrong Luhn digit
        "from 2024-01-02 to 2024-03-04",
        "价格 1999-2999 元",
        "热线 400-820-8820",  # a firm's hotline is no person's number
        "电话 95618",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert redact(text) == text


def test_actions_are_taken_for_each_kind_by_itself() -> None:
    rewrite = protect({"phone": "tokenize", "email": "keep", "id_card": "mask"}, b"key")
    text, rules = rewrite("13812345678 和 +86 138 1234 5678 和 a@example.com")
    first, second = text.split(" 和 ")[:2]
    assert first == second
    assert first.startswith("[phone:")
    assert "a@example.com" in text
    assert rules == ["PHONE_NUMBER"]
    other, _ = protect({"phone": "tokenize"}, b"another key")("13812345678")
    assert other != first


def test_tokens_need_a_key() -> None:
    with pytest.raises(SettingsError, match="needs a secret key"):
        protect({"phone": "tokenize"}, None)


def test_places_do_not_overlap() -> None:
    places = find_sensitive("11010519491231002X 6222021234567890128 13812345678 a13812345678@example.com")
    assert [kind for _, _, kind in places] == ["id_card", "bank_card", "phone", "email"]
    assert all(a[1] <= b[0] for a, b in pairwise(places))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ok", "too_short"),
        ("!!!??? ... ***", "symbols"),
        ("哈" * 60, "repetitive"),
        ("same line\n" * 8, "repetitive"),
        ("Where is my parcel?", None),
        ("| Item | Fee |\n| ---------------------------------------- | --- |\n| North | 10 |", None),
        ("订单号 88888888，请查一下", None),
    ],
)
def test_quality_names_its_rule(text: str, rule: str | None) -> None:
    verdict = quality(CleanSettings())({"text": text, "traits": survey_one(text)[0]})
    assert (verdict[0] if verdict else None) == rule


@pytest.mark.parametrize(
    ("text", "is_spam"),
    [
        ("兼职刷单日赚500，加微信 abc12345", True),
        ("Congratulations! You won a prize, click here http://win.example", True),
        ("I clicked the link in the mail http://yunque.example but the refund page is empty", False),
        ("请问可以贷款买吗", False),
        ("How do I earn points?", False),
    ],
)
def test_advertising_needs_two_cues(text: str, is_spam: bool) -> None:
    assert (advertising({"text": text}) is not None) == is_spam
