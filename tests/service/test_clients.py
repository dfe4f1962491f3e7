"""Clients that people use, each against the running gateway: curl, OpenAI's for Node, langchain-openai, litellm.

They live in `.clients`, apart from our own libraries; `make test` puts them there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.service.running_service import RunningService

SCRIPTS = Path(__file__).with_name("clients")
CLIENTS = Path(__file__).parents[2] / ".clients"
ANSWER = "where is my order 我的订单"

has_python_clients = pytest.mark.skipif(
    not (CLIENTS / ".ready").exists(), reason="the clients are not installed; `make clients` does it"
)
has_node_client = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules" / "openai").is_dir(),
    reason="Node or its client is not installed; install Node, then `make clients`",
)


def run(service: RunningService, *command: str, **environment: str) -> Any:
    """What the command printed as its last line, read as JSON."""
    known = {"OPENAI_BASE_URL": f"{service.url}/v1", "OPENAI_API_KEY": service.app}
    ended = subprocess.run(
        command, env=os.environ | known | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


@has_node_client
def test_openai_for_node_gets_what_it_asks_for(service: RunningService) -> None:
    got = run(service, "node", str(SCRIPTS / "ask.cjs"), NODE_PATH=str(CLIENTS / "node_modules"))
    assert got == {
        "models": ["assistant", "intents", "encoder", "reranker"],
        "chat": ANSWER,
        "streamed": ANSWER,
        "streamed_tokens": 8,
        "tool": "get_weather",
        "vectors": [32, 32],
        "completion": "one two",
        "error": ["NotFoundError", 404, "model_not_found", "string"],
    }


@has_python_clients
def test_langchain_gets_what_it_asks_for(service: RunningService) -> None:
    assert run(service, str(CLIENTS / "python/bin/python"), str(SCRIPTS / "ask_langchain.py")) == {
        "chat": ANSWER,
        "tokens": 8,
        "streamed": ANSWER,
        "tool": ["get_weather"],
        "structured": {"number": 17, "note": "order 17"},
        "vectors": [32, 32],
        "completion": "one two",
    }


@has_python_clients
def test_litellm_gets_what_it_asks_for(service: RunningService) -> None:
    assert run(service, str(CLIENTS / "python/bin/python"), str(SCRIPTS / "ask_litellm.py")) == {
        "chat": ANSWER,
        "streamed": ANSWER,
        "choices": [0, 1],
        "vectors": [32, 32],
        "ranked": [1],
        "error": 404,
    }


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_gets_a_stream(service: RunningService) -> None:
    body = {"model": "assistant", "messages": [{"role": "user", "content": "one two"}], "stream": True}
    ended = subprocess.run(
        ["curl", "--silent", "--show-error", "--no-buffer", "--include", "--max-time", "20",
         f"{service.url}/v1/chat/completions", "--json", json.dumps(body),
         "--header", f"Authorization: Bearer {service.app}"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    head, _, events = ended.stdout.partition("\n\n")
    assert head.startswith("HTTP/1.1 200")
    assert "content-type: text/event-stream" in head
    assert "x-request-id: req_" in head
    said = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in said) == "one two"
    assert events.rstrip().endswith("data: [DONE]")


@has_python_clients
def test_schemathesis_finds_no_difference_between_document_and_service(service: RunningService, tmp_path: Path) -> None:
    """Everything but whether what fits the types is taken: some fields go only with others, which types do not say."""
    ended = subprocess.run(
        [str(CLIENTS / "python/bin/st"), "run", f"{service.url}/openapi.json", "--header",
         f"Authorization: Bearer {service.app}", "--exclude-checks", "positive_data_acceptance", "--max-examples", "30",
         "--seed", "1", "--generation-database", "none", "--no-color"],
        capture_output=True, text=True, timeout=200, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stdout
