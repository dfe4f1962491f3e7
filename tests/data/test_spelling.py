"""Typos are corrected where the corpus is sure, and everything else stays as it is."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tulou.core.errors import DataError
from tulou.data.clean.spelling import Counts, Speller, count, learn, merge
from tulou.data.clean.spelling.correction import Correction, apply, compose
from tulou.data.clean.spelling.measure import write_texts

ENGLISH = [
    "I ordered the Zephyrpad and the parcel has not arrived, please check the address.",
    "My zephyrpad parcel was received yesterday but the invoice is wrong.",
    "Thanks, the parcel arrived and the address was right.",
]
CHINESE = [
    "我的账号登录不上去，请帮我看一下。已经收到退款，谢谢。",
    "申请退款以后什么时候到账？订单已经取消，优惠券不能使用。",
    "收到的商品有破损，我想申请退货，再次购买可以使用优惠券吗？",
]


@pytest.fixture(scope="module")
def counts() -> Counts:
    return count(ENGLISH * 40 + CHINESE * 40 + write_texts("zh", "learn", 300, 1) + write_texts("en", "learn", 300, 1))


@pytest.fixture(scope="module")
def speller(counts: Counts, tmp_path_factory: pytest.TempPathFactory) -> Speller:
    folder = tmp_path_factory.mktemp("spelling") / "model"
    counts.save(folder)
    return Speller.load(folder)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("Please check the parecl and the adress.", "Please check the parcel and the address."),
        ("Plaese send the invoice to my old address.", "Please send the invoice to my old address."),
        ("I have recieved the wrong parcel today.", "I have received the wrong parcel today."),
        ("我的帐号登陆不上去，请帮我看一下。", "我的账号登录不上去，请帮我看一下。"),
        ("订单己经取消了", "订单已经取消了"),
        ("我想申请退贷", "我想申请退货"),
        ("在次购买可以用吗", "再次购买可以用吗"),
        ("优惠卷不能使用", "优惠券不能使用"),
    ],
)
def test_typos_are_corrected_as_the_corpus_writes_them(speller: Speller, typed: str, meant: str) -> None:
    assert speller.rewrite(typed) == (meant, ["en" if typed.isascii() else "zh"])


@pytest.mark.parametrize(
    "text",
    [
        "The zephyrpad arrived with my parcel today.",  # the corpus's own word
        "Please ask Jonh or Mr Parecl about the address.",  # a name
        "Please check [parecl] and {adress} and `recieved` in the address.",
        "Please write to recieved@adress.example or see http://adress.example/parecl?x=recieved today",
        "The PARECL code is parecl-77 and adress_2 or Adress3 in the address.",
        "Der Kunde hat die Rechnung nicht bekommen und wartet auf das Paket.",
        "We colour and organise what travellers favour at the centre.",
        "可以经常来吗？正在见面，因该商品有问题。",  # 以经, 在见, 因该 by chance
        "请看《己经退贷》和「帐号登陆」以及【退贷】",
        "盟军在诺曼底登陆。",
        "收货人：李帐号 电话[phone]",
        "他高兴得跳了起来，的确是慢慢地走的。",
        "",
        "138 0013 8000",
        "🙂🙂🙂 👨‍👩‍👧‍👦",
        "\ud800 lone",
    ],
)
def test_what_is_no_sure_typo_stays(speller: Speller, text: str) -> None:
    assert speller.rewrite(text) == (text, [])


def test_a_house_style_is_left_alone() -> None:
    taught = Speller(count(["我的帐号登录不上去了。", "帐号的密码忘记了。"] * 50 + ["账号的密码忘记了。"] * 30))
    assert taught.rewrite("新的帐号密码忘记了。") == ("新的帐号密码忘记了。", [])


def test_a_corpus_of_nothing_changes_no_chinese(tmp_path: Path) -> None:
    assert learn([], tmp_path / "model")["documents"] == 0
    assert Speller.load(tmp_path / "model").rewrite("我己经退贷了") == ("我己经退贷了", [])


def test_corrections_say_where_and_how_sure(speller: Speller) -> None:
    text = "订单己经取消了。Please check the parecl for me."
    found = speller.corrections(text)
    assert [(one.before, one.after, one.language) for one in found] == [("己", "已", "zh"), ("parecl", "parcel", "en")]
    assert all(text[one.start : one.end] == one.before and one.score > 0 for one in found)
    assert apply(text, found) == speller.rewrite(text)[0]


def test_corrections_of_two_rounds_become_one_list() -> None:
    text = "aa bb cc"
    first = [Correction(3, 5, "bb", "bbbb", "en", 1.0)]
    second = [Correction(0, 2, "aa", "a", "en", 1.0), Correction(8, 10, "cc", "c", "en", 1.0)]
    together = compose(first, second)
    assert together is not None
    assert apply(text, together) == apply(apply(text, first), second) == "a bbbb c"
    assert compose(first, [Correction(4, 6, "bb", "x", "en", 1.0)]) is None


def test_counts_of_shards_add_up_to_the_counts_of_the_whole(tmp_path: Path) -> None:
    texts = ENGLISH * 3 + CHINESE * 3
    count(texts).save(tmp_path / "whole")
    merge([count(texts[:7]), count(texts[7:])]).save(tmp_path / "parts")
    for file in (tmp_path / "whole").iterdir():
        other = tmp_path / "parts" / file.name
        if file.suffix == ".json":
            assert json.loads(file.read_text()) == json.loads(other.read_text())
    whole, parts = (Speller.load(tmp_path / name) for name in ("whole", "parts"))
    for text in ("订单己经取消了", "Please check the parecl and the adress."):
        assert whole.corrections(text) == parts.corrections(text)


def test_saving_twice_gives_the_same_bytes_and_another_process_the_same_text(
    counts: Counts, speller: Speller, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        counts.save(tmp_path / name)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()
    text = "我的帐号登陆不上去。Please check the parecl and the adress."
    program = (
        "import sys; from pathlib import Path; from tulou.data.clean.spelling import Speller;"
        "print(ascii(Speller.load(Path(sys.argv[1])).rewrite(sys.argv[2])[0]))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "one"), text]
    assert subprocess.check_output(command, text=True, timeout=60).strip() == ascii(speller.rewrite(text)[0])


@pytest.mark.parametrize("damage", ["missing", "spelling.json", "english.json", "pairs.npy"])
def test_a_broken_model_is_named(counts: Counts, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "model"
    if damage != "missing":
        counts.save(folder)
        (folder / damage).write_bytes(b"\x80")
    with pytest.raises(DataError, match="holds no spelling model"):
        Speller.load(folder)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "parecl " * 140_000,
        "[a] parecl is here " * 50_000,
        "己经" * 100_000,
        "[" * 1_000_000,
        "`" * 1_000_000,
        "王" * 1_000_000,
        "a@" * 500_000,
        "http://" * 140_000,
        "🙂" * 500_000,
        "'a" * 500_000,
    ],
    ids=lambda text: text[:8],
)
def test_hostile_text_takes_time_in_line_with_its_length(speller: Speller, text: str) -> None:
    began = time.process_time()
    speller.rewrite(text)
    assert time.process_time() - began < 20


PIECES = st.sampled_from(
    [
        *"的了在再己已贷货帐账号登陆录，。 \n[]`《》",
        "己经",
        "退贷",
        "帐号",
        "parecl",
        "adress",
        "the",
        "my",
        "check",
        "[phone]",
        "thnaks ",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    text=st.one_of(st.text(max_size=200), st.lists(PIECES, max_size=40).map("".join), st.lists(PIECES).map(" ".join))
)
def test_any_text_comes_to_rest_at_once(speller: Speller, text: str) -> None:
    once, rules = speller.rewrite(text)
    assert speller.rewrite(once) == (once, [])
    assert bool(rules) == (once != text)


@settings(max_examples=100, deadline=None)
@given(inside=st.lists(PIECES, max_size=6).map("".join).filter(lambda text: not set(text) & set("[]\n")))
def test_placeholders_are_never_touched(speller: Speller, inside: str) -> None:
    assert f"[{inside}]" in speller.rewrite(f"please check the parecl [{inside}] 我的帐号己经")[0]
