"""The torch engine: any Hugging Face folder as it is, for models that OpenVINO cannot take, and for comparison.

Slower than OpenVINO, and one answer at a time: there is no continuous batching here, so requests queue for the thread
that generates. The folder holds what `save_pretrained` wrote, plus `model.json`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_extra
from tulou.core.types import ChatDelta, ModelManifest
from tulou.service.engine.base import DEFAULT_MAX_TOKENS, Generation, PromptTooLong
from tulou.service.engine.text import Detokenizer, StopFilter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH_TEXTS = 16
CONTEXT_TOKENS = 8  # of an answer begun before, enough to decode the next one rightly


class _Torch:
    def __init__(self, folder: Path, manifest: ModelManifest, threads: int, head: str) -> None:
        self.manifest = manifest
        self._torch: Any = load_extra("torch", "train", "the torch engine")
        transformers = load_extra("transformers", "train", "the torch engine")
        self._torch.set_num_threads(threads)
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = getattr(transformers, head).from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as err:
            raise ModelError(f"the model in {folder} cannot be loaded by transformers: {err}") from err
        self._model = model.eval()

    def close(self) -> None:
        pass


class TorchEncoder(_Torch):
    def __init__(self, folder: Path, manifest: ModelManifest, threads: int) -> None:
        is_classifier = manifest.task == "classify"
        head = "AutoModelForSequenceClassification" if is_classifier else "AutoModel"
        super().__init__(folder, manifest, threads, head)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import numpy as np

        width = len(self.manifest.labels) if self.manifest.task == "classify" else self.manifest.dimensions
        rows = np.zeros((len(texts), width), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for start in range(0, len(order), BATCH_TEXTS):
            chosen = order[start : start + BATCH_TEXTS]
            rows[chosen] = self._infer([texts[i] for i in chosen])
        return rows

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._ids(texts, add_special_tokens=True)]

    def coverage(self, texts: Sequence[str]) -> list[float]:
        unknown = self._tokenizer.unk_token_id
        return [
            sum(token != unknown for token in ids) / len(ids) if ids else 0.0
            for ids in self._ids(texts, add_special_tokens=False)
        ]

    def _ids(self, texts: Sequence[str], add_special_tokens: bool) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self._tokenizer(
            list(texts),
            add_special_tokens=add_special_tokens,
            truncation=True,
            max_length=self.manifest.max_tokens,
        )["input_ids"]
        return ids

    def _infer(self, texts: list[str]) -> NDArray[np.float32]:
        torch = self._torch
        filler = self._tokenizer.pad_token_id or 0
        ids = [each or [filler] for each in self._ids(texts, add_special_tokens=True)]  # attention needs one token
        batch = self._tokenizer.pad({"input_ids": ids}, return_tensors="pt")
        with torch.inference_mode():
            if self.manifest.task == "classify":
                rows = torch.softmax(self._model(**batch).logits.float(), dim=-1)  # (B, labels)
            else:
                states = self._model(**batch).last_hidden_state.float()  # (B, T, D)
                mask = batch["attention_mask"].unsqueeze(-1)  # (B, T, 1)
                mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)  # (B, D)
                rows = torch.nn.functional.normalize(mean, dim=-1)
        found: NDArray[np.float32] = rows.numpy()
        return found


class TorchChat(_Torch):
    def __init__(self, folder: Path, manifest: ModelManifest, threads: int) -> None:
        super().__init__(folder, manifest, threads, "AutoModelForCausalLM")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generation")

    async def generate(self, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        prompt_tokens, context = self._ids_of(request, "").shape[1], self.manifest.max_tokens
        if prompt_tokens >= context:
            raise PromptTooLong(prompt_tokens, context)
        ids = self._ids_of(request, request.begun)  # (1, T)
        begun_tokens = ids.shape[1] - prompt_tokens
        limit = min(request.max_tokens or DEFAULT_MAX_TOKENS, context - prompt_tokens) - begun_tokens
        loop = asyncio.get_running_loop()
        tokens: asyncio.Queue[int | None] = asyncio.Queue()
        is_unwanted = threading.Event()

        def tell(token: int | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop, and so the reader, may have gone
                loop.call_soon_threadsafe(tokens.put_nowait, token)

        work = loop.run_in_executor(self._thread, self._write, ids, limit, request, tell, is_unwanted)
        before = ids[0, prompt_tokens:].tolist()[-CONTEXT_TOKENS:]
        text, stops = Detokenizer(self._tokenizer_decode, before), StopFilter(request.stop)
        try:
            while not stops.is_stopped:
                token = await tokens.get()
                added = [] if token is None else [token]
                if shown := stops.push(text.push(added, is_last=token is None), is_last=token is None):
                    yield ChatDelta(shown)
                if token is None:
                    break
            is_unwanted.set()
            has_ended = await work or stops.is_stopped
            yield ChatDelta("", "stop" if has_ended else "length", prompt_tokens, begun_tokens + text.count)
        finally:
            is_unwanted.set()

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _ids_of(self, request: Generation, begun: str) -> Any:
        """Token ids (1, T) of the prompt with the beginning of the answer behind it."""
        if isinstance(request.prompt, str):
            return self._tokenizer(request.prompt + begun, return_tensors="pt")["input_ids"]
        messages = [{"role": message.role, "content": message.content} for message in request.prompt]
        prompt = self._tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return self._tokenizer(prompt + begun, add_special_tokens=False, return_tensors="pt")["input_ids"]

    def _tokenizer_decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _write(self, ids: Any, limit: int, request: Generation, tell: Any, is_unwanted: threading.Event) -> bool:
        """Generate in this thread, telling token after token and None at the end; whether the model ended itself."""
        torch = self._torch
        ends = self._model.generation_config.eos_token_id
        ends = set(ends if isinstance(ends, list) else [ends]) | {self._tokenizer.eos_token_id}
        generator = torch.Generator().manual_seed(request.seed) if request.seed is not None else None
        cache, step = None, ids
        try:
            with torch.inference_mode():
                for _ in range(limit):
                    if is_unwanted.is_set():
                        return False
                    output = self._model(input_ids=step, past_key_values=cache, use_cache=True)
                    cache = output.past_key_values
                    token = _choose(torch, output.logits[0, -1].float(), request, generator)  # from (V,)
                    tell(token)
                    if token in ends:
                        return True
                    step = torch.tensor([[token]])
            return False
        finally:
            tell(None)


def _choose(torch: Any, logits: Any, request: Generation, generator: Any) -> int:
    """The next token from `logits` (V,): the likeliest, or one drawn from the nucleus that holds `top_p`."""
    if request.is_greedy:
        return int(logits.argmax())
    probabilities, tokens = torch.softmax(logits / request.temperature, dim=-1).sort(descending=True)
    is_outside = probabilities.cumsum(-1) - probabilities > request.top_p
    probabilities[is_outside] = 0.0
    return int(tokens[torch.multinomial(probabilities, 1, generator=generator)])


def open_torch(folder: Path, manifest: ModelManifest, threads: int) -> TorchEncoder | TorchChat:
    return (TorchChat if manifest.task == "chat" else TorchEncoder)(folder, manifest, threads)
