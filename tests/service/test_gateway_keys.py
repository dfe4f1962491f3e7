"""Keys, limits and accounts through a running gateway, with keys made by another process, as `tulou keys` is one."""

from __future__ import annotations

import concurrent.futures
import re
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import sqlalchemy as sa
from tests.service.running_service import RunningService, StartService

from tulou.core.state import metadata, open_state, requests, usage_by_day
from tulou.service.gateway.keyring import CACHE_S
from tulou.service.gateway.keys import PREFIX, Keys


@pytest.fixture(scope="module")
def keys(service: RunningService) -> Keys:
    return Keys(open_state("sqlite:///state.db", service.folder))


def ask(service: RunningService, secret: str, words: str = "hello", **more: Any) -> httpx.Response:
    body = {"model": "assistant", "messages": [{"role": "user", "content": words}], "max_tokens": 5} | more
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.post(f"{service.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def error(response: httpx.Response) -> dict[str, str]:
    found: dict[str, str] = response.json()["error"]
    return found


def eventually(is_so: Any, within_s: float = CACHE_S + 3) -> bool:
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def test_keys_that_are_wrong_expired_or_disabled_get_a_401_that_says_so(service: RunningService, keys: Keys) -> None:
    expiring, expired = keys.create("short", expires_at=time.time() + 0.2)
    off, disabled = keys.create("off")
    keys.change(off.id, disabled_at=time.time())
    time.sleep(0.3)
    told = {secret: ask(service, secret) for secret in (PREFIX + "wrong", "sk-other", expired, disabled)}
    assert {response.status_code for response in told.values()} == {401}
    assert {error(response)["code"] for response in told.values()} == {"invalid_api_key"}
    assert "has expired" in error(told[expired])["message"]
    assert "is disabled" in error(told[disabled])["message"]
    with pytest.raises(openai.AuthenticationError):
        service.client(expired).models.list()
    keys.change(expiring.id, expires_at=time.time() + 100)
    assert eventually(lambda: ask(service, expired).status_code == 200)


def test_a_revoked_key_ends_within_seconds(service: RunningService, keys: Keys) -> None:
    key, secret = keys.create("soon gone")
    assert ask(service, secret).status_code == 200
    keys.revoke(key.id)
    assert eventually(lambda: ask(service, secret).status_code == 401)


def test_a_rotated_key_works_with_both_secrets_for_a_while(service: RunningService, keys: Keys) -> None:
    key, old = keys.create("rotating")
    assert ask(service, old).status_code == 200
    _, new = keys.rotate(key.id, grace_s=4)
    assert [ask(service, secret).status_code for secret in (old, new)] == [200, 200]
    assert eventually(lambda: ask(service, old).status_code == 401, within_s=4 + CACHE_S)
    assert "replaced by a newer one" in error(ask(service, old))["message"]
    assert ask(service, new).status_code == 200


def test_a_key_uses_the_models_it_may(service: RunningService, keys: Keys) -> None:
    _, secret = keys.create("narrow", models=["encoder"])
    refused = ask(service, secret)
    assert (refused.status_code, error(refused)["code"]) == (403, "model_not_found")
    client = service.client(secret)
    assert client.embeddings.create(model="encoder", input="hello").data[0].embedding
    assert [model.id for model in client.models.list()] == ["encoder"]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("assistant")


def test_a_minutes_limit_is_told_in_headers_and_refused_as_openai_does(service: RunningService, keys: Keys) -> None:
    key, secret = keys.create("slow", budgets={"requests/minute": 3, "tokens/minute": 500})
    answers = [ask(service, secret) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["2", "1", "0", "0"]
    first, last = answers[0].headers, answers[3].headers
    assert (first["x-ratelimit-limit-requests"], first["x-ratelimit-limit-tokens"]) == ("3", "500")
    assert first["x-ratelimit-reset-requests"].endswith("s")
    assert 1 <= int(last["retry-after"]) <= 120
    told = error(answers[3])
    assert (told["type"], told["code"]) == ("requests", "rate_limit_exceeded")
    assert told["message"].startswith(
        f"Rate limit reached for key `{key.id}` on requests per min: Limit 3, Used 3, Requested 1."
    )
    assert re.search(r" Please try again in (\dm)?[\d.]+s\.$", told["message"])
    with pytest.raises(openai.RateLimitError) as caught:
        service.client(secret).chat.completions.create(
            model="assistant", messages=[{"role": "user", "content": "hello"}]
        )
    assert caught.value.code == "rate_limit_exceeded"
    keys.change(key.id, {"requests/minute": 100})
    assert eventually(lambda: ask(service, secret).status_code == 200)


def test_reserved_tokens_come_back_when_the_answer_was_shorter(service: RunningService, keys: Keys) -> None:
    _, secret = keys.create("modest", budgets={"tokens/minute": 450})
    for _ in range(3):  # each may write 350
        assert ask(service, secret, max_tokens=350).status_code == 200
    too_large = ask(service, secret, max_tokens=600)
    assert too_large.status_code == 429
    assert "Request too large" in error(too_large)["message"]
    assert too_large.headers["x-should-retry"] == "false"


def test_a_budget_of_money_that_is_used_up_is_an_insufficient_quota(service: RunningService, keys: Keys) -> None:
    _, secret = keys.create("poor", budgets={"money/month": 0.00006})
    answers = []
    for _ in range(20):
        answers.append(ask(service, secret))
        if answers[-1].status_code != 200:
            break
    assert len(answers) > 1
    told = error(answers[-1])
    assert (answers[-1].status_code, told["type"], told["code"]) == (429, "insufficient_quota", "insufficient_quota")
    assert "the money of this month" in told["message"]
    assert answers[-1].headers["x-should-retry"] == "false"


def test_what_was_asked_stands_in_the_accounts(service: RunningService, keys: Keys) -> None:
    key, secret = keys.create("counted")
    whole = ask(service, secret, max_tokens=3).json()["usage"]
    streamed = service.client(secret).chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": "a b c d e f"}], max_tokens=4, stream=True
    )
    written = [chunk for chunk in streamed if chunk.choices and chunk.choices[0].delta.content]
    refused = ask(service, secret, model="nobody")
    assert refused.status_code == 404
    state = open_state("sqlite:///state.db", service.folder)

    def rows() -> list[Any]:
        with state.connect() as db:
            return list(db.execute(sa.select(requests).where(requests.c.key_id == key.id).order_by(requests.c.at)))

    assert eventually(lambda: len(rows()) == 2)
    first, second = rows()
    assert (first.prompt_tokens, first.completion_tokens) == (whole["prompt_tokens"], whole["completion_tokens"])
    assert first.money == pytest.approx((whole["prompt_tokens"] + 2 * whole["completion_tokens"]) / 1e6)
    assert second.completion_tokens == len(written) == 4
    assert second.first_token_ms is not None
    with state.connect() as db:
        day = db.execute(sa.select(usage_by_day).where(usage_by_day.c.key_id == key.id)).one()
    assert (day.requests, day.completion_tokens) == (2, first.completion_tokens + second.completion_tokens)


def test_a_stream_whose_client_leaves_is_not_free(service: RunningService, keys: Keys) -> None:
    key, secret = keys.create("hasty")
    body = {"model": "assistant", "messages": [{"role": "user", "content": "word " * 50}], "stream": True}
    headers = {"authorization": f"Bearer {secret}"}
    with httpx.stream("POST", f"{service.url}/v1/chat/completions", json=body, headers=headers) as response:
        events = response.iter_lines()
        for _ in range(10):
            next(events)
    state = open_state("sqlite:///state.db", service.folder)

    def row() -> Any:
        with state.connect() as db:
            return db.execute(sa.select(requests).where(requests.c.key_id == key.id)).first()

    assert eventually(lambda: row() is not None)
    assert row().status == 499
    assert row().completion_tokens >= 4
    assert row().prompt_tokens > 0


@pytest.mark.parametrize("kind", ["embedded", "servers"])
def test_a_days_budget_survives_a_restart(
    start_service: StartService, tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    limits, state_url = "memory://", f"sqlite:///{tmp_path / 'state.db'}"
    if kind == "servers":
        limits, state_url = request.getfixturevalue("redis_url"), request.getfixturevalue("postgresql_url")
    options = ("--limits", limits, "--state", state_url)
    state = open_state(state_url, tmp_path)
    try:
        first = start_service(tmp_path, *options)
        key, secret = Keys(state).create("daily", budgets={"requests/day": 5})
        assert [ask(first, secret).status_code for _ in range(3)] == [200] * 3
        first.interrupt()
        with state.connect() as db:
            assert db.execute(sa.select(usage_by_day.c.requests).where(usage_by_day.c.key_id == key.id)).scalar() == 3
        second = start_service(tmp_path, *options)
        assert [ask(second, secret).status_code for _ in range(3)] == [200, 200, 429]
        second.interrupt()
    finally:
        metadata.drop_all(state)
        state.dispose()


def test_two_gateways_with_one_redis_let_exactly_the_limit_through(
    start_service: StartService, tmp_path: Path, redis_url: str
) -> None:
    state_url = f"sqlite:///{tmp_path / 'state.db'}"
    folders = [tmp_path / name for name in ("here", "there")]
    for folder in folders:
        folder.mkdir()
    options = ("--limits", redis_url, "--state", state_url)
    services = [start_service(folder, *options) for folder in folders]
    _, secret = Keys(open_state(state_url, tmp_path)).create("shared", budgets={"requests/minute": 40})
    time.sleep(max(0.0, 8 - (60 - time.time() % 60)) and 60 - time.time() % 60)  # not across the end of a minute

    def embed(number: int) -> int:
        body = {"model": "encoder", "input": "hello"}
        url = f"{services[number % 2].url}/v1/embeddings"
        return httpx.post(url, json=body, headers={"authorization": f"Bearer {secret}"}, timeout=30).status_code

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(embed, range(120)))
    assert (statuses.count(200), statuses.count(429)) == (40, 80)
    assert statuses[0::2].count(200) > 0
    assert statuses[1::2].count(200) > 0
