from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from tulou.bench.balance import SCENARIOS, Simulation, arrivals, bench_balance
from tulou.cli import app
from tulou.service.gateway.policy.balance import BALANCERS


@pytest.fixture(scope="module")
def figures() -> dict[str, dict[str, dict[str, Any]]]:
    found = bench_balance(requests=4000)
    return {each["name"]: {row["policy"]: row for row in each["rows"]} for each in found["scenarios"]}


def test_every_balancer_is_held_against_every_kind_of_work(figures: dict[str, dict[str, Any]]) -> None:
    assert list(figures) == [work.name for work in SCENARIOS]
    assert all(set(rows) == set(BALANCERS) for rows in figures.values())


def test_turns_pile_up_before_a_slow_replica_and_knowing_the_load_does_not(figures: dict[str, dict[str, Any]]) -> None:
    rows = figures["slow_replica"]
    for name in ("least_connections", "peak_ewma", "prefix_affinity"):
        assert rows[name]["p99_ms"] < rows["round_robin"]["p99_ms"] / 5


def test_affinity_finds_more_warm_and_answers_sooner(figures: dict[str, dict[str, Any]]) -> None:
    rows = figures["warm_prefix"]
    others = [row for name, row in rows.items() if name != "prefix_affinity"]
    assert rows["prefix_affinity"]["warm_share"] > max(row["warm_share"] for row in others) + 0.1
    assert rows["prefix_affinity"]["p50_ms"] < min(row["p50_ms"] for row in others)


def test_work_asked_for_is_work_done() -> None:
    """Queueing theory's check: with even work and no slow replica, replicas are as busy as the load says."""
    work, asked = SCENARIOS[0], list(arrivals(SCENARIOS[0], 5000, 3, 2, 0.6, 1))
    row = Simulation(work, "least_connections", 3, 2, 1).run(asked)
    assert row["utilisation"] == pytest.approx(0.6, abs=0.03)
    assert row["p50_ms"] == pytest.approx(500)


def test_equal_seeds_give_equal_figures() -> None:
    assert bench_balance(requests=300, seed=7) == bench_balance(requests=300, seed=7)
    assert bench_balance(requests=300, seed=7) != bench_balance(requests=300, seed=8)


def test_the_command_prints_a_table_or_one_object() -> None:
    shown = CliRunner().invoke(app, ["bench", "balance", "--requests", "200"])
    assert shown.exit_code == 0
    assert "prefix_affinity" in shown.output
    told = CliRunner().invoke(app, ["bench", "balance", "--requests", "200", "--json"])
    assert set(json.loads(told.output)) == {"requests", "replicas", "slots", "load", "seed", "scenarios"}
