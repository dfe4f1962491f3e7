"""The official client gets from us the answers and errors that it gets from OpenAI."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from tests.service.running_service import RunningService

HELLO: Any = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is my order? 我的订单在哪？"},
]


def test_models_are_listed_and_shown(service: RunningService) -> None:
    client = service.client()
    assert [model.id for model in client.models.list()] == ["assistant", "intents", "encoder", "reranker"]
    assert client.models.retrieve("encoder").owned_by == "tulou"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"


def test_chat_answers_with_usage(service: RunningService) -> None:
    answer = service.client().chat.completions.create(model="assistant", messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == "Where is my order? 我的订单在哪？"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert answer._request_id is not None
    assert answer.id.removeprefix("chatcmpl-") == answer._request_id.removeprefix("req_")


def test_chat_streams_the_same_answer_piece_by_piece(service: RunningService) -> None:
    stream = service.client().chat.completions.create(
        model="assistant", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == "Where is my order? 我的订单在哪？"
    assert sum(bool(piece) for piece in pieces) > 5
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 5
    assert len({chunk.id for chunk in chunks}) == 1


def test_usage_is_streamed_only_when_asked_for(service: RunningService) -> None:
    chunks = list(service.client().chat.completions.create(model="assistant", messages=HELLO, stream=True))
    assert all(chunk.choices for chunk in chunks)
    assert all(chunk.usage is None for chunk in chunks)


def test_max_tokens_and_stop_end_an_answer(service: RunningService) -> None:
    client = service.client()
    cut = client.chat.completions.create(model="assistant", messages=HELLO, max_completion_tokens=2)
    assert (cut.choices[0].message.content, cut.choices[0].finish_reason) == ("Where is", "length")
    stopped = client.chat.completions.create(model="assistant", messages=HELLO, stop=["order"])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("Where is my ", "stop")


def test_completions_answer_one_prompt_or_several(service: RunningService) -> None:
    client = service.client()
    both = client.completions.create(model="assistant", prompt=["one", "two words"])
    assert [(choice.index, choice.text) for choice in both.choices] == [(0, "one"), (1, "two words")]
    stream = client.completions.create(model="assistant", prompt="a b c", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "a b c"


def test_embeddings_are_the_same_as_floats_and_as_base64(service: RunningService) -> None:
    client = service.client()
    texts = ["where is my order", "where is my orders", "发票抬头怎么改"]
    packed = client.embeddings.create(model="encoder", input=texts)  # the client asks for base64
    plain = client.embeddings.create(model="encoder", input=texts, encoding_format="float")
    rows = [item.embedding for item in packed.data]
    assert rows == [item.embedding for item in plain.data]
    assert len(rows[0]) == 32

    def similarity(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True))

    assert similarity(rows[0], rows[1]) > 0.8 > similarity(rows[0], rows[2])
    assert packed.usage.prompt_tokens > 0


def test_classify_ranks_the_labels(service: RunningService) -> None:
    body = {"model": "intents", "input": ["I want a refund", "发票 invoice"], "top_k": 2}
    answer = service.client().post("/classify", body=body, cast_to=httpx.Response).json()
    assert [row["label"] for row in answer["data"]] == ["refund", "invoice"]
    assert [len(row["scores"]) for row in answer["data"]] == [2, 2]


def test_wrong_key_is_refused_like_openai_does(service: RunningService) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        service.client("sk-tulou-wrong-key-0123456789").models.list()
    assert (caught.value.status_code, caught.value.code, caught.value.type) == (
        401, "invalid_api_key", "invalid_request_error",
    )  # fmt: skip
    assert "sk-tulou" in caught.value.message
    assert "wrong-key-012345" not in caught.value.message


def test_missing_key_is_refused(service: RunningService) -> None:
    response = httpx.post(f"{service.url}/v1/chat/completions", json={"model": "assistant", "messages": HELLO})
    assert response.status_code == 401
    assert response.json()["error"]["message"].startswith("You didn't provide an API key.")


def test_a_viewer_may_look_but_not_ask(service: RunningService) -> None:
    client = service.client(service.viewer)
    assert client.models.list().data
    with pytest.raises(openai.PermissionDeniedError):
        client.chat.completions.create(model="assistant", messages=HELLO)


def test_unknown_model_is_not_found(service: RunningService) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        service.client().chat.completions.create(model="gpt-9", messages=HELLO)
    assert (caught.value.status_code, caught.value.code, caught.value.type) == (
        404, "model_not_found", "invalid_request_error",
    )  # fmt: skip
    assert "`gpt-9`" in caught.value.message


def test_a_model_for_another_task_is_refused_with_its_task(service: RunningService) -> None:
    with pytest.raises(openai.NotFoundError, match="intents` is a classify model"):
        service.client().chat.completions.create(model="intents", messages=HELLO)


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"messages": "hello"}, "messages", "invalid_type"),
        ({"messages": []}, "messages", "empty_array"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "missing_required_parameter"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"temperature": "hot"}, "temperature", "invalid_type"),
        ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
        ({"n": 200}, "n", "integer_above_max_value"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "missing_required_parameter"),
        ({"tool_choice": "auto"}, "tool_choice", "invalid_value"),
        ({"functions": [{"name": "f"}]}, "functions", "unsupported_parameter"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"modalities": ["audio"]}, "modalities", "unsupported_value"),
        ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id", "missing_required_parameter"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type"),
        ({"messages": [{"role": "user", "content": "word " * 500}]}, "messages", "context_length_exceeded"),
    ],
)
def test_bad_values_name_the_parameter(service: RunningService, change: dict[str, Any], param: str, code: str) -> None:
    body: dict[str, Any] = {"model": "assistant", "messages": HELLO, **change}
    with pytest.raises(openai.BadRequestError) as caught:
        service.client().post("/chat/completions", body=body, cast_to=httpx.Response)
    assert (caught.value.status_code, caught.value.param, caught.value.code) == (400, param, code)
    assert caught.value.type == "invalid_request_error"


@pytest.mark.parametrize("is_streamed", [False, True])
def test_context_length_is_an_error_before_the_stream_begins(service: RunningService, is_streamed: bool) -> None:
    messages: Any = [{"role": "user", "content": "word " * 500}]
    with pytest.raises(openai.BadRequestError, match="maximum context length is 400 tokens"):
        service.client().chat.completions.create(model="assistant", messages=messages, stream=is_streamed)


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"\xff\xfe", b"[1, 2]", b'"text"', b'{"model": "assistant", "messages": [' * 50]
)
def test_a_body_that_is_no_json_object_is_refused(service: RunningService, raw: bytes) -> None:
    response = httpx.post(
        f"{service.url}/v1/chat/completions", content=raw, headers={"authorization": f"Bearer {service.app}"}
    )
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"
    assert "could not parse the JSON body" in response.json()["error"]["message"]


def test_missing_fields_are_named(service: RunningService) -> None:
    headers = {"authorization": f"Bearer {service.app}"}
    no_messages = httpx.post(f"{service.url}/v1/chat/completions", json={"model": "assistant"}, headers=headers)
    assert no_messages.json()["error"]["param"] == "messages"
    no_model = httpx.post(f"{service.url}/v1/chat/completions", json={"messages": HELLO}, headers=headers)
    assert no_model.json()["error"]["message"] == "you must provide a model parameter"


def test_a_large_body_is_refused_whether_announced_or_not(service: RunningService) -> None:
    headers = {"authorization": f"Bearer {service.app}"}
    large = json.dumps({"model": "encoder", "input": "x" * 200_000}).encode()
    announced = httpx.post(f"{service.url}/v1/embeddings", content=large, headers=headers)
    pieces = (large[i : i + 1000] for i in range(0, len(large), 1000))
    unannounced = httpx.post(f"{service.url}/v1/embeddings", content=pieces, headers=headers)
    assert (announced.status_code, unannounced.status_code) == (413, 413)
    assert "100000 bytes" in announced.json()["error"]["message"]


def test_unknown_urls_and_methods_are_worded_like_openai(service: RunningService) -> None:
    unknown = httpx.get(f"{service.url}/v1/nothing")
    assert (unknown.status_code, unknown.json()["error"]["message"]) == (404, "Invalid URL (GET /v1/nothing)")
    wrong = httpx.get(f"{service.url}/v1/chat/completions")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_supported")


def test_health_and_metrics_tell_how_it_goes(service: RunningService) -> None:
    service.client().embeddings.create(model="encoder", input="x")
    assert httpx.get(f"{service.url}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{service.url}/readyz").json()["replicas"]
    assert ready == {"assistant": 2, "intents": 2, "encoder": 2, "reranker": 2}
    text = httpx.get(f"{service.url}/metrics").text
    assert 'tulou_requests_total{model="encoder",route="/v1/embeddings",status="200"}' in text
    assert 'tulou_replicas{model="assistant",state="ready"} 2.0' in text
