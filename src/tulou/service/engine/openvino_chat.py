"""OpenVINO GenAI chat: continuous batching, so that answers are written side by side and none waits for another.

One thread drives the pipeline step by step; each step adds a token to every answer under way. A step holds Python's
lock (the binding does not let go of it), so the thread pauses between steps to let the HTTP side speak. A step of a
small model takes a millisecond and passing its words on as long, so words are passed on 25 times a second at most;
an answer's first ones at once, and its last. A pipeline that fails in a step cannot be trusted with another: everyone
who waits is told, and the engine is broken from then on.

The library tells the score of the chosen token only, and bends no logits. Requests for more are written beside it, one
after another, by the same graph read step by step (`openvino_steps`).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_openvino
from tulou.core.types import ChatDelta, ModelManifest, TokenScore
from tulou.service.engine.base import (
    DEFAULT_MAX_TOKENS,
    Generation,
    PromptTooLong,
    Unsupported,
    known_ids,
)
from tulou.service.engine.openvino_grammar import Grammars
from tulou.service.engine.openvino_runtime import prepare_threads, serving_properties
from tulou.service.engine.openvino_steps import Steps
from tulou.service.engine.template import ChatTemplate
from tulou.service.engine.text import Detokenizer, Scores, StopFilter
from tulou.service.engine.tools import format_of
from tulou.service.engine.writing import CONTEXT_TOKENS, Writer

CLOSE_TIMEOUT_S = 2.0
PASS_ON_EVERY_S = 0.04  # as quick as a film

logger = logging.getLogger(__name__)


@dataclass
class _Answer:
    """One answer wanted: what to write it from, and where its pieces go."""

    ids: list[int]  # the prompt, and the beginning of the answer where there is one
    prompt_tokens: int
    begun_tokens: int
    tokens_left: int
    config: Any
    stops: StopFilter
    text: Detokenizer
    loop: asyncio.AbstractEventLoop
    scores: Scores | None  # where they are wanted
    tells_best: bool  # whether the likeliest token is to be named; greedily, it is the one chosen
    pieces: asyncio.Queue[ChatDelta | Exception] = field(default_factory=asyncio.Queue)
    handle: Any = None  # of the pipeline, once it has begun
    is_unwanted: bool = False  # the reader has left

    def tell(self, *pieces: ChatDelta | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the loop, and so the reader, may have gone in this very moment
            self.loop.call_soon_threadsafe(self._deliver, pieces)

    def _deliver(self, pieces: Sequence[ChatDelta | Exception]) -> None:
        for piece in pieces:
            self.pieces.put_nowait(piece)


class OpenVinoChat:
    def __init__(self, folder: Path, manifest: ModelManifest, threads: int) -> None:
        self.manifest = manifest
        genai = load_openvino("openvino_genai")
        prepare_threads(load_openvino())
        properties = serving_properties(manifest, threads)
        properties.pop("NUM_STREAMS")  # the pipeline has its own way of sharing the processor
        try:
            self._pipeline = genai.ContinuousBatchingPipeline(folder, genai.SchedulerConfig(), "CPU", properties)
        except Exception as err:  # the binding raises RuntimeError for whatever is wrong with the folder
            raise ModelError(f"the chat model in {folder} cannot be loaded by OpenVINO GenAI: {err}") from err
        self._reasons = {genai.GenerationFinishReason.STOP: "stop", genai.GenerationFinishReason.LENGTH: "length"}
        self._running = genai.GenerationStatus.RUNNING
        self._tokenizer = self._pipeline.get_tokenizer()
        self._encode, self._decode = _coders(folder, self._tokenizer)
        self._vocabulary = max(self._tokenizer.get_vocab().values()) + 1
        self._template = ChatTemplate(
            self._tokenizer.get_original_chat_template(),
            bos_token=self._tokenizer.get_bos_token(),
            eos_token=self._tokenizer.get_eos_token(),
            pad_token=self._tokenizer.get_pad_token(),
        )
        self._grammars = Grammars(self._tokenizer, self._vocabulary)
        config = self._pipeline.get_config()
        ends = {config.eos_token_id, *config.stop_token_ids}
        self._writer = Writer(Steps(folder, manifest, threads).begin, self._decode, ends)
        self._inbox: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()  # None: close
        self._door = threading.Lock()  # nobody enters the inbox after its last emptying
        self._ended = ""  # why nothing is answered any more
        self.is_broken = False
        self._thread = threading.Thread(target=self._work, name="generation", daemon=True)
        self._thread.start()

    @property
    def tool_format(self) -> str | None:
        return format_of(self._template.source)

    def text_of(self, ids: Sequence[int]) -> str:
        return self._decode(known_ids(ids, self._vocabulary, "prompt"))

    async def generate(self, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        answer = await asyncio.to_thread(self._prepare, request, asyncio.get_running_loop())
        if answer.tokens_left == 0:
            yield ChatDelta("", "length", answer.prompt_tokens, answer.begun_tokens)
            return
        with self._door:
            if self._ended:
                raise ModelError(self._ended)
            if _is_beyond_the_library(request):
                deltas = self._writer.write(request, answer.ids, answer.prompt_tokens, answer.tokens_left)
            else:
                self._inbox.put(answer)
                deltas = self._read(answer)
        async with aclosing(deltas):
            async for delta in deltas:
                yield delta

    def close(self) -> None:
        self._inbox.put(None)
        self._writer.close()
        self._thread.join(CLOSE_TIMEOUT_S)

    async def _read(self, answer: _Answer) -> AsyncGenerator[ChatDelta, None]:
        try:
            while True:
                piece = await answer.pieces.get()
                if isinstance(piece, Exception):
                    raise piece
                yield piece
                if piece.finish_reason:
                    return
        finally:
            answer.is_unwanted = True

    def _prepare(self, request: Generation, loop: asyncio.AbstractEventLoop) -> _Answer:
        if request.grammar is not None and request.begun:
            raise Unsupported("begun", "an answer that must fit a schema cannot be continued by another replica")
        known_ids(list(request.logit_bias), self._vocabulary, "logit_bias")
        if _is_beyond_the_library(request):
            _refuse_a_grammar(request)
        ids = self._ids(request, "")
        prompt_tokens, context = len(ids), self.manifest.max_tokens
        if prompt_tokens >= context:
            raise PromptTooLong(prompt_tokens, context)
        if request.begun:
            ids = self._ids(request, request.begun)
        begun_tokens = len(ids) - prompt_tokens
        tokens_left = max(min(request.max_tokens or DEFAULT_MAX_TOKENS, context - prompt_tokens) - begun_tokens, 0)
        return _Answer(
            ids, prompt_tokens, begun_tokens, tokens_left, self._config(request, tokens_left),
            StopFilter(request.stop), Detokenizer(self._decode, ids[prompt_tokens:][-CONTEXT_TOKENS:]), loop,
            None if request.top_logprobs is None else Scores(), request.top_logprobs == 1,
        )  # fmt: skip

    def _ids(self, request: Generation, begun: str) -> list[int]:
        """Token ids of the prompt with the beginning of the answer behind it."""
        if (messages := request.messages) is not None:
            prompt = self._template.render(messages, request.tools)
            return self._encode(prompt + begun, False)  # the template has put them in
        if isinstance(request.prompt, str):
            return self._encode(request.prompt + begun, True)
        ids = known_ids(request.prompt, self._vocabulary, "prompt")  # type: ignore[arg-type]  # no messages
        return ids + (self._encode(begun, False) if begun else [])

    def _config(self, request: Generation, max_tokens: int) -> Any:
        config = self._pipeline.get_config()
        config.max_new_tokens = max_tokens
        config.do_sample = not request.is_greedy
        if config.do_sample:
            config.temperature = request.temperature
            config.top_p = request.top_p or 1e-6  # the library wants more than 0; so little leaves one token
            config.rng_seed = (time.time_ns() if request.seed is None else request.seed) % 2**32
        config.frequency_penalty = request.frequency_penalty
        config.presence_penalty = request.presence_penalty
        config.logprobs = int(request.top_logprobs is not None)
        if request.grammar is not None:
            config.structured_output_config = self._grammars.config(request.grammar)
        return config

    def _work(self) -> None:
        """Drive the pipeline until the engine is closed or the pipeline fails, and tell whoever still waits then."""
        underway: list[_Answer] = []
        reason = f"model {self.manifest.name!r} has been closed"
        try:
            self._drive(underway)
        except Exception as err:
            logger.exception("model %s is broken", self.manifest.name)
            reason = f"model {self.manifest.name!r} failed while generating: {err}"
            self.is_broken = True
        with self._door:
            self._ended = reason
            while not self._inbox.empty():
                if answer := self._inbox.get():
                    underway.append(answer)
        for answer in underway:
            answer.tell(ModelError(reason))

    def _drive(self, underway: list[_Answer]) -> None:
        """Step by step, keeping `underway` up to date; nobody else touches the pipeline, so it needs no lock."""
        numbers = itertools.count()
        passed_on_at = 0.0
        while True:
            while not underway or not self._inbox.empty():
                answer = self._inbox.get()  # waits while there is nothing to do
                if answer is None:
                    self._cancel(underway)
                    return
                if self._begin(next(numbers), answer):
                    underway.append(answer)
            self._pipeline.step()
            if is_due := time.monotonic() - passed_on_at >= PASS_ON_EVERY_S:
                passed_on_at = time.monotonic()
            underway[:] = [
                answer for answer in underway if not ((is_due or self._is_urgent(answer)) and self._has_ended(answer))
            ]
            if not underway:
                self._cancel([])
            time.sleep(0)

    def _is_urgent(self, answer: _Answer) -> bool:
        """Whether someone waits for its first words, or it is over and its place is free."""
        return not answer.text.count or answer.handle.get_status() != self._running

    def _cancel(self, answers: list[_Answer]) -> None:
        """Give up `answers`; the pipeline frees the memory of what was cancelled in its next step."""
        for answer in answers:
            answer.handle.cancel()
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()

    def _begin(self, number: int, answer: _Answer) -> bool:
        try:
            answer.handle = self._pipeline.add_request(number, _row(answer.ids), answer.config)
        except Exception as err:  # noqa: BLE001 -- a thread has no caller; the one who waits is told
            answer.tell(ModelError(f"model {self.manifest.name!r} refuses the request: {err}"))
            return False
        return True

    def _has_ended(self, answer: _Answer) -> bool:
        """Pass on what the last step brought, and say whether the answer is over."""
        try:
            return self._pass_on(answer)
        except Exception as err:  # noqa: BLE001 -- as above
            answer.tell(ModelError(f"model {self.manifest.name!r} failed while generating: {err}"))
            answer.handle.cancel()
            return True

    def _pass_on(self, answer: _Answer) -> bool:
        if answer.is_unwanted:
            answer.handle.cancel()
            return True
        ids: list[int] = []
        logprobs: list[float] = []
        reason = None
        while answer.handle.can_read():
            for output in answer.handle.read().values():
                ids.extend(output.generated_ids)
                logprobs.extend(output.generated_log_probs)
                reason = self._reasons.get(output.finish_reason, reason)
        if reason is None and answer.handle.get_status() != self._running:
            answer.tell(ModelError(f"model {self.manifest.name!r} had no memory left for this answer"))
            return True
        shown = _shown(answer, ids, is_last=bool(reason))
        pieces: list[ChatDelta] = []
        scores: tuple[TokenScore, ...] = ()
        if answer.scores is not None:
            answer.scores.push([self._score(*each, answer.tells_best) for each in zip(ids, logprobs, strict=True)])
            scores = answer.scores.take(shown, is_whole=bool(reason) and not answer.stops.is_stopped)
        if shown or scores:
            pieces.append(ChatDelta(shown, scores=scores))
        if answer.stops.is_stopped:
            reason = "stop"
            answer.handle.cancel()
        if reason:
            pieces.append(ChatDelta("", reason, answer.prompt_tokens, answer.begun_tokens + answer.text.count))
        if pieces:
            answer.tell(*pieces)
        return bool(reason)

    def _score(self, token: int, logprob: float, tells_best: bool) -> TokenScore:
        text = self._decode([token])
        return TokenScore(text, logprob, ((text, logprob),) if tells_best else ())


def _shown(answer: _Answer, ids: list[int], is_last: bool) -> str:
    """The text that `ids` add; with a stop string to look for, token by token, so that none counts behind it."""
    groups = [[each] for each in ids] if ids and answer.stops.may_stop else [ids]
    shown = ""
    for number, group in enumerate(groups, 1):
        ends = is_last and number == len(groups)
        shown += answer.stops.push(answer.text.push(group, ends), ends)
        if answer.stops.is_stopped:
            break
    return shown


def _coders(folder: Path, tokenizer: Any) -> tuple[Callable[[str, bool], list[int]], Callable[[list[int]], str]]:
    """Text to ids, with special tokens or without, and back.

    By the `tokenizers` library where the folder has its file, at a tenth of the time of the graph made of it.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        from tokenizers import Tokenizer

        words = Tokenizer.from_file(str(path))
        words.no_truncation()
        words.no_padding()
        return lambda text, is_special: list(words.encode(text, add_special_tokens=is_special).ids), words.decode
    return (
        lambda text, is_special: list(tokenizer.encode(text, add_special_tokens=is_special).input_ids.data[0].tolist()),
        lambda ids: str(tokenizer.decode(ids)) if ids else "",
    )


def _is_beyond_the_library(request: Generation) -> bool:
    """Whether all the logits are needed: it tells the score of the chosen token, which greedily is the likeliest."""
    told = 1 if request.is_greedy else 0
    return bool(request.logit_bias) or (request.top_logprobs or 0) > told


def _refuse_a_grammar(request: Generation) -> None:
    """Of answers that are not written by the library, which alone reads schemas."""
    if request.grammar is None:
        return
    param = "logit_bias" if request.logit_bias else "top_logprobs"
    raise Unsupported(param, f"Unsupported parameter: {param!r} does not go with an answer that must fit a schema")


def _row(ids: list[int]) -> Any:
    """(1, T) int64"""
    import numpy as np

    return load_openvino().Tensor(np.array([ids], np.int64))
