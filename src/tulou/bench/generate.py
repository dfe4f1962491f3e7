"""How many tokens a second the served engine writes, beside `transformers.generate` in bf16 on the same weights.

Speed does not depend on what weights say, so the models have random ones, Qwen3-shaped, of three sizes. So many clients
ask at once, each anew as soon as it has its answer, and answers differ in length as people's do. Our side is the engine
as a replica runs it; the other side gets the same requests as batches, each of which lasts as long as its longest
answer. Only tokens that were asked for count. With lengths all alike no batch waits for anyone, which is the best case
for the other side. Both compute on as many threads as there are cores, and choose the likeliest token.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import platform
import random
import shutil
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.bench.passages import Passages
from tulou.core.progress import Progress, Silent
from tulou.model.libraries import load_torch, load_transformers, quiet

if TYPE_CHECKING:
    from tulou.service.engine import ChatEngine

PROMPT_TOKENS = 32
ANSWER_TOKENS = (16, 80)  # of the shortest and the longest answer
ANSWERS_EACH = 8  # that a client asks for, one after another: enough that the end, when fewer ask, weighs little
CONCURRENT = (1, 8, 32)
TURNS = 3
CORPUS_PASSAGES, VOCABULARY = 4000, 6144
END_ID = 2  # <|im_end|> of our own tokenizer
CONTEXT = 1024
PEER = "transformers.generate, bf16"


Round = Sequence[tuple[str, int]]
"""Prompts, each with the number of tokens that its answer is to have."""


@dataclass(frozen=True)
class Shape:
    """A Qwen3-shaped model: how wide, how deep, how many words."""

    width: int
    layers: int
    heads: int
    key_value_heads: int
    head_width: int
    feed_forward: int
    vocabulary: int


SHAPES: dict[str, Shape] = {
    "10M": Shape(320, 6, 5, 5, 64, 960, VOCABULARY),
    "100M": Shape(768, 12, 12, 4, 64, 2048, 32_000),
    "qwen3-0.6b": Shape(1024, 28, 16, 8, 128, 3072, 151_936),  # as Qwen/Qwen3-0.6B's config.json says
}


def bench_generate(
    workdir: Path,
    progress: Progress | None = None,
    *,
    shapes: Mapping[str, Shape] = SHAPES,
    precisions: Sequence[str] = ("bf16", "int8"),
    concurrent: Sequence[int] = CONCURRENT,
    answer_tokens: tuple[int, int] = ANSWER_TOKENS,
    turns: int = TURNS,
) -> dict[str, Any]:
    """Tokens a second of every model by engine and by number of answers written at once."""
    progress = progress or Silent()
    started = time.perf_counter()
    return {
        "machine": {"cores": os.cpu_count(), "processor": platform.processor() or platform.machine()},
        "prompt_tokens": PROMPT_TOKENS,
        "answer_tokens": list(answer_tokens),
        "answers_each": ANSWERS_EACH,
        "models": [
            _measure(name, shape, workdir / name, precisions, concurrent, answer_tokens, turns, progress)
            for name, shape in shapes.items()
        ],
        "seconds": round(time.perf_counter() - started, 1),
    }


def _measure(
    name: str,
    shape: Shape,
    workdir: Path,
    precisions: Sequence[str],
    concurrent: Sequence[int],
    answer_tokens: tuple[int, int],
    turns: int,
    progress: Progress,
) -> dict[str, Any]:
    from tulou.model.compress.chat import export_chat
    from tulou.service.engine import open_chat

    threads = os.cpu_count() or 1
    weights = workdir / "weights"
    with progress.bar(name, total=1 + len(precisions) + turns * len(concurrent) * (1 + len(precisions))) as bar:
        if not (weights / "config.json").is_file():
            _random_model(weights, shape)
        bar.advance()
        for precision in precisions:
            if not (workdir / precision / "model.json").is_file():
                shutil.rmtree(workdir / precision, ignore_errors=True)
                export_chat(weights, workdir / precision, precision)
            bar.advance()
        peer, prompts = _Peer(weights, threads), _prompts(weights, max(concurrent))
        engines = {f"tulou, {precision}": open_chat(workdir / precision, threads) for precision in precisions}
        paces: dict[tuple[str, int], list[float]] = {}
        try:
            for turn, count in itertools.product(range(turns), concurrent):
                asked = _asked(prompts[:count], answer_tokens, turn)
                for title, engine in engines.items():
                    pace = asyncio.run(_served(engine, asked))
                    paces.setdefault((title, count), []).append(pace)
                    bar.note(f"{title}, {count} at once: {pace:,.0f} tokens/s")
                    bar.advance()
                paces.setdefault((PEER, count), []).append(peer.pace(asked))
                bar.advance()
        finally:
            for engine in engines.values():
                engine.close()
    medians = {key: statistics.median(found) for key, found in paces.items()}
    return {
        "name": name,
        "parameters": peer.parameters,
        "table": [
            {
                "name": title,
                "concurrent": count,
                "tokens_s": round(pace, 1),
                "turns": [round(each, 1) for each in paces[title, count]],
                "ratio": round(pace / medians[PEER, count], 2),
            }
            for (title, count), pace in medians.items()
        ],
    }


def _asked(prompts: Sequence[str], answer_tokens: tuple[int, int], seed: int) -> list[Round]:
    """ANSWERS_EACH rounds of requests, one of every client in each."""
    rng = random.Random(seed)
    return [[(prompt, rng.randint(*answer_tokens)) for prompt in prompts] for _ in range(ANSWERS_EACH)]


async def _served(engine: ChatEngine, asked: Sequence[Round]) -> float:
    """Tokens a second of all answers together, the reading of the prompts included."""
    from tulou.service.engine import Generation

    async def client(number: int) -> int:
        written = 0
        for prompt, tokens in (each[number] for each in asked):
            async with aclosing(engine.generate(Generation(prompt, tokens))) as deltas:
                async for delta in deltas:
                    written += delta.completion_tokens
        return written

    started = time.perf_counter()
    written = await asyncio.gather(*map(client, range(len(asked[0]))))
    return sum(written) / (time.perf_counter() - started)


class _Peer:
    """The same weights in bf16, each round as one batch."""

    def __init__(self, folder: Path, threads: int) -> None:
        from tulou.model.causal import load_tokenizer

        self._torch = load_torch()
        self._torch.set_num_threads(threads)
        with quiet():
            self._model = load_transformers().AutoModelForCausalLM.from_pretrained(
                folder, dtype=self._torch.bfloat16, attn_implementation="sdpa", local_files_only=True
            )
        self._tokenizer = load_tokenizer(folder)
        self.parameters = int(self._model.num_parameters())

    def pace(self, asked: Sequence[Round]) -> float:
        started = time.perf_counter()
        for each in asked:
            self._answer([prompt for prompt, _ in each], max(tokens for _, tokens in each))
        return sum(tokens for each in asked for _, tokens in each) / (time.perf_counter() - started)

    def _answer(self, prompts: list[str], tokens: int) -> None:
        ids = self._torch.tensor(self._tokenizer(prompts)["input_ids"])  # (B, T): prompts of one length
        with self._torch.inference_mode(), quiet():
            self._model.generate(
                input_ids=ids,
                attention_mask=self._torch.ones_like(ids),
                max_new_tokens=tokens,
                min_new_tokens=tokens,
                do_sample=False,
                pad_token_id=0,
            )


def _random_model(folder: Path, shape: Shape) -> None:
    """Random weights and a tokenizer of our own, whose words are the only ones that the model ever writes.

    A large vocabulary has more rows than the tokenizer has words. Rows beyond it are zero, and so is that of the token
    that ends an answer: among thousands of random scores the highest is above zero, so none of these is ever chosen.
    """
    torch, transformers = load_torch(), load_transformers()
    from tulou.model.tokenizer import train_tokenizer

    texts = (text for batch, _ in Passages(CORPUS_PASSAGES).batches() for text in batch.column("text").to_pylist())
    words = train_tokenizer(texts, VOCABULARY, folder)
    torch.manual_seed(0)
    config = transformers.Qwen3Config(
        vocab_size=max(shape.vocabulary, words),
        hidden_size=shape.width,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_value_heads,
        head_dim=shape.head_width,
        intermediate_size=shape.feed_forward,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END_ID,
        pad_token_id=0,
    )
    model = transformers.Qwen3ForCausalLM(config)
    with torch.no_grad(), quiet():
        rows = model.get_input_embeddings().weight  # (V, width)
        rows[words:] = 0
        rows[: END_ID + 1] = 0
        model.save_pretrained(folder)


def _prompts(folder: Path, count: int) -> list[str]:
    """Different texts of PROMPT_TOKENS tokens each, cut so that they are read as just as many."""
    from tulou.model.causal import load_tokenizer

    tokenizer = load_tokenizer(folder)
    prompts: list[str] = []
    for batch, _ in Passages(CORPUS_PASSAGES).batches():
        for text in batch.column("text").to_pylist():
            cut = tokenizer.decode(tokenizer(text)["input_ids"][:PROMPT_TOKENS])
            if len(tokenizer(cut)["input_ids"]) == PROMPT_TOKENS:
                prompts.append(cut)
            if len(prompts) == count:
                return prompts
    raise RuntimeError(f"only {len(prompts)} of {count} passages are {PROMPT_TOKENS} tokens long")
