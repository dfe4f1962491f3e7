"""One contract for every engine, each over a tiny model made here."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from tulou.core.errors import ModelError
from tulou.core.extras import load_openvino
from tulou.core.manifest import write_manifest
from tulou.core.types import Message, ModelManifest
from tulou.service.batcher import Batcher, Overloaded
from tulou.service.engine import (
    ENGINES,
    ChatEngine,
    EncoderEngine,
    Generation,
    PromptTooLong,
    Unsupported,
    open_chat,
    open_encoder,
)
from tulou.service.engine.openvino_chat import OpenVinoChat
from tulou.service.engine.openvino_runtime import serving_properties
from tulou.service.local import LocalModels
from tulou.service.replica import EngineBackend, build_replica

LABELS = ("refund", "delivery", "invoice")
WIDTH = 16
VOCABULARY = ["[PAD]", "[UNK]", "where", "is", "my", "order", "refund", "delivery", "invoice", "the", "hello", "world"]
TEXTS = ["where is my order", "", "my refund", "hello world the delivery is the order " * 20, "发票", "refund my"]


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))


def write_openvino_encoder(folder: Path, width: int, is_normalised: bool) -> None:
    """Mean of word vectors, hidden positions left out: the smallest graph with the inputs and outputs of a real one."""
    ov = load_openvino()
    from openvino import opset13 as op

    vectors = np.random.default_rng(0).normal(size=(len(VOCABULARY), width)).astype(np.float32)
    ids = op.parameter([-1, -1], np.int64, name="input_ids")
    mask = op.parameter([-1, -1], np.int64, name="attention_mask")
    for node, name in ((ids, "input_ids"), (mask, "attention_mask")):
        node.output(0).get_tensor().set_names({name})
    words = op.gather(op.constant(vectors), ids, op.constant(0))  # (B, T, D)
    weights = op.unsqueeze(op.convert(mask, "f32"), op.constant(2))  # (B, T, 1)
    count = op.maximum(op.reduce_sum(weights, op.constant([1]), False), op.constant(np.float32(1)))
    mean = op.divide(op.reduce_sum(op.multiply(words, weights), op.constant([1]), False), count)  # (B, D)
    result = op.normalize_l2(mean, op.constant([1]), 1e-12, "max") if is_normalised else mean
    ov.save_model(ov.Model([op.result(result)], [ids, mask]), folder / "openvino_model.xml", compress_to_fp16=False)


def write_onnx_encoder(folder: Path, width: int, is_normalised: bool) -> None:
    """The same graph for ONNX Runtime."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    vectors = np.random.default_rng(0).normal(size=(len(VOCABULARY), width)).astype(np.float32)
    constants = {"vectors": vectors, "two": np.array([2]), "one": np.array([1]), "floor": np.array([1], np.float32)}
    nodes = [
        ("Gather", ["vectors", "input_ids"], "words", {}),  # (B, T, D)
        ("Cast", ["attention_mask"], "float_mask", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["float_mask", "two"], "weights", {}),  # (B, T, 1)
        ("Mul", ["words", "weights"], "weighed", {}),
        ("ReduceSum", ["weighed", "one"], "sum", {"keepdims": 0}),  # (B, D)
        ("ReduceSum", ["weights", "one"], "count", {"keepdims": 0}),  # (B, 1)
        ("Max", ["count", "floor"], "safe", {}),
        ("Div", ["sum", "safe"], "mean", {}),
        ("LpNormalization", ["mean"], "unit", {"axis": 1, "p": 2}),
    ]
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.INT64, [None, None]) for n in ("input_ids", "attention_mask")
    ]
    output = helper.make_tensor_value_info("unit" if is_normalised else "mean", TensorProto.FLOAT, [None, width])
    graph = helper.make_graph(
        [helper.make_node(kind, given, [result], **options) for kind, given, result, options in nodes],
        "encoder", inputs, [output], [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )  # fmt: skip
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), folder / "model.onnx"
    )


def make_folder(folder: Path, engine: str, task: str) -> Path:
    """A model folder for `engine` and `task`."""
    folder.mkdir()
    labels = LABELS if task == "classify" else ()
    dimensions = WIDTH if task == "embed" else 0
    if engine == "openvino":
        write_tokenizer(folder)
        write_openvino_encoder(folder, WIDTH if task == "embed" else len(LABELS), task == "embed")
    elif engine == "onnx":
        write_tokenizer(folder)
        write_onnx_encoder(folder, WIDTH if task == "embed" else len(LABELS), task == "embed")
    elif engine == "torch":
        import torch
        import transformers

        write_tokenizer(folder)
        tokenizer = transformers.PreTrainedTokenizerFast(
            tokenizer_file=str(folder / "tokenizer.json"), unk_token="[UNK]", pad_token="[PAD]"
        )
        tokenizer.save_pretrained(folder)
        torch.manual_seed(0)
        config = transformers.BertConfig(
            vocab_size=len(VOCABULARY), hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2,
            intermediate_size=32, max_position_embeddings=64, num_labels=len(LABELS),
        )  # fmt: skip
        heads = {"embed": transformers.BertModel, "classify": transformers.BertForSequenceClassification}
        heads[task](config).save_pretrained(folder)
    manifest = ModelManifest(
        "tiny", task, engine, "fp32", "f", "none", labels=labels, dimensions=dimensions, max_tokens=32  # type: ignore[arg-type]
    )  # fmt: skip
    write_manifest(folder, manifest)
    return folder


ENCODERS = [(engine, task) for engine in ("echo", "openvino", "onnx", "torch") for task in ("embed", "classify")]


@pytest.fixture(params=ENCODERS, ids="-".join)
def encoder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EncoderEngine]:
    engine = open_encoder(make_folder(tmp_path / "tiny", *request.param), threads=1)
    yield engine
    engine.close()


def test_encoders_give_unit_vectors_or_probabilities(encoder: EncoderEngine) -> None:
    rows = encoder.encode(TEXTS)
    assert rows.dtype == np.float32
    if encoder.manifest.task == "classify":
        assert rows.shape == (len(TEXTS), len(LABELS))
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    else:
        assert rows.shape == (len(TEXTS), WIDTH)
        full = [i for i, text in enumerate(TEXTS) if text]
        np.testing.assert_allclose(np.linalg.norm(rows[full], axis=1), 1, atol=1e-5)
    assert encoder.encode([]).shape == (0, rows.shape[1])


def test_a_text_is_encoded_alike_alone_and_in_company(encoder: EncoderEngine) -> None:
    together = encoder.encode(TEXTS)
    alone = np.concatenate([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_long_texts_are_cut_to_what_the_model_reads(encoder: EncoderEngine) -> None:
    counts = encoder.count_tokens(TEXTS)
    assert counts[3] == encoder.manifest.max_tokens
    assert counts[0] < counts[3]


def test_coverage_is_the_share_of_known_tokens(encoder: EncoderEngine) -> None:
    if encoder.manifest.engine == "echo":
        assert encoder.coverage(["where is", "", "发票"]) == [1.0, 0.0, 1.0]
    else:
        assert encoder.coverage(["where is", "", "发票", "my 订单"]) == [1.0, 0.0, 0.0, 0.5]


def test_token_ids_stand_for_their_text(encoder: EncoderEngine) -> None:
    if encoder.manifest.engine == "echo":
        pytest.skip("echo has no vocabulary")
    ids = tuple(VOCABULARY.index(word) for word in ("where", "is", "my", "order"))
    np.testing.assert_allclose(encoder.encode([ids]), encoder.encode(["where is my order"]), atol=1e-5)
    assert encoder.count_tokens([ids * 20, ids]) == [32, 4]
    with pytest.raises(Unsupported, match="token id 12 is not in the model's vocabulary of 12"):
        encoder.encode([(1, 12)])


async def test_one_bad_text_fails_alone_among_those_computed_together(encoder: EncoderEngine) -> None:
    if encoder.manifest.engine == "echo":
        pytest.skip("echo refuses nothing")
    batcher = Batcher(encoder)
    answers = await asyncio.gather(*(batcher.encode([text]) for text in ("my", (99,), "order")), return_exceptions=True)
    assert [type(answer) for answer in answers] == [tuple, Unsupported, tuple]
    batcher.close()


async def test_a_full_queue_says_so_at_once(tmp_path: Path) -> None:
    engine = open_encoder(make_folder(tmp_path / "tiny", "echo", "embed"))
    batcher = Batcher(engine, max_waiting_texts=3)
    answers = await asyncio.gather(*(batcher.encode(["a"]) for _ in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [tuple] * 3 + [Overloaded] * 2
    assert (await batcher.encode(["a"] * 10))[0].shape == (10, WIDTH)  # larger than the queue, but nobody waits
    batcher.close()


async def test_requests_that_wait_are_computed_together(encoder: EncoderEngine) -> None:
    batcher = Batcher(encoder)
    expected = encoder.encode(TEXTS)
    answers = await asyncio.gather(*(batcher.encode([text]) for text in TEXTS))
    np.testing.assert_allclose(np.concatenate([rows for rows, _ in answers]), expected, atol=1e-5)
    assert [tokens for _, tokens in answers] == encoder.count_tokens(TEXTS)
    batcher.close()


async def test_an_error_reaches_all_who_wait_and_the_next_batch_works(tmp_path: Path) -> None:
    engine = open_encoder(make_folder(tmp_path / "tiny", "echo", "embed"))
    batcher = Batcher(engine)
    answers = await asyncio.gather(
        batcher.encode(["a"]), batcher.encode([None]), return_exceptions=True  # type: ignore[list-item]
    )  # fmt: skip
    assert any(isinstance(answer, BaseException) for answer in answers)
    rows, _ = await batcher.encode(["a"])
    assert rows.shape == (1, WIDTH)
    batcher.close()


@pytest.fixture(scope="session")
def causal_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen3 of two layers with a tokenizer that knows bytes; weights are wide, so that ties are rare."""
    import torch
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder = tmp_path_factory.mktemp("qwen3")
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<|end|>", "<|turn|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator(["where is my order", "我的订单在哪里"], trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end|>", pad_token="<|end|>", clean_up_tokenization_spaces=False
    )
    tokenizer.chat_template = (
        "{% for message in messages %}<|turn|>{{ message['role'] }}\n{{ message['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
    )
    torch.manual_seed(3)
    config = transformers.Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        head_dim=16, intermediate_size=128, max_position_embeddings=256, initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
    )  # fmt: skip
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session", params=["openvino", "torch"])
def chat_folder(request: pytest.FixtureRequest, causal_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chat") / str(request.param)
    if request.param == "openvino":
        from tulou.model.compress.chat import export_chat

        export_chat(causal_folder, folder)
    else:
        shutil.copytree(causal_folder, folder)
        write_manifest(folder, ModelManifest("tiny", "chat", "torch", "fp32", "f", "none", max_tokens=256))
    return folder


@pytest.fixture
def chat(chat_folder: Path) -> Iterator[ChatEngine]:
    engine = open_chat(chat_folder, threads=1)
    yield engine
    engine.close()


QUESTION = (Message("system", "你是客服。"), Message("user", "where is my order? 我的订单"))


async def told(engine: ChatEngine, request: Generation) -> tuple[str, str | None, int, int]:
    parts = [delta async for delta in engine.generate(request)]
    last = parts[-1]
    return "".join(part.text for part in parts), last.finish_reason, last.prompt_tokens, last.completion_tokens


def greedy_reference(folder: Path, max_tokens: int) -> tuple[str, int]:
    """What transformers itself answers, and the length of the prompt."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    messages = [{"role": message.role, "content": message.content} for message in QUESTION]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_tokens, do_sample=False)
    return tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True), int(ids.shape[1])


async def test_greedy_answers_are_those_of_transformers(chat: ChatEngine, causal_folder: Path) -> None:
    text, prompt_tokens = greedy_reference(causal_folder, 24)
    assert await told(chat, Generation(QUESTION, 24)) == (text, "length", prompt_tokens, 24)


async def test_answers_written_side_by_side_are_those_written_alone(chat: ChatEngine) -> None:
    requests = [Generation((*QUESTION, Message("user", "x" * i)), 16) for i in range(6)]
    together = await asyncio.gather(*(told(chat, request) for request in requests))
    assert together == [await told(chat, request) for request in requests]


async def test_stop_strings_end_an_answer(chat: ChatEngine) -> None:
    text, *_ = await told(chat, Generation(QUESTION, 24))
    stop = text[8:11]
    shown, reason, _, completion_tokens = await told(chat, Generation(QUESTION, 24, stop=(stop,)))
    assert (shown, reason) == (text[: text.find(stop)], "stop")
    assert completion_tokens <= 24


async def test_an_answer_begun_elsewhere_is_continued_and_counted_whole(chat: ChatEngine) -> None:
    prompt, begun = "where is", " my order"
    expected, _, together, _ = await told(chat, Generation(prompt + begun, 12))
    _, _, prompt_tokens, _ = await told(chat, Generation(prompt, 1))
    begun_tokens = together - prompt_tokens
    continued = await told(chat, Generation(prompt, begun_tokens + 12, begun=begun))
    assert continued == (expected, "length", prompt_tokens, begun_tokens + 12)
    assert await told(chat, Generation(prompt, 1, begun=begun)) == ("", "length", prompt_tokens, begun_tokens)
    of_messages = await told(chat, Generation(QUESTION, 24, begun="where is my order"))
    assert of_messages[1:] == ("length", (await told(chat, Generation(QUESTION, 1)))[2], 24)


async def test_sampling_repeats_with_its_seed_and_varies_without(chat: ChatEngine) -> None:
    first = await told(chat, Generation(QUESTION, 16, temperature=1.5, seed=7))
    assert await told(chat, Generation(QUESTION, 16, temperature=1.5, seed=7)) == first
    others = [await told(chat, Generation(QUESTION, 16, temperature=1.5, seed=seed)) for seed in range(3)]
    assert len({*others, first}) > 1


async def test_a_prompt_that_does_not_fit_is_refused_before_the_first_word(chat: ChatEngine) -> None:
    with pytest.raises(PromptTooLong, match="maximum context length is 256 tokens") as caught:
        await told(chat, Generation("word " * 300))
    assert caught.value.prompt_tokens > 256


async def test_prompt_and_answer_together_stay_within_the_context(chat: ChatEngine) -> None:
    _, reason, prompt_tokens, completion_tokens = await told(chat, Generation("order " * 60, 1000))
    assert prompt_tokens + completion_tokens <= 256
    assert reason in ("length", "stop")


async def test_an_answer_nobody_wants_any_more_makes_room(chat: ChatEngine) -> None:
    left = chat.generate(Generation(QUESTION, 150))
    await anext(left)
    await left.aclose()
    assert (await told(chat, Generation(QUESTION, 3)))[3] == 3


class BreakingPipeline:
    """A pipeline whose step fails once it is told to."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.breaks = False

    def step(self) -> None:
        if self.breaks:
            raise RuntimeError("out of blocks")
        self._real.step()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


async def test_a_pipeline_that_breaks_tells_all_who_wait_and_has_itself_replaced(
    causal_folder: Path, tmp_path: Path
) -> None:
    from tulou.model.compress.chat import export_chat

    export_chat(causal_folder, tmp_path / "chat")
    engine = open_chat(tmp_path / "chat", threads=1)
    assert isinstance(engine, OpenVinoChat)
    pipeline = engine._pipeline = BreakingPipeline(engine._pipeline)
    backend = EngineBackend(engine, "assistant")
    health = TestClient(build_replica(backend))
    assert (await told(engine, Generation(QUESTION, 4)))[1] == "length"
    assert health.get("/healthz").status_code == 200
    pipeline.breaks = True
    waiting = [told(engine, Generation((*QUESTION, Message("user", "x" * i)), 64)) for i in range(3)]
    async with asyncio.timeout(10):
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(answer) for answer in answers] == [ModelError] * 3
        pipeline.breaks = False
        with pytest.raises(ModelError, match="failed while generating: out of blocks"):
            await told(engine, Generation(QUESTION, 4))
    assert health.get("/healthz").status_code == 503
    backend.close()


async def test_local_models_serve_all_three_tasks(tmp_path: Path, chat_folder: Path) -> None:
    folders = {task: make_folder(tmp_path / task, "echo", task) for task in ("embed", "classify")}
    models = LocalModels({**folders, "chat": chat_folder}, threads=1)
    assert (await models.embed("embed", ["a", "b"])).shape == (2, WIDTH)
    assert (await models.classify("classify", ["my refund"]))[0][0][0] == "refund"
    assert [delta async for delta in models.chat("chat", QUESTION, max_tokens=3)][-1].completion_tokens == 3
    with pytest.raises(ModelError, match="unknown model 'gpt'; there are: chat, classify, embed"):
        await models.embed("gpt", ["a"])
    with pytest.raises(ModelError, match="model 'chat' is for task 'chat' and encodes nothing"):
        await models.embed("chat", ["a"])
    models.close()


def test_an_engine_that_does_not_exist_is_named_with_those_that_do(tmp_path: Path) -> None:
    write_manifest(tmp_path, ModelManifest("m", "embed", "llama.cpp", "fp32", "f", "none"))
    with pytest.raises(
        ModelError, match=r"unknown engine 'llama\.cpp'; choose from echo, onnx, openvino, remote, torch"
    ):
        open_encoder(tmp_path)
    assert sorted(ENGINES) == ["echo", "onnx", "openvino", "remote", "torch"]


@pytest.mark.parametrize(
    ("engine", "task"), [("openvino", "embed"), ("openvino", "chat"), ("onnx", "embed"), ("torch", "embed")]
)
def test_a_folder_without_its_files_is_one_clear_error(tmp_path: Path, engine: str, task: str) -> None:
    write_manifest(tmp_path, ModelManifest("m", task, engine, "fp32", "f", "none"))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="cannot be loaded by"):
        open_chat(tmp_path) if task == "chat" else open_encoder(tmp_path)


def test_fp32_computes_in_fp32_and_manifests_may_say_otherwise() -> None:
    plain = ModelManifest("m", "embed", "openvino", "fp32", "f", "none")
    assert serving_properties(plain, 2)["INFERENCE_PRECISION_HINT"] == "f32"
    told = ModelManifest(
        "m", "embed", "openvino", "fp32", "f", "none", details={"openvino": {"KV_CACHE_PRECISION": "u8"}}
    )
    assert "INFERENCE_PRECISION_HINT" not in serving_properties(told, 2)
    assert serving_properties(told, 2)["INFERENCE_NUM_THREADS"] == 2
