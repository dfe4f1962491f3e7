"""Versions of a model behind a running gateway: split, switched under load, shadowed; and answers kept by version."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.service.house import ASSISTANT, ENCODER, House, Reply, echo, house, rogue

from tulou.core.service_settings import RolloutSettings
from tulou.service.gateway.policy.rollout import Variant, split
from tulou.service.pool import Endpoint

TEXT = "one two three four five"


@pytest.fixture
async def stack() -> AsyncIterator[contextlib.AsyncExitStack]:
    async with contextlib.AsyncExitStack() as made:
        yield made


async def versions(
    folder: Path, stack: contextlib.AsyncExitStack, *numbers: str, token_delay_s: float = 0.0
) -> list[Endpoint]:
    return [
        await echo(folder, stack, replace(ASSISTANT, version=number), f"v{number}", token_delay_s=token_delay_s)
        for number in numbers
    ]


async def test_twenty_promotions_under_load_lose_nothing(tmp_path: Path, stack: contextlib.AsyncExitStack) -> None:
    endpoints = await versions(tmp_path, stack, "1", "2", token_delay_s=0.01)
    stop = asyncio.Event()
    problems: list[str] = []
    asked_in_all = 0

    async def client(asked: House, number: int) -> None:
        nonlocal asked_in_all
        while not stop.is_set():
            reply = await asked.chat(f"{number} {TEXT}", stream=bool(number % 2))
            asked_in_all += 1
            if reply.words != f"{number} {TEXT}":
                problems.append(f"{reply.status} {reply.text[:200]}")

    async with house(tmp_path, endpoints) as asked:
        asked.switchboard.set_variants("assistant", split("1"))
        clients = [asyncio.create_task(client(asked, number)) for number in range(16)]
        for promotion in range(20):
            version = "21"[promotion % 2]
            asked.switchboard.set_variants("assistant", split(version), replace(ASSISTANT, version=version))
            reply = await asked.chat()  # the very next request
            assert reply.json["system_fingerprint"] == f"fp_{version}"
            await asyncio.sleep(0.05)
        stop.set()
        await asyncio.gather(*clients)
        assert problems == []
        assert asked_in_all > 200
        answered = Counter(row["model_version"] for row in asked.rows())
        assert min(answered["1"], answered["2"]) > 50


async def test_a_promoted_version_serves_once_it_is_ready_and_the_old_one_until_then(
    tmp_path: Path, stack: contextlib.AsyncExitStack
) -> None:
    (old,) = await versions(tmp_path, stack, "1")
    async with house(tmp_path, [old]) as asked:
        asked.switchboard.set_variants("assistant", split("2"))
        assert (await asked.chat()).json["system_fingerprint"] == "fp_1"
        endpoints = [old, *await versions(tmp_path, stack, "2")]
        asked.switchboard.pool._endpoints = {"assistant": endpoints}  # type: ignore[attr-defined]
        assert {(await asked.chat()).json["system_fingerprint"] for _ in range(4)} == {"fp_2"}


async def test_a_conversation_stays_with_its_version_while_shares_grow(
    tmp_path: Path, stack: contextlib.AsyncExitStack
) -> None:
    endpoints = await versions(tmp_path, stack, "1", "2")
    async with house(tmp_path, endpoints) as asked:

        async def versions_of(conversations: range) -> dict[int, str]:
            replies = [
                await asked.chat(metadata={"conversation": f"c{i}"}) if i % 2 else await asked_by_header(i)
                for i in conversations
            ]
            return {i: reply.json["system_fingerprint"] for i, reply in zip(conversations, replies, strict=True)}

        async def asked_by_header(number: int) -> Reply:
            body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
            return await asked.post(body, headers={"x-conversation-id": f"c{number}"})

        asked.switchboard.set_variants("assistant", split("1", "2", 0.3))
        before = await versions_of(range(60))
        assert before == await versions_of(range(60))
        assert 8 <= Counter(before.values())["fp_2"] <= 30
        asked.switchboard.set_variants("assistant", split("1", "2", 0.7))
        after = await versions_of(range(60))
        assert all(after[i] == "fp_2" for i, version in before.items() if version == "fp_2")
        assert Counter(after.values())["fp_2"] > Counter(before.values())["fp_2"]


async def test_a_tester_gets_the_new_version_and_others_by_key_stay_where_they_are(
    tmp_path: Path, stack: contextlib.AsyncExitStack
) -> None:
    endpoints = await versions(tmp_path, stack, "1", "2")
    async with house(tmp_path, endpoints, rollout=RolloutSettings(sticky="key")) as asked:
        await asked.chat()
        key_id = asked.rows()[0]["key_id"]
        row = [Variant("2", 0.001, keys=frozenset({key_id})), Variant("1", 0.999)]
        asked.switchboard.set_variants("assistant", row)
        body = {"model": "assistant", "messages": [{"role": "user", "content": "hi"}]}
        assert {(await asked.post(body, key=0)).json["system_fingerprint"] for _ in range(5)} == {"fp_2"}
        assert len({(await asked.post(body, key=1)).json["system_fingerprint"] for _ in range(20)}) == 1


@pytest.mark.parametrize("how", ["garbage", "hangs", "closes_in_stream", "well"])
async def test_copies_are_accounted_for_and_nobody_notices_them(
    how: str, tmp_path: Path, stack: contextlib.AsyncExitStack
) -> None:
    (good,) = await versions(tmp_path, stack, "1")
    tried = (await versions(tmp_path, stack, "2"))[0] if how == "well" else await rogue(how, stack, version="2")
    async with house(tmp_path, [good, tried], first_byte_s=0.3) as asked:
        asked.switchboard.set_variants("assistant", split("1", "2", 0.0, shadow=1.0))
        for i in range(6):
            assert (await asked.chat(TEXT, stream=bool(i % 2))).words == TEXT
        await asyncio.sleep(0.6)
        rows = asked.rows()
        copies = [row for row in rows if row["route"] == "shadow"]
        assert [row["model_version"] for row in rows if row["route"] != "shadow"] == ["1"] * 6
        assert [row["model_version"] for row in copies] == ["2"] * 6
        assert {row["status"] == 200 for row in copies} == ({True} if how == "well" else {False})
        assert asked.switchboard.live.figures().success_rate == 1
        assert asked.switchboard.live.figures().requests == 6


async def test_answers_are_kept_for_the_same_key_and_version_only(
    tmp_path: Path, stack: contextlib.AsyncExitStack
) -> None:
    endpoints = [*await versions(tmp_path, stack, "1", "2"), await echo(tmp_path, stack, ENCODER)]
    async with house(tmp_path, endpoints, (ASSISTANT, ENCODER), cache={"enabled": True}) as asked:
        asked.switchboard.set_variants("assistant", split("1"))
        body = {"model": "assistant", "temperature": 0, "messages": [{"role": "user", "content": TEXT}]}

        async def is_hit(key: int = 0, headers: dict[str, str] | None = None) -> bool:
            reply = await asked.post(body, key=key, headers=headers)
            assert reply.words == TEXT
            return reply.headers.get("x-cache") == "hit"

        assert [await is_hit(), await is_hit(), await is_hit(key=1), await is_hit(key=1)] == [False, True, False, True]
        assert not await is_hit(headers={"cache-control": "no-cache"})
        assert [(await asked.chat(TEXT)).headers.get("x-cache") for _ in range(2)] == [None, None]  # not greedy
        asked.switchboard.set_variants("assistant", split("2"))
        assert [await is_hit(), await is_hit()] == [False, True]
        kept = [row for row in asked.rows() if row["model_version"] == "2"]
        assert [(row["prompt_tokens"], row["completion_tokens"]) for row in kept] == [(5, 5)] * 2
        assert kept[1]["replica"] == ""
        vectors = {"model": "encoder", "input": ["a b c"]}
        replies = [await asked.post(vectors, "embeddings") for _ in range(2)]
        assert [reply.headers.get("x-cache") for reply in replies] == [None, "hit"]
        assert replies[0].text == replies[1].text
        assert asked.metric("tulou_cache_lookups_total", model="encoder", found="yes") == 1


async def test_refusals_and_failures_are_not_kept(tmp_path: Path, stack: contextlib.AsyncExitStack) -> None:
    async with house(tmp_path, [await echo(tmp_path, stack)], cache={"enabled": True}) as asked:
        body = {"model": "assistant", "temperature": 0, "messages": [{"role": "user", "content": "word " * 500}]}
        replies = [await asked.post(body) for _ in range(2)]
        assert [(reply.status, reply.headers.get("x-cache")) for reply in replies] == [(400, None)] * 2


async def test_without_the_setting_nothing_is_kept(tmp_path: Path, stack: contextlib.AsyncExitStack) -> None:
    async with house(tmp_path, [await echo(tmp_path, stack)]) as asked:
        replies = [await asked.chat(TEXT, temperature=0) for _ in range(2)]
        assert [reply.headers.get("x-cache") for reply in replies] == [None, None]


async def test_a_conversation_goes_where_it_is_warm(tmp_path: Path, stack: contextlib.AsyncExitStack) -> None:
    endpoints = [await echo(tmp_path, stack, name=f"r{i}") for i in range(3)]
    async with house(tmp_path, endpoints, balance="prefix_affinity") as asked:
        for conversation in range(12):
            turns = [{"role": "user", "content": f"question {conversation}"}]
            for _ in range(3):
                await asked.post({"model": "assistant", "messages": turns})
                turns = [*turns, {"role": "assistant", "content": "so"}, {"role": "user", "content": "more"}]
        went = [row["replica"] for row in asked.rows()]
        assert all(len(set(went[3 * i : 3 * i + 3])) == 1 for i in range(12))
        assert len(set(went)) == 3
