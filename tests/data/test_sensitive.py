from __future__ import annotations

import pickle
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.sensitive_samples import CARRIERS, VALUES, Rng

from tulou.core.errors import DataError, SettingsError
from tulou.core.settings import SENSITIVE_KINDS, CleanSettings
from tulou.data.clean.characters import collapse_space, fold_characters
from tulou.data.clean.encoding import repair
from tulou.data.clean.markup import strip_markup
from tulou.data.clean.sensitive import Guard, build_guard, find_sensitive, protect, redact, reveal

KEY = b"a key of thirty-two bytes length"
ALL_MASKED: Any = dict.fromkeys(SENSITIVE_KINDS, "mask")
ALL_TOKENIZED: Any = dict.fromkeys(SENSITIVE_KINDS, "tokenize")


def guard(folder: Path, key: bytes | None = KEY, **clean: Any) -> Guard:
    return build_guard(CleanSettings(**clean), key, folder)


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("手机号是13812345678吗", "phone", "13812345678"),
        ("打138\u200b1234\u200b5678", "phone", "138\u200b1234\u200b5678"),
        ("打１３８—１２３４—５６７８", "phone", "１３８—１２３４—５６７８"),
        ("1 3 8 1 2 3 4 5 6 7 8", "phone", "1 3 8 1 2 3 4 5 6 7 8"),
        ("座机：62345678", "phone", "62345678"),
        ("010-62345678转801", "phone", "010-62345678转801"),
        ("tel 020 7946 0958", "phone", "020 7946 0958"),
        ("+1 212-555-0147, 2 items", "phone", "+1 212-555-0147"),
        ("a.b+c@mail.example.co.uk", "email", "a.b+c@mail.example.co.uk"),
        ("邮箱zhang＠example．com", "email", "zhang＠example．com"),
        ("The number on the parcel (13812345678) is wrong.", "phone", "13812345678"),
        ("110105 19491231 002X", "id_card", "110105 19491231 002X"),
        ("4111 1111 1111 1111", "bank_card", "4111 1111 1111 1111"),
        ("3782-822463-10005", "bank_card", "3782-822463-10005"),
        ("Diners card 30569309025904", "bank_card", "30569309025904"),
        ("卡 6222 0212 3456 7890 128 验证码 123", "bank_card", "6222 0212 3456 7890 128"),
        ("护照E12345678", "passport", "E12345678"),
        ("passport number 912803456", "passport", "912803456"),
        ("税号91350100M000100Y43", "social_credit", "91350100M000100Y43"),
        ("GB82 WEST 1234 5698 7654 32 thanks", "iban", "GB82 WEST 1234 5698 7654 32"),
        ("my ssn: 536 90 4399", "us_ssn", "536 90 4399"),
        ("ip=203.0.113.9:8080", "ip", "203.0.113.9"),
        ("ping 2001:db8::8a2e:370:7334 now", "ip", "2001:db8::8a2e:370:7334"),
        ("地址:2001:db8::8a2e:370:7334", "ip", "2001:db8::8a2e:370:7334"),
        ("来自２００１：ｄｂ８：：８ａ２ｅ的请求", "ip", "２００１：ｄｂ８：：８ａ２ｅ"),
        ("粤B·D12345", "license_plate", "粤B·D12345"),
        ("我叫欧阳娜娜，", "person", "欧阳娜娜"),
        ("联系人李小龙电话", "person", "李小龙"),
        ("经办人傅子涵已签字", "person", "傅子涵"),
        ("客户萧伟投诉", "person", "萧伟"),
        ("这份说明书由张老师起草", "person", "张"),
        ("Dear Mr. O'Brien,", "person", "O'Brien"),
        ("signed by\nJan van der Berg", "person", "Jan van der Berg"),
        ("寄到北京市朝阳区建国路88号院3号楼501室。", "address", "北京市朝阳区建国路88号院3号楼501室"),
        ("at 221B Baker Street, London NW1 6XE", "address", "221B Baker Street, London NW1 6XE"),
    ],
)
def test_value_is_found_as_it_is_written(text: str, kind: str, value: str) -> None:
    start = text.index(value)
    assert find_sensitive(text) == [(start, start + len(value), kind)]


@pytest.mark.parametrize(
    "text",
    [
        "订单号13812345678",
        "时间戳1700000000000",
        "客服热线4008208820",
        "拨打800-820-8820",
        "call 1-800-555-0147",
        "ISBN 978-7-111-12345-6",
        "升级到1.2.3.4版本",
        "Chrome/1.2.3.4",
        "12:30:45",
        "00:1A:2B:3C:4D:5E",
        "型号E12345678",
        "https://example.com/item/13812345678",
        "北京A12345",
        "关于先生的问题",
        "高兴的时候",
        "from Hong Kong",
        "地铁2号线",
        "git@github.com:team/repo.git",
        "icon@2x.png",
        "[phone] and [id_card]",
        "",
        "这份说明书由老师起草，清单由工程师改过",
        "按声明老师的说法",
        "客户高度评价，学生为方形风筝的外壳争论",
        "订单号5391 1345 6789 012已发货",
        "Mould FR49 0755 8123 4567 3972 4671 333 needs repair",
        "Reference GB22 FABN 3625 8213 4567 84 is unknown",
        "The serial number on the device (13812345678) is worn off",
    ],
)
def test_look_alike_is_left(text: str) -> None:
    assert find_sensitive(text) == []


def test_longest_finding_wins_and_none_overlap() -> None:
    text = "mail 13812345678@qq.com or 13812345678, 我叫王伟，住在北京市建国路88号"
    found = find_sensitive(text)
    assert [kind for _, _, kind in found] == ["email", "phone", "person", "address"]
    assert all(first[1] <= second[0] for first, second in pairwise(found))


def test_settings_take_both_spellings_and_complete_themselves() -> None:
    actions = CleanSettings(sensitive={"PHONE_NUMBER": "drop", "ip": "mask"}).sensitive
    assert actions["phone"] == "drop"
    assert actions["ip"] == "mask"
    assert actions["passport"] == "mask"
    assert actions["person"] == "keep"
    with pytest.raises(ValueError, match="'phone' is named twice, the second time as 'PHONE_NUMBER'"):
        CleanSettings(sensitive={"phone": "mask", "PHONE_NUMBER": "drop"})


def test_mask_carries_the_short_name_and_the_rule_presidios(tmp_path: Path) -> None:
    text, rules = guard(tmp_path).rewrite("我的电话13812345678，邮箱a@b.com")
    assert text == "我的电话[phone]，邮箱[email]"
    assert rules == ["EMAIL_ADDRESS", "PHONE_NUMBER"]


def test_kept_kinds_stay_in_the_text_and_do_not_shadow_others(tmp_path: Path) -> None:
    text = "我叫王伟，住在建国路88号，电话13812345678"
    assert guard(tmp_path).rewrite(text)[0] == "我叫王伟，住在建国路88号，电话[phone]"
    kept = guard(tmp_path, sensitive={"phone": "keep"})
    assert kept.rewrite(text) == (text, [])
    assert kept.redact(text) == "我叫王伟，住在建国路88号，电话[phone]"  # people who look on need not know it


def test_drop_names_the_rule_and_looks_at_the_title_too(tmp_path: Path) -> None:
    dropping = guard(tmp_path, sensitive={"bank_card": "drop"})
    assert dropping.judge({"title": "", "text": "卡4111111111111111"}) == ("CREDIT_CARD", None)
    assert dropping.judge({"title": "卡4111111111111111", "text": "好"}) == ("CREDIT_CARD", None)
    assert dropping.judge({"title": "", "text": "电话13812345678"}) is None
    assert guard(tmp_path).judge({"title": "", "text": "卡4111111111111111"}) is None


@pytest.mark.parametrize(
    ("kind", "writings"),
    [
        ("phone", ["13812345678", "+86 138-1234-5678", "0086 13812345678", "１３８１２３４５６７８", "138 1234 5678"]),
        ("phone", ["010-62345678", "(010)62345678", "+86 10 62345678"]),
        ("id_card", ["11010519491231002X", "110105 19491231 002x"]),
        ("email", ["A.B@Example.com", "a.b@example.com"]),
        ("iban", ["GB82WEST12345698765432", "gb82 west 1234 5698 7654 32"]),
    ],
)
def test_one_value_has_one_token_however_it_is_written(kind: str, writings: list[str]) -> None:
    rewrite = protect(ALL_TOKENIZED, KEY)
    tokens = {rewrite(f"这是 {writing} 。")[0] for writing in writings}
    assert len(tokens) == 1
    assert tokens.pop().startswith(f"这是 [{kind}:")


def test_token_is_turned_back_with_its_key_only() -> None:
    text, _ = protect({"phone": "tokenize", "email": "tokenize"}, KEY)("电话+86 138-1234-5678，邮箱A@b.com")
    assert reveal(text, KEY) == "电话13812345678，邮箱a@b.com"
    token = text[text.index("[") : text.index("]") + 1]
    bare = token[token.index(":") + 1 : -1]
    assert reveal(token, KEY) == reveal(bare, KEY) == "13812345678"
    assert reveal(token.upper(), KEY) == "13812345678"
    with pytest.raises(DataError, match="made with another key or has been changed"):
        reveal(text, b"another key")
    changed = ("b" if bare[5] != "b" else "c").join([bare[:5], bare[6:]])
    with pytest.raises(DataError, match="made with another key or has been changed"):
        reveal(changed, KEY)
    assert "13812345678" not in text


def test_text_without_tokens_is_revealed_as_it_is() -> None:
    assert reveal("没有 [phone] 的文本", KEY) == "没有 [phone] 的文本"


def test_tokens_need_a_key(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="needs a secret key"):
        guard(tmp_path, None, sensitive={"phone": "tokenize"})


def test_later_steps_and_a_second_cleaning_leave_masks_and_tokens_alone(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("phone\nemail = phone\n云雀 = product\n/[a-z2-7]{8}/ = letters\n", "utf-8")
    for action in ("mask", "tokenize"):
        for words in ("", "words.txt"):
            clean = guard(tmp_path, sensitive=dict.fromkeys(SENSITIVE_KINDS, action), sensitive_words=words)
            for (kind, language), make in VALUES.items():
                rng = Rng(f"{kind} {language}")
                sentence = rng.choice(CARRIERS[kind][language or "zh"]).replace("{}", make(rng))
                once, _ = clean.rewrite(sentence)
                assert f"[{kind}" in once or words
                assert clean.rewrite(once) == (once, [])
                for step in (repair, strip_markup, fold_characters, collapse_space):
                    assert step(once)[0].count("[") == once.count("[")
                    assert clean.rewrite(step(once)[0])[1] == []


def test_listed_words_have_kinds_and_actions_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text(
        "云雀计划 = project\nAcme\n/[A-Z]{2}-\\d{4}/ = badge\n工牌 = PHONE_NUMBER\n", "utf-8"
    )
    clean = guard(tmp_path, sensitive={"project": "tokenize", "badge": "keep"}, sensitive_words="words.txt")
    text, rules = clean.rewrite("云雀计划 by ACME, badge AB-1234, 工牌")
    assert reveal(text, KEY) == "云雀计划 by [custom], badge AB-1234, [phone]"
    assert rules == ["PHONE_NUMBER", "custom", "project"]
    assert clean.traits == {"ALWAYS"}


BY_DEFAULT = {"AT", "LETTERS_DIGITS", "LONG_NUMBER"}


def test_list_of_chinese_words_waits_for_chinese(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("云雀\n", "utf-8")
    assert guard(tmp_path, sensitive_words="words.txt").traits == BY_DEFAULT | {"NON_ASCII"}


def test_kind_that_nothing_finds_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("云雀 = product\n", "utf-8")
    with pytest.raises(SettingsError, match="unknown kind of sensitive data 'produkt'; choose from address,"):
        guard(tmp_path, sensitive={"produkt": "mask"}, sensitive_words="words.txt")


def test_traits_say_what_the_configured_kinds_wait_for(tmp_path: Path) -> None:
    nothing: Any = dict.fromkeys(SENSITIVE_KINDS, "keep")
    assert guard(tmp_path).traits == BY_DEFAULT
    assert guard(tmp_path, sensitive=nothing).traits == set()
    assert guard(tmp_path, sensitive=nothing | {"phone": "mask"}).traits == {"LONG_NUMBER"}
    assert guard(tmp_path, sensitive={"person": "mask"}).traits == {"ALWAYS"}


def test_guard_is_rebuilt_from_what_another_process_is_sent(tmp_path: Path) -> None:
    sent = pickle.dumps((CleanSettings(sensitive={"phone": "tokenize"}), KEY, tmp_path))
    here, there = build_guard(*pickle.loads(sent)), build_guard(*pickle.loads(sent))
    assert here.rewrite("电话13812345678") == there.rewrite("电话13812345678")


_TEXTS = st.text(
    st.one_of(st.sampled_from("0123456789 -.+()[]:@aEXz号王路先生京A\u200b１（"), st.characters()), max_size=80
)


@settings(max_examples=300, deadline=None)
@given(_TEXTS)
def test_any_text_is_cleaned_once_and_for_all(text: str) -> None:
    found = find_sensitive(text)
    assert all(0 <= start < end <= len(text) for start, end, _ in found)
    assert all(first[1] <= second[0] for first, second in pairwise(found))
    for rewrite in (protect(ALL_MASKED, None), protect(ALL_TOKENIZED, KEY)):
        once, rules = rewrite(text)
        assert (once != text) == bool(rules)
        assert rewrite(once) == (once, [])
    assert redact(redact(text)) == redact(text)


@settings(max_examples=300, deadline=None)
@given(_TEXTS)
def test_text_without_digits_and_at_signs_is_never_changed_by_default(text: str) -> None:
    digits = [char for char in text if char in "0123456789０１２３４５６７８９"]
    plain = text.replace("@", "").replace("＠", "")
    for digit in set(digits):
        plain = plain.replace(digit, "")
    assert protect(CleanSettings().sensitive, None)(plain) == (plain, [])


@pytest.mark.parametrize(
    "unit",
    [
        "1",
        "1 ",
        "12 ",
        "1.",
        "a@",
        "::",
        "13812345678 ",
        "护照E12345678 ",
        "6222 0212 3456 7890 128 ",
        "京A12345",
        "王先生",
        "在路1号",
        "Mr Abc ",
        "12 Of Abc ",
        "1\u200b",
        "[phone:",
        "https://1234567",
    ],
)
def test_hostile_text_of_a_megabyte_takes_seconds_and_not_minutes(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    assert any(_seconds(text) < 6 * max(1, _slowdown()) for _ in range(3))  # two by itself; the machine may be busy


def _seconds(text: str) -> float:
    started = time.process_time()
    find_sensitive(text)
    return time.process_time() - started


def _slowdown() -> float:
    """How much slower than by itself this machine is now, as a loop that takes it 0.07 s tells."""
    started = time.process_time()
    sum(number * number for number in range(1_000_000))
    return (time.process_time() - started) / 0.07
