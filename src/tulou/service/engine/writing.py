"""Answers written a token at a time, by a model that is asked for nothing but its logits.

Whatever a request wants of a token (a bias, a penalty, the likeliest others) is done here in NumPy, on all the logits.
It costs a batch: one answer is written after another, on one thread. The torch engine always works so, OpenVINO's for
what its library cannot do.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tulou.core.types import ChatDelta, TokenScore
from tulou.service.engine.base import Generation
from tulou.service.engine.text import Detokenizer, Scores, StopFilter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Read = Callable[[list[int]], NDArray[np.float32]]
    """The next tokens of one text, to the logits (V,) of what may follow them."""

CONTEXT_TOKENS = 8  # of an answer begun before, enough to decode the next one rightly

Written = tuple[int, TokenScore | None]


class Writer:
    def __init__(self, begin: Callable[[], Read], decode: Callable[[list[int]], str], ends: Collection[int]) -> None:
        """`begin`: makes the model forget what it has read; `ends`: the tokens that end an answer."""
        self._begin = begin
        self._decode = decode
        self._ends = ends
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="writer")

    async def write(
        self, request: Generation, ids: list[int], prompt_tokens: int, tokens_left: int
    ) -> AsyncGenerator[ChatDelta, None]:
        """Go on behind `ids`: the prompt, so many tokens of it, and what of the answer was written before."""
        loop = asyncio.get_running_loop()
        tokens: asyncio.Queue[Written | None] = asyncio.Queue()
        is_unwanted = threading.Event()

        def tell(token: Written | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop, and so the reader, may have gone
                loop.call_soon_threadsafe(tokens.put_nowait, token)

        begun = ids[prompt_tokens:]
        work = loop.run_in_executor(self._thread, self._write, ids, begun, tokens_left, request, tell, is_unwanted)
        text, stops = Detokenizer(self._decode, begun[-CONTEXT_TOKENS:]), StopFilter(request.stop)
        scores = Scores()
        try:
            while not stops.is_stopped:
                token = await tokens.get()
                is_last = token is None
                scores.push([token[1]] if token and token[1] else [])
                shown = stops.push(text.push([token[0]] if token else [], is_last), is_last)
                taken = scores.take(shown, is_last and not stops.is_stopped)
                if shown or taken:
                    yield ChatDelta(shown, scores=taken)
                if is_last:
                    break
            is_unwanted.set()
            has_ended = await work or stops.is_stopped
            yield ChatDelta("", "stop" if has_ended else "length", prompt_tokens, len(begun) + text.count)
        finally:
            is_unwanted.set()

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _write(
        self,
        ids: list[int],
        begun: list[int],
        tokens_left: int,
        request: Generation,
        tell: Callable[[Written | None], None],
        is_unwanted: threading.Event,
    ) -> bool:
        """Write in this thread, telling token after token and None at the end; whether the model ended itself."""
        import numpy as np

        written = Counter(begun)
        try:
            draw = np.random.default_rng(None if request.seed is None else request.seed % 2**64)  # none below 0
            read = self._begin()
            for _ in range(tokens_left):
                if is_unwanted.is_set():
                    return False
                logits = read(ids)
                token = chosen(weighed(logits, request, written), request, draw)
                written[token] += 1
                score = None if request.top_logprobs is None else self._score(logits, token, request.top_logprobs)
                tell((token, score))
                if token in self._ends:
                    return True
                ids = [token]
            return False
        finally:
            tell(None)

    def _score(self, logits: NDArray[np.float32], token: int, top: int) -> TokenScore:
        """Of `token` among `logits` (V,), as the model sees it: before bias, penalties and temperature."""
        import numpy as np

        highest = logits.max()
        logprobs = logits - highest - np.log(np.exp(logits - highest).sum())  # (V,)
        best = np.argpartition(-logprobs, min(top, len(logprobs) - 1))[:top]
        best = best[np.argsort(-logprobs[best], kind="stable")]
        others = tuple((self._decode([int(other)]), float(logprobs[other])) for other in best)
        return TokenScore(self._decode([token]), float(logprobs[token]), others)


def weighed(logits: NDArray[np.float32], request: Generation, written: Counter[int]) -> NDArray[np.float32]:
    """`logits` (V,) with OpenAI's penalties for what was written before, and the request's own bias."""
    if not (request.frequency_penalty or request.presence_penalty or request.logit_bias):
        return logits
    bent = logits.copy()
    for token, count in written.items():
        bent[token] -= count * request.frequency_penalty + request.presence_penalty
    for token, bias in request.logit_bias.items():
        bent[token] += bias
    return bent


def chosen(logits: NDArray[np.float32], request: Generation, draw: np.random.Generator) -> int:
    """The next token from `logits` (V,): the likeliest, or one drawn from the nucleus that holds `top_p`."""
    import numpy as np

    if request.is_greedy:
        return int(logits.argmax())
    raised = np.exp((logits - logits.max()).astype(np.float64) / request.temperature)
    tokens = np.argsort(-raised, kind="stable")  # (V,), the likeliest first
    probabilities = raised[tokens] / raised.sum()
    sums = probabilities.cumsum()
    inside = max(int(np.searchsorted(sums - probabilities, request.top_p, side="right")), 1)
    return int(tokens[np.searchsorted(sums[:inside], draw.random() * sums[inside - 1], side="right")])
