"""Echo: a deterministic model without weights, for tests, demonstrations of the service, and load on the gateway alone.

Chat repeats the last user message, a word (or Chinese character) at a time; vectors are hashed character trigrams, so
similar texts are close; a classifier picks the label named in the text, else one by hash; a reranker tells the share of
the query's words that are in the text. A tool named in the last
message is called, and a schema is answered with the plainest thing that fits it. `model.json` may set
`details.token_delay_s` to make it as slow as a real model.
"""

from __future__ import annotations

import asyncio
import json
import re
import zlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tulou.core.types import ChatDelta, ModelManifest, TokenScore
from tulou.service.engine.base import DEFAULT_MAX_TOKENS, Generation, Input, PromptTooLong, is_pair, width_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A token is a Chinese character, a word with the space before it, or one other character.
_TOKEN = re.compile(r"\s*(?:[一-鿿]|\w+|[^\w\s])|\s+")
_UNKNOWN = "\ufffd"
MAX_SCHEMA_DEPTH = 8


def tokens_of(text: str) -> list[str]:
    return _TOKEN.findall(text)


class EchoEncoder:
    def __init__(self, folder: Path, manifest: ModelManifest, threads: int) -> None:
        self.manifest = manifest

    def encode(self, texts: Sequence[Input]) -> NDArray[np.float32]:
        import numpy as np

        row = self._probabilities if self.manifest.task == "classify" else self._vector
        rows = [[_share(*text)] if is_pair(text) else row(spelled(text)) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), width_of(self.manifest))

    def count_tokens(self, texts: Sequence[Input]) -> list[int]:
        return [min(len(tokens_of(spelled(text))), self.manifest.max_tokens) for text in texts]

    def coverage(self, texts: Sequence[str]) -> list[float]:
        split = [tokens_of(text) for text in texts]
        return [sum(_UNKNOWN not in token for token in tokens) / len(tokens) if tokens else 0.0 for tokens in split]

    def close(self) -> None:
        pass

    def _vector(self, text: str) -> list[float]:
        counts = [0.0] * self.manifest.dimensions
        padded = f" {text.lower()} "
        for i in range(len(padded) - 2):
            counts[zlib.crc32(padded[i : i + 3].encode()) % len(counts)] += 1.0
        norm = sum(value * value for value in counts) ** 0.5 or 1.0
        return [value / norm for value in counts]

    def _probabilities(self, text: str) -> list[float]:
        labels = self.manifest.labels
        named = next((i for i, label in enumerate(labels) if label.replace("_", " ") in text.lower()), None)
        chosen = zlib.crc32(text.encode()) % len(labels) if named is None else named
        rest = 0.1 / max(len(labels) - 1, 1)
        return [0.9 if i == chosen else rest for i in range(len(labels))]


class EchoChat:
    tool_format: str | None = "hermes"

    def __init__(self, folder: Path, manifest: ModelManifest, threads: int) -> None:
        self.manifest = manifest
        self._delay_s = float(manifest.details.get("token_delay_s", 0.0))

    async def generate(self, request: Generation) -> AsyncGenerator[ChatDelta, None]:
        prompt_tokens = self._count_prompt(request)
        context = self.manifest.max_tokens
        if prompt_tokens >= context:
            raise PromptTooLong(prompt_tokens, context)
        limit = min(request.max_tokens or DEFAULT_MAX_TOKENS, context - prompt_tokens)
        tokens = tokens_of(_cut_at(self._reply(request), request.stop))
        begun = len(tokens_of(request.begun))
        for token in tokens[begun:limit]:
            await asyncio.sleep(self._delay_s)
            yield ChatDelta(token, scores=_scores(token, request.top_logprobs))
        reason = "length" if len(tokens) > limit else "stop"
        yield ChatDelta("", reason, prompt_tokens, min(len(tokens), limit))

    def text_of(self, ids: Sequence[int]) -> str:
        return spelled(tuple(ids))

    def close(self) -> None:
        pass

    def _count_prompt(self, request: Generation) -> int:
        if (messages := request.messages) is not None:
            return sum(len(tokens_of(message.content)) for message in messages)
        return len(tokens_of(spelled(request.prompt)))  # type: ignore[arg-type]  # no messages

    def _reply(self, request: Generation) -> str:
        if (messages := request.messages) is None:
            return spelled(request.prompt)  # type: ignore[arg-type]  # no messages
        spoken = [message.content for message in messages if message.role in ("user", "tool")]
        said = spoken[-1] if spoken else ""
        if request.grammar is not None:
            return request.grammar.before + _fitting(json.loads(request.grammar.schema), said) + request.grammar.after
        named = [tool["function"] for tool in request.tools if tool["function"]["name"] in said]
        if named and messages[-1].role == "user":
            arguments = _instance(named[0].get("parameters") or {"type": "object"}, said)
            call = json.dumps({"name": named[0]["name"], "arguments": arguments}, ensure_ascii=False)
            return f"<tool_call>\n{call}\n</tool_call>"
        return said


def spelled(text: Input) -> str:
    """Token ids as text; without a vocabulary, each is its own number. A pair is one text behind the other."""
    return text if isinstance(text, str) else " ".join(str(token) for token in text)


def _share(query: str, text: str) -> float:
    words = {token.strip().lower() for token in tokens_of(query)}
    return len(words & {token.strip().lower() for token in tokens_of(text)}) / max(len(words), 1)


def _scores(token: str, top: int | None) -> tuple[TokenScore, ...]:
    """Invented, but always the same: the likelier the longer the token, with its upside-down as the second best."""
    if top is None:
        return ()
    logprob = -1.0 / (1 + len(token))
    others = [(token, logprob), *((token[::-1] + "~" * i, logprob - 1 - i) for i in range(19))]
    return (TokenScore(token, logprob, tuple(others[:top])),)


def _fitting(schema: Any, said: str) -> str:
    """JSON for `schema`: what was said where it is JSON already, else the plainest instance that says it."""
    try:
        json.loads(said)
    except ValueError:
        return json.dumps(_instance(schema, said), ensure_ascii=False)
    return said


def _instance(schema: Any, said: str, depth: int = 0) -> Any:
    """Something that fits the commonest schemas: types, properties, items, enum, const, anyOf; others give null."""
    if not isinstance(schema, dict) or depth > MAX_SCHEMA_DEPTH:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum") or schema.get("anyOf"):
        return schema["enum"][0] if schema.get("enum") else _instance(schema["anyOf"][0], said, depth + 1)
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            if not properties and depth == 0:
                return {"echo": said}
            return {name: _instance(inner, said, depth + 1) for name, inner in properties.items()}
        case "array":
            return [_instance(schema.get("items"), said, depth + 1)]
        case "string":
            return said
        case "integer" | "number":
            return next((int(word) for word in re.findall(r"-?\d{1,9}", said)), 0)
        case "boolean":
            return True
    return None


def _cut_at(text: str, stops: Sequence[str]) -> str:
    """The text before the first of `stops`."""
    found = [position for stop in stops if (position := text.find(stop)) >= 0]
    return text[: min(found)] if found else text


def open_echo(folder: Path, manifest: ModelManifest, threads: int) -> EchoEncoder | EchoChat:
    kind = EchoChat if manifest.task == "chat" else EchoEncoder
    return kind(folder, manifest, threads)
