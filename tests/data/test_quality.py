"""Records that teach nothing are dropped by name; a shop's real records, however short or tabular, are not."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.sentences import HELD_OUT_EN, HELD_OUT_ZH, TUNING_EN, TUNING_ZH, sentences

from tulou.core.errors import SettingsError
from tulou.core.settings import CleanSettings
from tulou.data.clean.forbidden import forbidden
from tulou.data.clean.quality import (
    DUPLICATE_PASSAGE_SHARE,
    NEEDS,
    PASSAGE_CHARACTERS,
    PASSAGE_WORDS,
    QUALITY_RULES,
    _repeats_passages,
    quality,
)
from tulou.data.kernels.passages import may_repeat_passages
from tulou.data.kernels.survey import survey
from tulou.data.language import detect

DEFAULT = CleanSettings()


def judged(text: str, language: str) -> dict[str, Any]:
    return {"text": text, "title": "", "language": language, "traits": int(survey(pa.array([text])).traits[0])}


def verdict(text: str, settings: CleanSettings = DEFAULT) -> str | None:
    found = quality(settings)(judged(text, detect(text)))
    return found[0] if found else None


PRICES = "\n".join(f"| 商品{number} | ￥{number}9.00 | 有货 | 包邮 |" for number in range(40))
QUESTIONS = "\n".join(f"问：第{number}种商品可以退吗？\n答：可以，七天无理由退货。" for number in range(1, 5))
FORM = "Name: Ann\nCity: York\nPaid: yes\nSent: yes\nGift: no\nOpen: no\nNote: fragile"
MANUAL = "\n\n".join(dict.fromkeys(sentences(HELD_OUT_ZH, 700)))
HANDBOOK = "\n\n".join(dict.fromkeys(sentences(HELD_OUT_EN, 700)))


@pytest.mark.parametrize(
    "text",
    [
        "在吗",
        "你好",
        "ok thanks",
        "多少钱？",
        "Help!!",
        "登录",
        "about us",
        "哈哈哈哈哈哈",
        "订单号 88888888，请查一下",
        "20231122138001380009",
        "好的好的好的",
        "How do I accept cookies on your site?",
        "你们网站底部的ICP备案号打不开",
        "Home delivery: products, services and support",
        "首页的搜索不能用，登录也登不上",
        "Is the copyright mine if I upload a photo?",
        "| Item | Fee |\n| ---------------------------------------- | --- |\n| North | 10 |",
        PRICES,
        QUESTIONS,
        FORM,
        "1. 开机\n2. 开机\n3. 长按",
        *sentences(TUNING_ZH, 60),
        *sentences(TUNING_EN, 60),
    ],
)
def test_what_a_shop_really_gets_is_kept(text: str) -> None:
    assert verdict(text) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("ok", "too_short"),
        ("好", "too_short"),
        ("  \n?", "too_short"),
        ("!!!??? ... ***", "symbols"),
        ("→→→→ ■■■ a", "symbols"),
        ("哈" * 60, "repetitive"),
        ("asdf" * 30, "repetitive"),
        ("lol " * 60, "repetitive"),
        ("buy now " * 60, "repetitive"),
        ("same line\n" * 8, "repetitive"),
        ("\n".join(["本店所有商品七天无理由退换货，请放心购买"] * 5 + [f"第{n}条" for n in range(8)]), "repetitive"),
        ("Home | About Us | Products | Contact Us | Login", "boilerplate"),
        ("首页 关于我们 产品中心 联系我们", "boilerplate"),
        (
            "首页\n新闻中心\n联系我们\n版权所有 © 2024 某某公司\n京ICP备12345678号-1 京公网安备 11010802012345号",
            "boilerplate",
        ),
        ("This website uses cookies to improve your experience. Accept all cookies. Cookie settings", "boilerplate"),
        ("© 2019-2024 Yunque Ltd. All rights reserved. Privacy Policy | Terms of Use", "boilerplate"),
        ("Please enable JavaScript to view this page.", "boilerplate"),
        ("我们使用 Cookie 来改善您的体验。接受全部 Cookie", "boilerplate"),
        ("Lorem ipsum dolor sit amet, consectetur adipiscing elit", "boilerplate"),
    ],
)
def test_what_teaches_nothing_is_dropped_by_name(text: str, rule: str) -> None:
    assert verdict(text) == rule


def test_long_texts_are_kept_unless_they_repeat_themselves() -> None:
    rng = random.Random(2)
    chinese = "".join(rng.choices(MANUAL.replace("\n", ""), k=700))
    english = " ".join(rng.choices(HANDBOOK.split(), k=200))
    for text in (chinese, english):
        assert verdict(text) is None
        assert verdict(text + " and then " + text + " 另外 " + text + text) == "repetitive"


def test_our_own_documents_are_kept() -> None:
    """The nearest real long texts: reference, guides and decisions in English, one read-me in Chinese."""
    root = Path(__file__).parents[2]
    texts = {path.name: path.read_text(encoding="utf-8") for path in [*root.glob("*.md"), *root.glob("docs/**/*.md")]}
    assert len(texts) > 5
    assert {name: found for name, text in texts.items() if (found := verdict(text))} == {}


def test_digits_and_languages_are_asked_about_only_where_the_settings_say_so() -> None:
    assert verdict("4401 8821 9938 a") is None
    assert verdict("4401 8821 9938 a", CleanSettings(max_digit_ratio=0.8)) == "digits"
    assert verdict("call 4401 tomorrow", CleanSettings(max_digit_ratio=0.8)) is None
    only_chinese = CleanSettings(languages=("zh",))
    assert verdict("Where is my parcel?", only_chinese) == "language"
    assert verdict("我的包裹在哪里", only_chinese) is None
    found = quality(only_chinese)(judged("これは何ですか", "other"))
    assert found == ("language", "other")


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("too_short", "ok", {}),
        ("symbols", "!!!??? ... ***", {}),
        ("digits", "1234 5678", {"max_digit_ratio": 0.5}),
        ("language", "Where is it?", {"languages": ("zh",)}),
        ("repetitive", "哈" * 60, {}),
        ("boilerplate", "All rights reserved", {}),
    ],
)
def test_each_rule_can_be_switched_off(name: str, text: str, settings: dict[str, object]) -> None:
    assert verdict(text, CleanSettings.model_validate(settings)) == name
    assert verdict(text, CleanSettings.model_validate({**settings, "off": (f"quality.{name}",)})) is None


def test_every_rule_says_what_it_waits_for() -> None:
    assert list(NEEDS) == list(QUALITY_RULES)


@given(st.text(max_size=200))
def test_any_text_can_be_judged(text: str) -> None:
    settings = CleanSettings(max_digit_ratio=0.5, languages=("zh", "en"))
    found = quality(settings)(judged(text, detect(text)))
    assert found is None or found[0] in QUALITY_RULES


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "ab ",
        "ab\n",
        "首页",
        "home ",
        "©",
        "all rights ",
        "\n",
        "|",
        "a.b",
        ".",
        "我们使用",
        "1",
        " ",
        "aab",
        "哈哈呵",
    ],
)
def test_hostile_texts_are_judged_in_time(unit: str) -> None:
    started = time.perf_counter()
    for length in (590, 300_000):
        verdict(unit * (length // len(unit)))
        verdict("x" + unit * (length // len(unit)) + "y")
    assert time.perf_counter() - started < 5


def row(text: str, title: str = "") -> dict[str, str]:
    return {"text": text, "title": title}


def test_records_with_forbidden_words_are_dropped_with_the_word_as_remark(tmp_path: Path) -> None:
    path = tmp_path / "forbidden.txt"
    path.write_text("# toxic\n滚蛋\nidiot = toxic\n/代开.{0,4}发票/ = fraud\n/\\bv\\d{6}/\n")
    judge = forbidden(path)
    assert judge(row("你给我滚蛋！")) == ("word", "滚蛋")
    assert judge(row("what an ＩＤＩＯＴ.")) == ("toxic", "idiot")
    assert judge(row("idiotic? no", "fine")) is None
    assert judge(row("可代开增值税发票")) == ("fraud", "/代开.{0,4}发票/")
    assert judge(row("加V123456")) == ("expression", "/\\bv\\d{6}/")
    assert judge(row("fine", "滚蛋")) == ("word", "滚蛋")


def test_an_unusable_list_of_forbidden_words_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="No such file"):
        forbidden(tmp_path / "none.txt")


PASSAGES = st.lists(
    st.sampled_from([*sentences(TUNING_ZH, 8), *sentences(TUNING_EN, 8), "The THE the", "第12条 a_b", "\n", "。"]),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)  # the loop may have to be compiled
@given(PASSAGES, st.integers(1, 6))
def test_compiled_look_at_passages_misses_no_text_that_repeats_them(parts: list[str], times: int) -> None:
    text = " ".join(parts * times)
    may = may_repeat_passages(pa.array([text]), DUPLICATE_PASSAGE_SHARE, PASSAGE_WORDS, PASSAGE_CHARACTERS)[0]
    assert may or not _repeats_passages(text)


def test_compiled_look_at_passages_passes_by_texts_that_do_not() -> None:
    unlike = "".join(chr(0x4E00 + 7 * i * i % 5003) for i in range(2500))
    words = " ".join(f"word{i * i % 1009}" for i in range(500))
    looked = may_repeat_passages(pa.array([unlike, words]), DUPLICATE_PASSAGE_SHARE, PASSAGE_WORDS, PASSAGE_CHARACTERS)
    assert not looked.any()
