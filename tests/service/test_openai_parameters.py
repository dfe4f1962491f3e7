"""What the common parameters of OpenAI's protocol do, asked through the gateway with the official client."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pydantic
import pytest
from tests.service.running_service import RunningService

HELLO: Any = [{"role": "user", "content": "where is my order"}]
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "What the sky does",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def test_several_choices_are_written_and_their_prompt_counted_once(service: RunningService) -> None:
    client = service.client()
    one = client.chat.completions.create(model="assistant", messages=HELLO)
    three = client.chat.completions.create(model="assistant", messages=HELLO, n=3)
    assert [choice.index for choice in three.choices] == [0, 1, 2]
    assert {choice.message.content for choice in three.choices} == {"where is my order"}
    assert one.usage is not None
    assert three.usage is not None
    assert three.usage.prompt_tokens == one.usage.prompt_tokens
    assert three.usage.completion_tokens == 3 * one.usage.completion_tokens


def test_several_choices_are_streamed_side_by_side(service: RunningService) -> None:
    chunks = list(
        service.client().chat.completions.create(
            model="assistant", messages=HELLO, n=2, stream=True, stream_options={"include_usage": True}
        )
    )
    said = {0: "", 1: ""}
    ended = {}
    for chunk in chunks:
        for choice in chunk.choices:
            said[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                ended[choice.index] = choice.finish_reason
    assert said == {0: "where is my order", 1: "where is my order"}
    assert ended == {0: "stop", 1: "stop"}
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 8


@pytest.mark.parametrize("is_streamed", [False, True])
def test_log_probabilities_belong_to_the_tokens_of_the_answer(service: RunningService, is_streamed: bool) -> None:
    asked: Any = {"model": "assistant", "messages": HELLO, "logprobs": True, "top_logprobs": 2}
    client = service.client()
    if is_streamed:
        chunks = client.chat.completions.create(**asked, stream=True)
        tokens = [token for c in chunks for token in (c.choices[0].logprobs or _NoTokens).content or ()]
    else:
        logprobs = client.chat.completions.create(**asked).choices[0].logprobs
        assert logprobs is not None
        tokens = logprobs.content or []
    assert "".join(token.token for token in tokens) == "where is my order"
    for token in tokens:
        assert token.bytes == list(token.token.encode())
        assert token.logprob < 0
        assert [len(token.top_logprobs), token.top_logprobs[0].token] == [2, token.token]


class _NoTokens:
    content: Any = ()


def test_answers_have_no_log_probabilities_unless_asked(service: RunningService) -> None:
    assert service.client().chat.completions.create(model="assistant", messages=HELLO).choices[0].logprobs is None


class Order(pydantic.BaseModel):
    number: int
    note: str
    urgent: bool


def test_an_answer_fits_the_schema_asked_for(service: RunningService) -> None:
    parsed = service.client().chat.completions.parse(
        model="assistant", messages=[{"role": "user", "content": "order 17 please"}], response_format=Order
    )
    assert parsed.choices[0].message.parsed == Order(number=17, note="order 17 please", urgent=True)


def test_an_answer_is_a_json_object_where_that_is_asked_for(service: RunningService) -> None:
    answer = service.client().chat.completions.create(
        model="assistant", messages=HELLO, response_format={"type": "json_object"}
    )
    assert json.loads(answer.choices[0].message.content or "") == {"echo": "where is my order"}


def test_a_tool_is_called_and_its_result_answered(service: RunningService) -> None:
    client = service.client()
    messages: Any = [{"role": "user", "content": "get_weather in 杭州"}]
    called = client.chat.completions.create(model="assistant", messages=messages, tools=[WEATHER])
    choice = called.choices[0]
    assert (choice.finish_reason, choice.message.content) == ("tool_calls", None)
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "get_weather in 杭州"})
    messages += [choice.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    told = client.chat.completions.create(model="assistant", messages=messages, tools=[WEATHER])
    assert (told.choices[0].finish_reason, told.choices[0].message.content) == ("stop", "rain")


@pytest.mark.parametrize("is_streamed", [False, True])
def test_one_call_at_a_time_where_that_is_asked_for(service: RunningService, is_streamed: bool) -> None:
    call = '<tool_call>\n{"name":"get_weather","arguments":{"city":"%s"}}\n</tool_call>'
    asked = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages: Any = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": None, "tool_calls": [asked]},
        {"role": "tool", "tool_call_id": "call_1", "content": "both: " + call % "杭州" + call % "上海"},  # is echoed
    ]
    found = []
    for parallel in (True, False):
        body: Any = {"model": "assistant", "messages": messages, "tools": [WEATHER], "parallel_tool_calls": parallel}
        if is_streamed:
            with service.client().chat.completions.stream(**body) as stream:
                choice: Any = stream.until_done().get_final_completion().choices[0]
        else:
            choice = service.client().chat.completions.create(**body).choices[0]
        assert (choice.finish_reason, choice.message.content.strip()) == ("tool_calls", "both:")
        found.append([json.loads(each.function.arguments)["city"] for each in choice.message.tool_calls])
    assert found == [["杭州", "上海"], ["杭州"]]


def test_a_call_is_streamed_whole_and_never_as_text(service: RunningService) -> None:
    messages: Any = [{"role": "user", "content": "get_weather now"}]
    with service.client().chat.completions.stream(model="assistant", messages=messages, tools=[WEATHER]) as stream:
        stream.until_done()
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "tool_calls"
    assert not choice.message.content
    assert choice.message.tool_calls is not None
    assert [call.function.name for call in choice.message.tool_calls] == ["get_weather"]


@pytest.mark.parametrize(
    "tool_choice", ["required", {"type": "function", "function": {"name": "get_weather"}}], ids=["required", "named"]
)
def test_a_call_may_be_required(service: RunningService, tool_choice: Any) -> None:
    answer = service.client().chat.completions.create(
        model="assistant", messages=HELLO, tools=[WEATHER], tool_choice=tool_choice
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert json.loads(calls[0].function.arguments) == {"city": "where is my order"}


def test_tools_that_may_not_be_called_are_not(service: RunningService) -> None:
    answer = service.client().chat.completions.create(
        model="assistant", messages=[{"role": "user", "content": "get_weather"}], tools=[WEATHER], tool_choice="none"
    )
    assert answer.choices[0].message.content == "get_weather"


def test_completions_take_prompts_and_choices_at_once(service: RunningService) -> None:
    answer = service.client().completions.create(model="assistant", prompt=["one two", "three"], n=2)
    assert [(choice.index, choice.text) for choice in answer.choices] == [
        (0, "one two"), (1, "one two"), (2, "three"), (3, "three"),
    ]  # fmt: skip
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 6)


@pytest.mark.parametrize("is_streamed", [False, True])
def test_completions_may_repeat_their_prompt(service: RunningService, is_streamed: bool) -> None:
    asked: Any = {"model": "assistant", "prompt": ["a b", [5, 6]], "echo": True}
    texts = ["", ""]
    if is_streamed:
        for chunk in service.client().completions.create(**asked, stream=True):
            texts[chunk.choices[0].index] += chunk.choices[0].text
    else:
        texts = [choice.text for choice in service.client().completions.create(**asked).choices]
    assert texts == ["a ba b", "5 65 6"]


def test_completions_tell_log_probabilities_in_their_own_shape(service: RunningService) -> None:
    logprobs = service.client().completions.create(model="assistant", prompt="one two", logprobs=1).choices[0].logprobs
    assert logprobs is not None
    assert logprobs.tokens == ["one", " two"]
    assert logprobs.text_offset == [0, 3]
    assert logprobs.token_logprobs is not None
    assert logprobs.top_logprobs == [{"one": logprobs.token_logprobs[0]}, {" two": logprobs.token_logprobs[1]}]


@pytest.mark.parametrize(
    ("change", "param", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"prompt": ""}, "prompt", None),
        ({"prompt": []}, "prompt", "empty_array"),
        ({"prompt": ["x"] * 65}, "prompt", "array_above_max_length"),
        ({"prompt": [1, "x"]}, "prompt[1]", "invalid_type"),
        ({"prompt": [[-1]]}, "prompt[0][0]", "invalid_type"),
        ({"prompt": {"a": 1}}, "prompt", "invalid_type"),
        ({"suffix": "end"}, "suffix", "unsupported_parameter"),
        ({"best_of": 3}, "best_of", "unsupported_value"),
        ({"echo": True, "logprobs": 1}, "echo", "invalid_value"),
    ],
)
def test_what_completions_cannot_do_is_named(
    service: RunningService, change: dict[str, Any], param: str, code: str | None
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        service.client().post(
            "/completions", body={"model": "assistant", "prompt": "x", **change}, cast_to=httpx.Response
        )
    assert (caught.value.param, caught.value.code) == (param, code)


def test_embeddings_take_token_ids(service: RunningService) -> None:
    client = service.client()
    by_ids = client.embeddings.create(model="encoder", input=[[1, 2], [3]])
    assert len(by_ids.data) == 2
    alone = client.embeddings.create(model="encoder", input=[1, 2])
    assert alone.data[0].embedding == by_ids.data[0].embedding


def test_embeddings_are_shortened_only_where_the_model_learned_that(service: RunningService) -> None:
    client = service.client()
    assert len(client.embeddings.create(model="encoder", input="x", dimensions=32).data[0].embedding) == 32
    with pytest.raises(openai.BadRequestError, match="'dimensions' does not support 16 with this model"):
        client.embeddings.create(model="encoder", input="x", dimensions=16)


def test_rerank_orders_documents_by_their_likeness_to_the_query(service: RunningService) -> None:
    body: dict[str, Any] = {
        "model": "encoder",
        "query": "where is my order",
        "documents": ["发票", {"text": "where is my orders"}, "an order"],
        "top_n": 2,
        "return_documents": True,
    }
    answer = service.client().post("/rerank", body=body, cast_to=httpx.Response).json()
    assert [row["index"] for row in answer["results"]] == [1, 2]
    assert answer["results"][0]["document"] == {"text": "where is my orders"}
    assert 1 >= answer["results"][0]["relevance_score"] > answer["results"][1]["relevance_score"]
    assert answer["usage"]["total_tokens"] > 0
    plain = service.client().post("/rerank", body=body | {"return_documents": None}, cast_to=httpx.Response).json()
    assert "document" not in plain["results"][0]


@pytest.mark.parametrize(
    "raw", [b'{"model":"assistant","messages":' + b"[" * 100_000, b'{"a":' * 20_000 + b"1" + b"}" * 20_000]
)
def test_deep_nesting_is_no_json(service: RunningService, raw: bytes) -> None:
    headers = {"authorization": f"Bearer {service.app}"}
    for path in ("chat/completions", "completions", "embeddings", "rerank", "classify"):
        assert httpx.post(f"{service.url}/v1/{path}", content=raw, headers=headers).status_code in (400, 413)
