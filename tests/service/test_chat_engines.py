"""What the engines that generate can be asked besides plain words: token ids, scores, bias, schemas, tools."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.service.test_engines import QUESTION, causal_folder, told  # noqa: F401 -- the fixture

from tulou.core.manifest import write_manifest
from tulou.core.types import Message, ModelManifest, TokenScore, ToolCall
from tulou.service.engine import ChatEngine, Generation, Unsupported, open_chat
from tulou.service.engine.base import Grammar, as_template_sees
from tulou.service.engine.template import ChatTemplate

SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"kind": {"enum": ["a", "b"]}},
        "required": ["kind"],
        "additionalProperties": False,
    }
)
TOOLS: tuple[dict[str, Any], ...] = (
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}},
)
HERMES = (
    "{% if tools %}<|turn|>system\nTools: {{ tools | tojson }}, called as <tool_call></tool_call><|end|>{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'robot' %}{{ raise_exception('no robots') }}{% endif %}"
    "<|turn|>{{ message['role'] }}\n{{ message['content'] }}"
    "{% for call in message.tool_calls %}<tool_call>{{ call.function.name }}: {{ call.function.arguments.city }}"
    "</tool_call>{% endfor %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def folders(causal_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:  # noqa: F811
    """The same weights, with a template that knows tools, for both engines."""
    import shutil

    from tulou.model.compress.chat import export_chat

    source = tmp_path_factory.mktemp("tools") / "torch"
    shutil.copytree(causal_folder, source)
    (source / "chat_template.jinja").write_text(HERMES)
    out = source.with_name("openvino")
    export_chat(source, out)
    write_manifest(source, ModelManifest("tiny", "chat", "torch", "fp32", "f", "none", max_tokens=256))
    return {"torch": source, "openvino": out}


@pytest.fixture(scope="module", params=["openvino", "torch"])
def chat(request: pytest.FixtureRequest, folders: dict[str, Path]) -> Iterator[ChatEngine]:
    engine = open_chat(folders[request.param], threads=1)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def openvino(folders: dict[str, Path]) -> Iterator[ChatEngine]:
    engine = open_chat(folders["openvino"], threads=1)
    yield engine
    engine.close()


async def scores(engine: ChatEngine, request: Generation) -> list[TokenScore]:
    return [score async for delta in engine.generate(request) for score in delta.scores]


def ids_of(folders: dict[str, Path], text: str) -> tuple[int, ...]:
    from tokenizers import Tokenizer

    return tuple(Tokenizer.from_file(str(folders["torch"] / "tokenizer.json")).encode(text).ids)


async def test_token_ids_are_continued_like_their_text(chat: ChatEngine, folders: dict[str, Path]) -> None:
    ids = ids_of(folders, "where is my")
    assert await told(chat, Generation(ids, 12)) == await told(chat, Generation("where is my", 12))
    assert chat.text_of(ids) == "where is my"
    whole = await told(chat, Generation(ids, 20, begun=" order"))
    assert whole[1:3] == ("length", len(ids))
    with pytest.raises(Unsupported, match="token id 4000 is not in the model's vocabulary"):
        await told(chat, Generation((1, 4000), 3))


async def test_both_engines_give_tokens_the_same_scores(folders: dict[str, Path]) -> None:
    found = []
    for name in ("openvino", "torch"):
        engine = open_chat(folders[name], threads=1)
        found.append(await scores(engine, Generation(QUESTION, 12, top_logprobs=1)))
        engine.close()
    theirs, ours = found
    assert len(theirs) == len(ours) == 12
    assert [score.text for score in theirs] == [score.text for score in ours]
    assert [score.logprob for score in theirs] == pytest.approx([score.logprob for score in ours], abs=1e-3)
    assert [score.others[0][0] for score in theirs] == [score.text for score in ours]


async def test_no_scores_are_told_of_what_a_stop_string_cut_off(chat: ChatEngine) -> None:
    text, *_ = await told(chat, Generation(QUESTION, 24))
    stop = text[8:11]
    cut = await scores(chat, Generation(QUESTION, 24, stop=(stop,), top_logprobs=0))
    whole = await scores(chat, Generation(QUESTION, 24, top_logprobs=0))
    assert 0 < len(cut) < len(whole)
    assert cut == whole[: len(cut)]


def likeliest(folder: Path, ids: list[int], answer_tokens: int, top: int) -> tuple[list[int], list[dict[int, float]]]:
    """What transformers writes greedily behind `ids`, and the likeliest tokens at each place with their logarithms."""
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    answer: list[int] = []
    best: list[dict[int, float]] = []
    with torch.no_grad():
        for _ in range(answer_tokens):
            logprobs = model(input_ids=torch.tensor([ids + answer])).logits[0, -1].log_softmax(-1)  # (V,)
            found = logprobs.topk(top)
            best.append(dict(zip(found.indices.tolist(), found.values.tolist(), strict=True)))
            answer.append(int(logprobs.argmax()))
    return answer, best


async def test_the_likeliest_tokens_are_told_as_transformers_finds_them(
    chat: ChatEngine, folders: dict[str, Path]
) -> None:
    prompt = ids_of(folders, "where is my order " * 30)  # longer than what OpenVINO reads at once
    assert len(prompt) > 128
    answer, best = likeliest(folders["torch"], list(prompt), 12, 5)
    found = await scores(chat, Generation(prompt, 12, top_logprobs=5))
    assert [score.text for score in found] == [chat.text_of([token]) for token in answer]
    for score, token, expected in zip(found, answer, best, strict=True):
        assert [text for text, _ in score.others] == [chat.text_of([other]) for other in expected]
        assert [logprob for _, logprob in score.others] == pytest.approx(list(expected.values()), abs=1e-3)
        assert score.logprob == pytest.approx(expected[token], abs=1e-3)


async def test_scores_do_not_change_what_is_written(chat: ChatEngine) -> None:
    """OpenVINO GenAI writes the first two, the graph read step by step the last."""
    plain = await told(chat, Generation(QUESTION, 24, stop=("q",)))
    for top in (1, 5):
        assert await told(chat, Generation(QUESTION, 24, stop=("q",), top_logprobs=top)) == plain


async def test_a_drawn_answer_tells_the_likeliest_tokens_and_repeats_with_its_seed(chat: ChatEngine) -> None:
    request = Generation(QUESTION, 12, temperature=1.5, top_p=0.9, seed=3, top_logprobs=3)
    drawn = await scores(chat, request)
    assert drawn == await scores(chat, request)
    assert [len(score.others) for score in drawn] == [3] * 12
    assert any(score.others[0][0] != score.text for score in drawn)
    assert all(score.logprob <= score.others[0][1] for score in drawn)


async def test_a_seed_may_be_below_zero(chat: ChatEngine) -> None:
    request = Generation(QUESTION, 4, temperature=1.5, seed=-3, top_logprobs=3)
    assert (drawn := await scores(chat, request)) == await scores(chat, request)
    assert drawn


async def test_a_bias_makes_a_token_certain_or_impossible(chat: ChatEngine) -> None:
    assert (await told(chat, Generation(QUESTION, 4, logit_bias={40: 100.0})))[0] == chat.text_of([40]) * 4
    first = (await scores(chat, Generation(QUESTION, 1, top_logprobs=20)))[0]
    banned = {token: -100.0 for token in range(290) if chat.text_of([token]) == first.text}
    second = next(text for text, _ in first.others if text != first.text)
    assert (await told(chat, Generation(QUESTION, 1, logit_bias=banned)))[0] == second
    with pytest.raises(Unsupported, match="token id 4000 is not in the model's vocabulary") as caught:
        await told(chat, Generation(QUESTION, 4, logit_bias={4000: 1.0}))
    assert caught.value.param == "logit_bias"


async def test_biased_answers_stop_are_continued_and_keep_to_the_context(chat: ChatEngine) -> None:
    bias = {40: 12.0, 41: 11.0, 42: 10.0}
    for penalty in (0.0, 0.7):
        whole = await told(chat, Generation(QUESTION, 12, logit_bias=bias, frequency_penalty=penalty))
        assert whole[3] == 12
        begun = whole[0][:6]
        rest = await told(chat, Generation(QUESTION, 12, logit_bias=bias, frequency_penalty=penalty, begun=begun))
        assert (begun + rest[0], *rest[1:]) == whole
    whole = await told(chat, Generation(QUESTION, 12, logit_bias=bias))
    stop = whole[0][4:6]
    text, reason, *_ = await told(chat, Generation(QUESTION, 12, logit_bias=bias, stop=(stop,)))
    assert (text, reason) == (whole[0][: whole[0].index(stop)], "stop")
    assert sum((await told(chat, Generation(QUESTION, logit_bias=bias)))[2:]) == chat.manifest.max_tokens


async def test_biased_and_plain_answers_are_written_at_once(chat: ChatEngine) -> None:
    requests = [Generation(QUESTION, 24), Generation(QUESTION, 12, logit_bias={40: 100.0}, top_logprobs=2)] * 3
    alone = [await told(chat, request) for request in requests[:2]]
    assert await asyncio.gather(*(told(chat, request) for request in requests)) == alone * 3


async def test_what_needs_all_logits_does_not_go_with_a_schema(openvino: ChatEngine) -> None:
    for wanted, param in (({"logit_bias": {40: 1.0}}, "logit_bias"), ({"top_logprobs": 2}, "top_logprobs")):
        with pytest.raises(Unsupported, match="does not go with an answer that must fit a schema") as caught:
            await told(openvino, Generation(QUESTION, 4, grammar=Grammar(SCHEMA), **wanted))
        assert caught.value.param == param


async def test_penalties_keep_a_token_from_coming_back(chat: ChatEngine) -> None:
    bias = {40: 12.0, 41: 11.0}
    plain = await told(chat, Generation(QUESTION, 4, logit_bias=bias))
    assert await told(chat, Generation(QUESTION, 4, logit_bias=bias, frequency_penalty=2.0)) != plain
    free = await told(chat, Generation(QUESTION, 60))
    assert await told(chat, Generation(QUESTION, 60, frequency_penalty=2.0)) != free


async def test_an_answer_fits_its_schema(openvino: ChatEngine) -> None:
    for seed in range(3):
        request = Generation(QUESTION, 120, temperature=1.0, seed=seed, grammar=Grammar(SCHEMA))
        text, reason, *_ = await told(openvino, request)
        assert text.lstrip().startswith("{")
        if reason == "stop":  # random weights like white space; an answer that ended is a whole one
            assert json.loads(text)["kind"] in ("a", "b")
    wrapped = Grammar('{"enum":["yes"]}', "<tool_call>\n", "\n</tool_call>")
    assert (await told(openvino, Generation(QUESTION, 60, grammar=wrapped)))[0].split() == [
        "<tool_call>", '"yes"', "</tool_call>",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "schema",
    ['{"type":"objct"}', "[]", '{"$ref":"#/nowhere"}', '{"type":"string","pattern":"("}', '{"enum":[]}', "no json",
     '{"type":"integer","minimum":5,"maximum":1}', '{"enum":["' + "x" * 40_000 + '"]}'],
)  # fmt: skip
async def test_a_schema_that_cannot_be_read_is_refused_and_breaks_nothing(openvino: ChatEngine, schema: str) -> None:
    with pytest.raises(Unsupported, match="Invalid schema") as caught:
        await told(openvino, Generation(QUESTION, 8, grammar=Grammar(schema)))
    assert ".cc" not in caught.value.message
    assert (await told(openvino, Generation(QUESTION, 4)))[3] == 4


async def test_the_torch_engine_promises_no_schema(folders: dict[str, Path]) -> None:
    engine = open_chat(folders["torch"], threads=1)
    with pytest.raises(Unsupported, match="cannot hold answers to a schema"):
        await told(engine, Generation(QUESTION, 4, grammar=Grammar(SCHEMA)))
    engine.close()


async def test_tools_and_their_calls_go_through_the_chat_template(chat: ChatEngine) -> None:
    assert chat.tool_format == "hermes"
    plain = (await told(chat, Generation(QUESTION, 1)))[2]
    offered = (await told(chat, Generation(QUESTION, 1, tools=TOOLS)))[2]
    call = Message("assistant", "", (ToolCall("call_1", "weather", '{"city": "杭州"}'),))
    answered = (*QUESTION, call, Message("tool", "rain", tool_call_id="call_1"))
    assert plain < offered < (await told(chat, Generation(answered, 1, tools=TOOLS)))[2]


async def test_a_template_that_refuses_the_messages_is_told_in_its_own_words(chat: ChatEngine) -> None:
    strange: Any = (Message("robot", "x"),)  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match=r"refuses the messages.*no robots"):
        await told(chat, Generation(strange, 1))


@pytest.mark.parametrize(
    "source",
    [
        HERMES,
        "{{ bos_token }}{%- for message in messages -%}\n  {%- if loop.first -%}\n{% continue %}{% endif %}\n"
        "{% generation %}{{ message.content | tojson }}{% endgeneration %}\n{% endfor %}",
        "{% for m in messages %}{{ m.content | trim }}{{ tools | tojson(indent=2) if tools }}{% break %}{% endfor %}",
    ],
)
def test_templates_are_rendered_as_transformers_renders_them(causal_folder: Path, source: str) -> None:  # noqa: F811
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(causal_folder)
    tokenizer.bos_token = "<|turn|>"
    messages = (*QUESTION, Message("assistant", "", (ToolCall("c", "weather", '{"city": "杭州"}'),)))
    for tools in ((), TOOLS):
        theirs = tokenizer.apply_chat_template(
            as_template_sees(messages), chat_template=source, tools=list(tools) or None, add_generation_prompt=True,
            tokenize=False,
        )  # fmt: skip
        assert ChatTemplate(source, bos_token="<|turn|>").render(messages, tools) == theirs


def test_a_model_without_a_template_says_where_it_can_be_asked() -> None:
    with pytest.raises(Unsupported, match="give it a text at /v1/completions"):
        ChatTemplate("").render(QUESTION)
