from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulou.core.errors import ServiceError
from tulou.service.gateway.policy.rollout import (
    Gate,
    Seen,
    Variant,
    VariantTable,
    known_by,
    owner,
    point_of,
    split,
    step_after,
)

shares = st.floats(0, 1)


@given(st.text(min_size=1), shares, shares)
def test_a_conversation_only_ever_moves_to_the_newcomer(conversation: str, one: float, other: float) -> None:
    small, large = sorted((one, other))
    point = point_of("m", conversation, random.Random())
    before = owner(split("1", "2", small), point)
    after = owner(split("1", "2", large), point)
    assert before is not None
    assert after is not None
    if before.version == "2":
        assert after.version == "2"


@given(st.text(min_size=1), st.integers())
def test_a_conversation_falls_to_the_same_point_everywhere(conversation: str, seed: int) -> None:
    point = point_of("m", conversation, random.Random(seed))
    assert point == point_of("m", conversation, random.Random(seed + 1))
    assert 0 <= point < 1


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
def test_shares_hold_over_many_conversations(share: float) -> None:
    rng = random.Random(0)
    row = split("1", "2", share)
    chosen: Counter[str] = Counter()
    for i in range(4000):
        found = owner(row, point_of("m", f"conversation {i}", rng))
        assert found is not None
        chosen[found.version] += 1
    assert chosen["2"] / 4000 == pytest.approx(share, abs=0.02)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=6), shares)
def test_a_variant_without_weight_owns_no_point(weights: list[float], point: float) -> None:
    variants = [Variant(str(i), weight) for i, weight in enumerate(weights)]
    found = owner(variants, point)
    assert (found is None) == (not any(weights))
    assert found is None or found.weight > 0


def test_a_named_key_always_gets_its_variant() -> None:
    row = [Variant("2", 0.0, keys=frozenset({"key_tester"})), Variant("1", 1.0)]
    assert [found.version for key in ("key_tester", "key_other", None) if (found := owner(row, 0.0, key))] == [
        *("2", "1", "1")
    ]


def test_the_table_tells_whom_to_ask_when_the_first_is_not_ready() -> None:
    table = VariantTable()
    assert table.order("m", 0.5) == []
    table.set("m", [Variant("3", 0.1), Variant("2", 0.6), Variant("1", 0.3), Variant("0", 0.0, shadow=1.0)])
    assert table.order("m", 0.05) == ["3", "2", "1"]
    assert table.order("m", 0.99) == ["1", "2", "3"]


def test_a_new_row_takes_the_old_ones_place_whole() -> None:
    table = VariantTable()
    table.set("m", split("1"))
    before = table.row("m")
    table.set("m", split("2"))
    assert (before, table.order("m", 0.3)) == ((Variant("1"),), ["2"])


@pytest.mark.parametrize("row", [[], [Variant("1", 0.0)], [Variant("1", -1.0), Variant("2")], [Variant("1", 1.0, 2.0)]])
def test_a_row_that_nothing_could_be_served_by_is_refused(row: list[Variant]) -> None:
    table = VariantTable()
    with pytest.raises(ServiceError, match="model 'm'"):
        table.set("m", row)
    assert table.row("m") == ()


def test_shadows_are_the_share_and_never_the_version_that_answers() -> None:
    table, rng = VariantTable(), random.Random(0)
    table.set("m", split("1", "2", 0.5, shadow=0.3))
    assert sum(table.shadows("m", "1", rng) == ["2"] for _ in range(1000)) == pytest.approx(300, abs=40)
    assert all(table.shadows("m", "2", rng) == [] for _ in range(100))
    table.set("m", split("1"))
    assert table.shadows("m", "1", rng) == []


@pytest.mark.parametrize(
    ("sticky", "conversation", "key", "expected"),
    [
        ("conversation", "c", "k", "c"),
        ("conversation", None, "k", "k"),
        ("conversation", None, None, None),
        ("key", "c", "k", "k"),
        ("none", "c", "k", None),
    ],
)
def test_what_a_request_is_known_by(
    sticky: str, conversation: str | None, key: str | None, expected: str | None
) -> None:
    assert known_by(sticky, conversation, key) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 0.05), (0.05, 0.25), (0.3, 0.5), (0.5, 1.0), (1.0, None), (0.049, 0.05)]
)
def test_steps_follow_one_another(share: float, expected: float | None) -> None:
    assert step_after(share, (0.05, 0.25, 0.5, 1.0)) == expected


@pytest.mark.parametrize(
    ("seen", "verdict"),
    [
        (Seen(0, 0, None), "wait"),
        (Seen(99, 0, 100.0), "wait"),
        (Seen(100, 0, 100.0), "pass"),
        (Seen(100, 1, 100.0), "pass"),
        (Seen(100, 2, 100.0), "fail"),
        (Seen(10, 2, 100.0), "fail"),  # a hundred could not make up for two
        (Seen(100, 0, 1500.1), "fail"),
        (Seen(10, 0, 9999.0), "wait"),
    ],
)
def test_a_gate_judges_success_and_p99(seen: Seen, verdict: str) -> None:
    assert Gate(0.99, 1500, 100).judge(seen)[0] == verdict
