"""The service as a customer, a client program and an operator meet it."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

Tulou = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def client(service: dict[str, Any]) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{service['url']}/v1", api_key=service["admin_key"], max_retries=0)


def test_the_first_start_makes_the_admin_key_and_says_where_the_service_is(shop: Path, service: dict[str, Any]) -> None:
    assert service["admin_key"].startswith("sk-tulou-")
    key_file = shop / ".tulou" / "admin.key"
    assert key_file.read_text().strip() == service["admin_key"]
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert json.loads((shop / ".tulou" / "service.json").read_text())["url"] == service["url"]


def test_the_official_client_chats_embeds_and_lists(client: openai.OpenAI) -> None:
    assert {model.id for model in client.models.list()} == {"intents", "assistant", "encoder"}
    messages: list[Any] = [{"role": "user", "content": "Hello"}]
    whole = client.chat.completions.create(model="assistant", messages=messages, max_tokens=8, temperature=0)
    pieces = client.chat.completions.create(
        model="assistant", messages=messages, max_tokens=8, temperature=0, stream=True
    )
    streamed = "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
    assert streamed == whole.choices[0].message.content
    vectors = client.embeddings.create(model="encoder", input=["kettle", "toaster"])
    assert [len(row.embedding) for row in vectors.data] == [384, 384]


def test_the_classifier_names_an_intent(service: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {service['admin_key']}"}
    body = {"model": "intents", "input": "我的水壶什么时候到"}
    answer = httpx.post(f"{service['url']}/v1/classify", json=body, headers=headers, timeout=30)
    assert answer.status_code == 200
    assert {"refund", "delivery", "invoice"} == {score["label"] for score in answer.json()["data"][0]["scores"]}


def test_wrong_key_and_unknown_model_are_openais_errors(service: dict[str, Any], client: openai.OpenAI) -> None:
    stranger = openai.OpenAI(base_url=f"{service['url']}/v1", api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-nope", messages=[{"role": "user", "content": "x"}])


def test_a_customer_asks_rates_and_is_remembered(service: dict[str, Any]) -> None:
    with httpx.Client(base_url=service["url"], timeout=30) as browser:
        assert browser.get("/chat").status_code == 200
        answer = browser.post("/api/support/ask", json={"question": "Who pays the postage of faulty goods?"}).json()
        assert answer["sources"][0]["uri"] == "data/knowledge/returns.md"
        rated = browser.post("/api/support/feedback", json={"turn_id": answer["turn_id"], "rating": 1})
        assert rated.json() == {"stored": True}
        kept = browser.get(f"/api/support/conversations/{answer['conversation_id']}").json()
        assert kept["turns"][0]["question"].startswith("Who pays")


def test_the_console_is_for_those_who_sign_in(service: dict[str, Any]) -> None:
    with httpx.Client(base_url=service["url"], timeout=30) as browser:
        assert browser.get("/").status_code == 303
        assert browser.get("/api/admin/models").status_code == 401
        assert browser.post("/api/admin/login", json={"key": service["admin_key"]}).status_code == 200
        assert browser.get("/").status_code == 200
        for window in ("overview", "runs", "cleaning", "models", "replicas", "live", "conversations"):
            shown = browser.get(f"/api/admin/{window}")
            assert shown.status_code == 200, window
            assert shown.json(), window


def test_metrics_and_health_are_there(service: dict[str, Any], client: openai.OpenAI) -> None:
    client.embeddings.create(model="encoder", input="x")
    assert httpx.get(f"{service['url']}/healthz").status_code == 200
    assert httpx.get(f"{service['url']}/readyz").status_code == 200
    assert "tulou_requests_total" in httpx.get(f"{service['url']}/metrics").text


def test_a_killed_replica_costs_no_request_and_comes_back(tulou: Tulou, shop: Path, service: dict[str, Any]) -> None:
    def replicas() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(tulou("status", "--json", "--project", str(shop)).stdout)["replicas"]
        return [replica for replica in found if replica["model"] == "encoder"]

    before = replicas()
    assert [replica["state"] for replica in before] == ["ready", "ready"]
    client = openai.OpenAI(base_url=f"{service['url']}/v1", api_key=service["admin_key"], max_retries=0)
    with ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(client.embeddings.create, model="encoder", input=f"text {i}") for i in range(200)]
        os.kill(before[0]["pid"], signal.SIGKILL)
        assert all(len(each.result().data) == 1 for each in asked)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and [replica["state"] for replica in replicas()] != ["ready", "ready"]:
        time.sleep(0.5)
    after = replicas()
    assert [replica["state"] for replica in after] == ["ready", "ready"]
    assert after[0]["pid"] != before[0]["pid"]


def test_a_second_service_of_the_project_is_refused(tulou: Tulou, shop: Path, service: dict[str, Any]) -> None:
    refused = tulou("serve", "--project", str(shop))
    assert refused.returncode == 1
    assert service["url"] in refused.stderr


def test_ctrl_c_leaves_no_process_behind(shop: Path, service: dict[str, Any], tmp_path: Path) -> None:
    """Serves a second project with the same models, so that the shared service stays."""
    project = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(shop), str(project)], check=True)
    (project / ".tulou" / "service.json").unlink()
    process = subprocess.Popen(
        [sys.executable, "-m", "tulou", "serve", "--json", "--project", str(project)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["admin_key"] is None  # there is one already
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 6
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    process.wait(timeout=20)
    assert time.monotonic() - started < 10  # five seconds on a quiet machine
    _, alive = psutil.wait_procs(children, timeout=2)
    assert not alive
    assert not (project / ".tulou" / "service.json").exists()
    process.stdout.close()
