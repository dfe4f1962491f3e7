"""The torch engine: any Hugging Face folder as it is, for models that OpenVINO cannot take, and for comparison.

Slower than OpenVINO, and one answer at a time: there is no continuous batching here, so requests queue for the thread
that generates. The folder holds what `save_pretrained` wrote, plus `model.json`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.errors import ModelError
from tulou.core.extras import load_extra
from tulou.core.states import remembered
from tulou.core.types import ChatDelta, ModelManifest
from tulou.service.engine.base import (
    DEFAULT_MAX_TOKENS,
    Generation,
    Input,
    PromptTooLong,
    Unsupported,
    as_template_sees,
    is_pair,
    known_ids,
    width_of,
)
from tulou.service.engine.tools import format_of
from tulou.service.engine.writing import Writer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BATCH_TEXTS = 16


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
        head = "AutoModel" if manifest.task == "embed" else "AutoModelForSequenceClassification"
        super().__init__(folder, manifest, threads, head)
        # a pair's two texts, by numbers of their own; not every tokenizer says by itself that its model wants them
        self._tells_apart = manifest.task == "rerank" and getattr(self._model.config, "type_vocab_size", 0) > 1

    def encode(self, texts: Sequence[Input]) -> NDArray[np.float32]:
        import numpy as np

        rows = np.zeros((len(texts), width_of(self.manifest)), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: _length(texts[i]))
        for start in range(0, len(order), BATCH_TEXTS):
            chosen = order[start : start + BATCH_TEXTS]
            rows[chosen] = self._infer([texts[i] for i in chosen])
        return rows

    def count_tokens(self, texts: Sequence[Input]) -> list[int]:
        return [len(ids) for ids in self._read(texts)["input_ids"]]

    def coverage(self, texts: Sequence[str]) -> list[float]:
        unknown = self._tokenizer.unk_token_id
        return [
            sum(token != unknown for token in ids) / len(ids) if ids else 0.0
            for ids in self._read(texts, add_special_tokens=False)["input_ids"]
        ]

    def _read(self, texts: Sequence[Input], add_special_tokens: bool = True) -> dict[str, list[list[int]]]:
        """What the model is given of each text, cut to what it reads; what came as ids stays as it is."""
        options = {
            "add_special_tokens": add_special_tokens,
            "truncation": True,
            "max_length": self.manifest.max_tokens,
            "return_token_type_ids": self._tells_apart,
        }
        read: list[dict[str, list[int]]] = []
        for text in texts:
            if isinstance(text, str):
                read.append(self._tokenizer(text, **options))
            elif is_pair(text):  # as lists, because alone an empty text would be no text
                pair = self._tokenizer([text[0]], [text[1]], **options)
                read.append({kind: values[0] for kind, values in pair.items()})
            else:
                ids = known_ids(text[: self.manifest.max_tokens], len(self._tokenizer), "input")  # type: ignore[arg-type]
                read.append({"input_ids": ids, "token_type_ids": [0] * len(ids)})
        kinds = ["input_ids", *(["token_type_ids"] if self._tells_apart else [])]
        return {kind: [list(each[kind]) for each in read] for kind in kinds}

    def _infer(self, texts: list[Input]) -> NDArray[np.float32]:
        torch = self._torch
        filler = self._tokenizer.pad_token_id or 0
        read = self._read(texts)
        read["input_ids"] = [each or [filler] for each in read["input_ids"]]  # attention needs one token
        batch = self._tokenizer.pad(read, return_tensors="pt")
        with torch.inference_mode():
            if self.manifest.task == "classify":
                rows = torch.softmax(self._model(**batch).logits.float(), dim=-1)  # (B, labels)
            elif self.manifest.task == "rerank":
                rows = torch.sigmoid(self._model(**batch).logits.float())  # (B, 1)
            else:
                states = self._model(**batch).last_hidden_state.float()  # (B, T, D)
                mask = batch["attention_mask"].unsqueeze(-1)  # (B, T, 1)
                mean = (states * mask).sum(1) / mask.sum(1).clamp(min=1)  # (B, D)
                rows = torch.nn.functional.normalize(mean, dim=-1)
        found: NDArray[np.float32] = rows.numpy()
        return found


def _length(text: Input) -> int:
    return sum(map(len, text)) if is_pair(text) else len(text)


class TorchChat(_Torch):
    def __init__(self, folder: Path, manifest: ModelManifest, threads: int) -> None:
        super().__init__(folder, manifest, threads, "AutoModelForCausalLM")
        self._writer = Writer(self._begin, self._tokenizer_decode, self._ends())

    @property
    def tool_format(self) -> str | None:
        template = self._tokenizer.chat_template
        return format_of(template if isinstance(template, str) else None)

    def text_of(self, ids: Sequence[int]) -> str:
        return self._tokenizer_decode(known_ids(ids, len(self._tokenizer), "prompt"))

    async def generate(self, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        if request.grammar is not None:
            raise Unsupported(
                "response_format",
                "the torch engine cannot hold answers to a schema; a model that OpenVINO takes can be held to one",
            )
        known_ids(list(request.logit_bias), len(self._tokenizer), "logit_bias")
        prompt_tokens, context = len(self._ids(request, "")), self.manifest.max_tokens
        if prompt_tokens >= context:
            raise PromptTooLong(prompt_tokens, context)
        ids = self._ids(request, request.begun)
        tokens_left = min(request.max_tokens or DEFAULT_MAX_TOKENS, context - prompt_tokens)
        tokens_left -= len(ids) - prompt_tokens
        async with aclosing(self._writer.write(request, ids, prompt_tokens, tokens_left)) as deltas:
            async for delta in deltas:
                yield delta

    def close(self) -> None:
        self._writer.close()

    def _ids(self, request: Generation, begun: str) -> list[int]:
        """Token ids of the prompt with the beginning of the answer behind it."""
        if (messages := request.messages) is not None:
            prompt = self._templated(as_template_sees(messages), list(request.tools) or None)
            return self._encode(prompt + begun, add_special_tokens=False)
        if isinstance(request.prompt, str):
            return self._encode(request.prompt + begun)
        ids = known_ids(request.prompt, len(self._tokenizer), "prompt")  # type: ignore[arg-type]  # no messages
        return ids + (self._encode(begun, add_special_tokens=False) if begun else [])

    def _encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=add_special_tokens)["input_ids"]
        return ids

    def _templated(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None) -> str:
        from jinja2 import TemplateError

        try:
            prompt: str = self._tokenizer.apply_chat_template(
                messages, tools=tools, add_generation_prompt=True, tokenize=False
            )
        except TemplateError as err:  # templates refuse orders of roles, and the like
            raise Unsupported("messages", f"the model's chat template refuses the messages: {err}") from err
        return prompt

    def _tokenizer_decode(self, ids: list[int]) -> str:
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text

    def _begin(self) -> Callable[[list[int]], NDArray[np.float32]]:
        torch = self._torch
        state: dict[str, Any] = {}

        def read(ids: list[int]) -> NDArray[np.float32]:
            nonlocal state
            with torch.inference_mode():
                output = self._model(input_ids=torch.tensor([ids]), use_cache=True, **state)  # (1, T)
            state = remembered(output)
            logits: NDArray[np.float32] = output.logits[0, -1].float().numpy()  # (V,)
            return logits

        return read

    def _ends(self) -> set[int]:
        """Tokens that end an answer."""
        ends = self._model.generation_config.eos_token_id
        return set(ends if isinstance(ends, list) else [ends]) | {self._tokenizer.eos_token_id}


def open_torch(folder: Path, manifest: ModelManifest, threads: int) -> TorchEncoder | TorchChat:
    return (TorchChat if manifest.task == "chat" else TorchEncoder)(folder, manifest, threads)
