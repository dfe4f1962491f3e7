"""Mojibake undone: by kind of damage on sentences the rules were not tuned on, and never where there is none."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.data.sentences import HELD_OUT_EN, HELD_OUT_ZH, TUNING_EN, sentences

from tulou.data.clean.encoding import NEEDS, repair
from tulou.data.everyday import everyday_score
from tulou.data.kernels.survey import Trait, survey_one

CHINESE = list(dict.fromkeys(sentences(HELD_OUT_ZH, 1500)))
ENGLISH = list(dict.fromkeys(sentences(HELD_OUT_EN, 1500)))
WANTED = 0.99
Damage = Callable[[str], str]


def windows(data: bytes) -> str:
    """As Windows-1252 in the way of browsers: the five bytes it lacks show as control characters."""
    return "".join(chr(byte) if byte in b"\x81\x8d\x8f\x90\x9d" else bytes([byte]).decode("cp1252") for byte in data)


def latin(data: bytes) -> str:
    return data.decode("latin-1")


def browser_gbk(data: bytes) -> str:
    """As GBK in the way of browsers and Windows: a lone byte 0x80 is €."""
    text = ""
    while data:
        length = 1 if data[0] <= 0x80 else 2
        text += "€" if data[0] == 0x80 else data[:length].decode("gbk")
        data = data[length:]
    return text


@cache
def to_traditional() -> Any:
    from opencc import OpenCC

    return OpenCC("s2t")


def traditional(text: str) -> str:
    return str(to_traditional().convert(text))


def longest_start(text: str, damage: Damage) -> str:
    """As much of `text` as can be damaged without losing a byte; in GBK that is seldom all of it."""
    for end in range(len(text), 3, -1):
        try:
            damage(text[:end])
        except UnicodeError:
            continue
        return text[:end]
    return ""


DAMAGES: dict[str, Damage] = {
    "UTF-8 as Latin-1": lambda text: latin(text.encode()),
    "UTF-8 as Windows-1252": lambda text: windows(text.encode()),
    "UTF-8 as Latin-1, twice": lambda text: latin(latin(text.encode()).encode()),
    "UTF-8 as Windows-1252, twice": lambda text: windows(windows(text.encode()).encode()),
    "GBK as Latin-1": lambda text: latin(text.encode("gbk")),
    "GB18030 as Windows-1252": lambda text: windows(text.encode("gb18030")),
    "GBK as Latin-1, then UTF-8 as Windows-1252": lambda text: windows(latin(text.encode("gbk")).encode()),
}
CHINESE_DAMAGES: dict[str, Damage] = {
    "UTF-8 as GBK": lambda text: text.encode().decode("gbk"),
    "UTF-8 as GB18030": lambda text: text.encode().decode("gb18030"),
    "UTF-8 as GBK by a browser": lambda text: browser_gbk(text.encode()),
}
TRADITIONAL_DAMAGES: dict[str, Damage] = {
    "Big5 as Latin-1": lambda text: latin(text.encode("big5")),
    "Big5 as Windows-1252": lambda text: windows(text.encode("big5")),
    "Big5 as GB18030": lambda text: text.encode("big5").decode("gb18030"),
}


def share_restored(texts: list[str], damage: Damage) -> tuple[float, int]:
    """Of the texts that can be damaged so without losing bytes."""
    restored = damaged = 0
    for text in texts:
        try:
            broken = damage(text)
        except UnicodeError:
            continue
        if broken != text:
            damaged += 1
            restored += repair(broken)[0] == text
    return restored / max(damaged, 1), damaged


@pytest.mark.parametrize("kind", list(CHINESE_DAMAGES))
def test_starts_of_chinese_sentences_misread_as_chinese_are_restored_exactly(kind: str) -> None:
    damage = CHINESE_DAMAGES[kind]
    share, count = share_restored(list({longest_start(text, damage) for text in CHINESE} - {""}), damage)
    print(f"zh, {kind}: {share:.4f} of {count}")  # noqa: T201  # shown by pytest -rP
    assert count >= 140
    assert share >= WANTED


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_chinese_the_rules_never_saw_is_restored_exactly(kind: str) -> None:
    share, count = share_restored(CHINESE, DAMAGES[kind])
    print(f"zh, {kind}: {share:.4f} of {count}")  # noqa: T201
    assert count >= 300
    assert share >= WANTED


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_english_the_rules_never_saw_is_restored_exactly(kind: str) -> None:
    share, count = share_restored(ENGLISH, DAMAGES[kind])
    print(f"en, {kind}: {share:.4f} of {count}")  # noqa: T201
    assert count >= 50
    assert share >= WANTED


@pytest.mark.parametrize("kind", list(TRADITIONAL_DAMAGES))
def test_traditional_chinese_the_rules_never_saw_is_restored_exactly(kind: str) -> None:
    share, count = share_restored([traditional(text) for text in CHINESE], TRADITIONAL_DAMAGES[kind])
    print(f"zh-Hant, {kind}: {share:.4f} of {count}")  # noqa: T201
    assert count >= 200
    assert share >= WANTED


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("texts", [CHINESE, ENGLISH], ids=["zh", "en"])
def test_utf16_read_byte_by_byte_is_restored_where_zero_bytes_show_it(encoding: str, texts: list[str]) -> None:
    broken = {text: latin(("\ufeff" + text).encode(encoding)) for text in texts}
    shown = {text: damaged for text, damaged in broken.items() if damaged.count("\0") > 1}
    assert len(shown) >= 150
    assert sum(repair(damaged)[0] == text for text, damaged in shown.items()) >= WANTED * len(shown)


def test_utf16_in_the_middle_of_sound_text_loses_its_zero_bytes() -> None:
    assert repair("日志：e\0r\0r\0o\0r\0")[0] == "日志：error"


@pytest.mark.parametrize("count", [2, 10])
def test_documents_of_many_lines_are_restored_with_their_short_lines(count: int) -> None:
    rng = random.Random(3)
    for _ in range(30):
        text = "\n".join([*rng.sample(CHINESE, count), "好的", "- 是"])
        for damage in (DAMAGES["GB18030 as Windows-1252"], DAMAGES["UTF-8 as Windows-1252"]):
            assert repair(damage(text))[0] == text


def test_only_the_damaged_part_is_touched() -> None:
    damaged = latin("订单已经发货".encode("gb18030"))
    assert repair(f"客户说：{damaged}，Grüße aus Köln")[0] == "客户说：订单已经发货，Grüße aus Köln"
    assert repair("你好，" + "我的订单".encode().decode("gb18030"))[0] == "你好，我的订单"


def test_what_lost_bytes_is_restored_around_the_loss() -> None:
    damaged = "我的路由器什么时候发货？".encode().decode("gbk", errors="replace")
    assert repair(damaged) == ("我的�由器�么时候发货？", ["utf8_as_gbk"])


def test_windows_quotes_that_became_control_characters_are_quotes_again() -> None:
    assert repair("It\x92s \x93fine\x94 \x96 really\x85") == ("It’s “fine” – really…", ["cp1252_as_latin1"])


SOUND = [
    "Füße und Äpfel – „quoted“ ünïcödé; GROẞE STRAẞE",
    "« Il est arrivé… », à l’été, où ? Ça va, mon cœur…",
    "¡¡Vamos!! ¿¿Qué tal?? ¡Así es! ¿Cómo está? ¡Claro! «Un niño»",
    "AÇÕES E SITUAÇÕES: NÃO, AMANHÃ… IRMÃ—IRMÃO",
    "CAFÉ™ JOSÉ’S „Ä“ É” «Ü»",
    "Ångström, smörgåsbord, Æblegrød, Ísland",
    "İstanbul’da ğüzel şeyler; zażółć gęślą jaźń; příliš žluťoučký kůň",
    "Привет, как дела? Γειά σου. שלום مرحبا สวัสดี 안녕하세요",
    "これは日本語の文章です。いい天気ですね、および、られる。ｱｲｳ",
    "這是繁體中文，訂單還沒有發貨，請幫忙查一下。竊竊 獵獵 軍號 澶淵",
    "嘅咗哋喺 冇 乜嘢；镕基、喆、堃、𠮷野家、浣熊、冥冥、菁菁",
    "┌──┬──┐\n│甲│乙│\n╞══╪══╡\n└──┴──┘",
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßàáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ",
    "¡¢£¤¥¦§¨©ª«¬®¯°±²³´µ¶·¸¹º»¼½¾¿ ´´´´ °°°°",
    "👍😀🎉👨‍👩‍👧 ①②③ⅣⅤ㈠ ㆍ ㄅㄆㄇ αβγ m² µm ½",
    "¥1,299 £20 €30 ±5 20 °C 30×40 乔治·布什",
    "锟斤拷 烫烫烫 联通",
    "a\xa0b\xa0c",
    *ENGLISH,
    *CHINESE,
    *sentences(TUNING_EN, 60),
]


def test_sound_text_is_never_repaired() -> None:
    assert [text for text in SOUND if repair(text) != (text, [])] == []
    changed = [text for text in map(traditional, CHINESE) if repair(text)[1]]
    assert changed == []


def test_words_and_capitals_of_european_languages_are_never_repaired() -> None:
    words = [
        "été",
        "forêt",
        "où",
        "çà",
        "Müller",
        "größer",
        "niño",
        "São",
        "ação",
        "Ærø",
        "Åse",
        "żółć",
        "dzięki",
        "şık",
    ]
    for shape in (" ".join, ", ".join, "“, „".join, "»… «".join, "? ¿".join, "! ¡".join, "".join, "/".join):
        text = shape(words)
        for variant in (text, text.upper(), text.title()):
            assert repair(variant) == (variant, [])


def has_traits(text: str) -> bool:
    return bool(survey_one(text)[0] & sum(Trait[name] for name in NEEDS))


anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
misread = st.one_of(
    st.binary(max_size=60).map(windows),
    st.binary(max_size=60).map(latin),
    st.binary(max_size=60).map(lambda data: data.decode("gb18030", errors="replace")),
    st.text("ÃÂâ€™“”…»éÉ中的我¡¿¨°C鈥檚�\x80\x92\0 aB9\n", max_size=40),
)


@given(st.one_of(anything, misread))
def test_any_text_can_be_repaired_and_only_once(text: str) -> None:
    repaired, rules = repair(text)
    assert (repaired == text) == (rules == [])
    assert repair(repaired) == (repaired, [])


@given(st.one_of(anything, misread))
def test_text_without_the_traits_is_unchanged(text: str) -> None:
    if not has_traits(text):
        assert repair(text) == (text, [])


@pytest.mark.parametrize(
    "text", ["é" * 300_000, "Ã©" * 100_000, "鎴" * 200_000, "°C " * 100_000, "a\0" * 200_000, "¡¯" * 100_000]
)
def test_long_hostile_text_takes_seconds_at_most(text: str) -> None:
    started = time.perf_counter()
    repair(text)
    assert time.perf_counter() - started < 10


@given(st.text(st.sampled_from("的是鬱犇あ，。aB \n\ufffd\ue000é€") | st.characters(), max_size=60), st.integers(1, 8))
def test_everyday_score_of_a_long_text_is_the_sum_over_its_characters_to_the_last_bit(text: str, times: int) -> None:
    total = 0.0
    for char in text * times:
        total += everyday_score(char)
    assert everyday_score(text * times) == total


@pytest.mark.parametrize("sound", ["图书馆从下个月起延长开放时间。", "The café’s note says: “back at noon” – no more."])
def test_text_misread_in_part_as_latin1_and_in_part_as_windows_1252_is_undone(sound: str) -> None:
    damaged = latin(sound.encode()) + " " + windows(sound.encode())
    assert repair(damaged) == (f"{sound} {sound}", ["utf8_as_latin1"])
