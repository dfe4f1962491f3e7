"""OpenVINO GenAI chat: continuous batching, so that answers are written side by side and none waits for another.

One thread drives the pipeline step by step; each step adds a token to every answer under way. A step holds Python's
lock (the binding does not let go of it), so the thread pauses between steps to let the HTTP side speak. A pipeline that
fails in a step cannot be trusted with another: everyone who waits is told, and the engine is broken from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_openvino
from tulou.core.types import ChatDelta, Message, ModelManifest
from tulou.service.engine.base import DEFAULT_MAX_TOKENS, Generation, PromptTooLong
from tulou.service.engine.openvino_runtime import prepare_threads, serving_properties
from tulou.service.engine.text import Detokenizer, StopFilter

CLOSE_TIMEOUT_S = 2.0
CONTEXT_TOKENS = 8  # of an answer begun before, enough to decode the next one rightly

logger = logging.getLogger(__name__)


@dataclass
class _Answer:
    """One answer wanted: what to write it from, and where its pieces go."""

    ids: Any  # (1, T) int64: the prompt, and the beginning of the answer where there is one
    prompt_tokens: int
    begun_tokens: int
    tokens_left: int
    config: Any
    stops: StopFilter
    text: Detokenizer
    loop: asyncio.AbstractEventLoop
    pieces: asyncio.Queue[ChatDelta | Exception] = field(default_factory=asyncio.Queue)
    handle: Any = None  # of the pipeline, once it has begun
    is_unwanted: bool = False  # the reader has left

    def tell(self, piece: ChatDelta | Exception) -> None:
        with contextlib.suppress(RuntimeError):  # the loop, and so the reader, may have gone in this very moment
            self.loop.call_soon_threadsafe(self.pieces.put_nowait, piece)


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
        self._inbox: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()  # None: close
        self._door = threading.Lock()  # nobody enters the inbox after its last emptying
        self._ended = ""  # why nothing is answered any more
        self.is_broken = False
        self._thread = threading.Thread(target=self._work, name="generation", daemon=True)
        self._thread.start()

    async def generate(self, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        answer = await asyncio.to_thread(self._prepare, request, asyncio.get_running_loop())
        if answer.tokens_left == 0:
            yield ChatDelta("", "length", answer.prompt_tokens, answer.begun_tokens)
            return
        with self._door:
            if self._ended:
                raise ModelError(self._ended)
            self._inbox.put(answer)
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

    def close(self) -> None:
        self._inbox.put(None)
        self._thread.join(CLOSE_TIMEOUT_S)

    def _prepare(self, request: Generation, loop: asyncio.AbstractEventLoop) -> _Answer:
        has_template = not isinstance(request.prompt, str)
        prompt = request.prompt if isinstance(request.prompt, str) else self._templated(request.prompt)
        ids = self._encode(prompt, has_template)
        prompt_tokens, context = int(ids.shape[1]), self.manifest.max_tokens
        if prompt_tokens >= context:
            raise PromptTooLong(prompt_tokens, context)
        if request.begun:
            ids = self._encode(prompt + request.begun, has_template)
        begun_tokens = int(ids.shape[1]) - prompt_tokens
        tokens_left = max(min(request.max_tokens or DEFAULT_MAX_TOKENS, context - prompt_tokens) - begun_tokens, 0)
        config = self._config(request, tokens_left)
        before = ids.data[0, prompt_tokens:].tolist()[-CONTEXT_TOKENS:]
        return _Answer(
            ids, prompt_tokens, begun_tokens, tokens_left, config,
            StopFilter(request.stop), Detokenizer(self._decode, before), loop,
        )  # fmt: skip

    def _templated(self, messages: Sequence[Message]) -> str:
        spoken = [{"role": message.role, "content": message.content} for message in messages]
        prompt: str = self._tokenizer.apply_chat_template(spoken, add_generation_prompt=True)
        return prompt

    def _encode(self, text: str, has_template: bool) -> Any:
        """Token ids (1, T); a template has put in the special tokens already."""
        return self._tokenizer.encode(text, add_special_tokens=not has_template).input_ids

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
        return config

    def _decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids) if ids else ""
        return text

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
        while True:
            while not underway or not self._inbox.empty():
                answer = self._inbox.get()  # waits while there is nothing to do
                if answer is None:
                    self._cancel(underway)
                    return
                if self._begin(next(numbers), answer):
                    underway.append(answer)
            self._pipeline.step()
            underway[:] = [answer for answer in underway if not self._has_ended(answer)]
            if not underway:
                self._cancel([])
            time.sleep(0)

    def _cancel(self, answers: list[_Answer]) -> None:
        """Give up `answers`; the pipeline frees the memory of what was cancelled in its next step."""
        for answer in answers:
            answer.handle.cancel()
        while self._pipeline.has_non_finished_requests():
            self._pipeline.step()

    def _begin(self, number: int, answer: _Answer) -> bool:
        try:
            answer.handle = self._pipeline.add_request(number, answer.ids, answer.config)
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
        reason = None
        while answer.handle.can_read():
            for output in answer.handle.read().values():
                ids.extend(output.generated_ids)
                reason = self._reasons.get(output.finish_reason, reason)
        if reason is None and answer.handle.get_status() != self._running:
            answer.tell(ModelError(f"model {self.manifest.name!r} had no memory left for this answer"))
            return True
        shown = answer.stops.push(answer.text.push(ids, is_last=bool(reason)), is_last=bool(reason))
        if shown:
            answer.tell(ChatDelta(shown))
        if answer.stops.is_stopped:
            reason = "stop"
            answer.handle.cancel()
        if reason:
            answer.tell(ChatDelta("", reason, answer.prompt_tokens, answer.begun_tokens + answer.text.count))
        return bool(reason)
