"""What may be asked: OpenAI's request types, typed once for msgspec, and how they become work for an engine.

Fields that we do not know are ignored, as OpenAI does. Fields that ask for something nothing here can do are refused,
never ignored; what only some engines can do is passed on, and the engine refuses it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tulou.core.types import Message, ToolCall
from tulou.service.engine.base import Generation, Grammar, Text
from tulou.service.engine.tools import FORMATS, grammar_for
from tulou.service.gateway import refusals
from tulou.service.gateway.inputs import texts_of
from tulou.service.gateway.peek import StreamOptions

MAX_INPUTS = 2048  # texts in one request, as OpenAI's embeddings endpoint
MAX_PROMPTS = 64
MAX_CHOICES = 128  # as OpenAI
MAX_TOOLS = 128  # as OpenAI
ANY_OBJECT = '{"type":"object"}'

Positive = Annotated[int, Meta(ge=1)]
Choices = Annotated[int, Meta(ge=1, le=MAX_CHOICES)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
TokenId = Annotated[int, Meta(ge=0)]
Bias = Annotated[float, Meta(ge=-100, le=100)]
Seed = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class TextPart(Struct, tag_field="type", tag="text"):
    text: str


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    refusal: str

    @property
    def text(self) -> str:
        return self.refusal


class CalledFunction(Struct):
    name: str
    arguments: str


class Called(Struct):
    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class ChatMessage(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart | RefusalPart] | msgspec.UnsetType | None = msgspec.UNSET
    tool_calls: list[Called] | None = None
    tool_call_id: str | None = None

    def read(self, place: str) -> Message:
        """The message as engines take it; `place` is its name in the request, for refusals."""
        calls = tuple(ToolCall(call.id, call.function.name, call.function.arguments) for call in self.tool_calls or ())
        for i, call in enumerate(calls):
            if not _is_json_object(call.arguments):
                raise refusals.invalid(f"{place}.tool_calls[{i}].function.arguments", "it must be a JSON object")
        if self.role == "tool" and not self.tool_call_id:
            raise refusals.missing(f"{place}.tool_call_id")
        if isinstance(self.content, str):
            text = self.content
        elif isinstance(self.content, list):
            text = "".join(part.text for part in self.content)
        elif calls and self.role == "assistant":
            text = ""
        elif self.content is msgspec.UNSET:
            raise refusals.missing(f"{place}.content")
        else:
            raise refusals.wrong_type(f"{place}.content", "str | array", "null")
        return Message("system" if self.role == "developer" else self.role, text, calls, self.tool_call_id or "")


class OfferedFunction(Struct):
    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct):
    type: Literal["function"]
    function: OfferedFunction


class NamedFunction(Struct):
    name: str


class NamedTool(Struct):
    type: Literal["function"]
    function: NamedFunction


class AnyFormat(Struct, tag_field="type", tag="text"):
    pass


class ObjectFormat(Struct, tag_field="type", tag="json_object"):
    pass


class NamedSchema(Struct):
    name: Annotated[str, Meta(pattern="^[a-zA-Z0-9_-]{1,64}$")]
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class SchemaFormat(Struct, tag_field="type", tag="json_schema"):
    json_schema: NamedSchema


class Sampled(Struct, kw_only=True):
    """What chat and plain completions share. Without a temperature, answers are greedy and so repeatable."""

    model: str
    max_tokens: Positive | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    logit_bias: dict[str, Bias] | None = None
    seed: Seed | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Choices | None = None
    user: str | None = None
    begun: str | None = None  # ours: the beginning of the answer, which is to be continued and is not repeated

    @property
    def wants_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def choices(self) -> int:
        return self.n or 1

    def _generations(self, prompt: Text | tuple[Message, ...], end: str = "", **more: Any) -> list[Generation]:
        """As many as choices are wanted; a seed counts up from one to the next, so that they differ repeatably.

        `end`: text behind which nothing more is wanted.
        """
        stop = (self.stop, end) if isinstance(self.stop, str) else (*(self.stop or ()), end)
        return [
            Generation(
                prompt,
                temperature=self.temperature or 0.0,
                top_p=1.0 if self.top_p is None else self.top_p,
                frequency_penalty=self.frequency_penalty or 0.0,
                presence_penalty=self.presence_penalty or 0.0,
                seed=None if self.seed is None else self.seed + choice,
                stop=tuple(text for text in stop if text),
                begun=self.begun or "",
                logit_bias=self._bias(),
                **more,
            )
            for choice in range(self.choices)
        ]

    def _bias(self) -> dict[int, float]:
        try:
            return {int(token): bias for token, bias in (self.logit_bias or {}).items()}
        except ValueError:
            raise refusals.invalid("logit_bias", "its keys must be token ids") from None

    def refuse_unsupported(self) -> None:
        if self.stream_options is not None and not self.stream:
            raise refusals.ApiError(
                400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
            )


class ChatBody(Sampled, kw_only=True):
    messages: Annotated[list[ChatMessage], Meta(min_length=1)]
    max_completion_tokens: Positive | None = None
    response_format: AnyFormat | ObjectFormat | SchemaFormat | None = None
    tools: Annotated[list[Tool], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    function_call: Any = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    modalities: list[str] | None = None
    audio: dict[str, Any] | None = None

    @property
    def offered(self) -> list[Tool]:
        """The tools that the model may call in this answer."""
        if self.tool_choice == "none":
            return []
        if isinstance(self.tool_choice, NamedTool):
            return [tool for tool in self.tools or () if tool.function.name == self.tool_choice.function.name]
        return self.tools or []

    @property
    def must_call(self) -> bool:
        return self.tool_choice == "required" or isinstance(self.tool_choice, NamedTool)

    def generations(self, tool_format: str | None) -> list[Generation]:
        """Raises `ApiError` where tools are offered to a model that knows none (`tool_format`)."""
        if self.offered and tool_format is None:
            raise refusals.tools_unknown()
        messages = tuple(message.read(f"messages[{i}]") for i, message in enumerate(self.messages))
        tools = tuple(msgspec.to_builtins(tool) for tool in self.offered)
        tools = tuple({**tool, "function": _given(tool["function"])} for tool in tools)
        grammar = self._grammar()
        if self.must_call and tool_format is not None:
            grammar = grammar_for(tools, tool_format)
        return self._generations(
            messages,
            end="" if grammar or not tools else self._end_of_calls(tool_format),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            top_logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            grammar=grammar,
            tools=tools,
        )

    def _end_of_calls(self, tool_format: str | None) -> str:
        """The mark that ends the first call, where it is to be the only one; a call is read without it, too."""
        return FORMATS[tool_format].after if tool_format and self.parallel_tool_calls is False else ""

    def _grammar(self) -> Grammar | None:
        if isinstance(self.response_format, SchemaFormat):
            schema = self.response_format.json_schema.schema
            return Grammar(ANY_OBJECT if schema is None else msgspec.json.encode(schema).decode())
        return Grammar(ANY_OBJECT) if isinstance(self.response_format, ObjectFormat) else None

    def refuse_unsupported(self) -> None:
        super().refuse_unsupported()
        for name, value, instead in (
            ("functions", self.functions, "Use 'tools' instead"),
            ("function_call", self.function_call, "Use 'tool_choice' instead"),
            ("audio", self.audio, "Only text is written"),
        ):
            if value:
                raise refusals.parameter_unsupported(name, instead)
        if self.modalities and self.modalities != ["text"]:
            raise refusals.value_unsupported("modalities", self.modalities, '["text"]')
        if self.top_logprobs is not None and not self.logprobs:
            raise refusals.invalid("top_logprobs", "it is only allowed when 'logprobs' is enabled")
        if self.tool_choice not in (None, "none") and not self.tools:
            raise refusals.invalid("tool_choice", "it is only allowed when 'tools' are specified")
        if self.must_call and not self.offered:
            raise refusals.invalid("tool_choice", "it names a function that is not among 'tools'")
        if self.must_call and self._grammar() is not None:
            raise refusals.invalid("tool_choice", "a call that is required leaves no place for 'response_format'")


class CompletionBody(Sampled, kw_only=True):
    prompt: Any = (
        None  # a text, token ids, or a list of either; read by hand, because msgspec allows one list in a union
    )
    echo: bool | None = None
    logprobs: Annotated[int, Meta(ge=0, le=5)] | None = None
    suffix: str | None = None
    best_of: Positive | None = None

    @property
    def prompts(self) -> list[Text]:
        return texts_of(self.prompt, "prompt", MAX_PROMPTS)

    def generations(self, _tool_format: str | None) -> list[Generation]:
        return [
            generation
            for prompt in self.prompts
            for generation in self._generations(prompt, max_tokens=self.max_tokens, top_logprobs=self.logprobs)
        ]

    def refuse_unsupported(self) -> None:
        super().refuse_unsupported()
        if self.suffix:
            raise refusals.parameter_unsupported("suffix", "The models continue a text and do not fill gaps")
        if self.best_of not in (None, self.choices):
            raise refusals.value_unsupported("best_of", self.best_of, f"the value of 'n', {self.choices},")
        if self.echo and self.logprobs is not None:
            raise refusals.invalid("echo", "the prompt's own tokens are not scored, so it does not go with 'logprobs'")


class EmbeddingBody(Struct, kw_only=True):
    model: str
    input: Any = None  # as `prompt` of a completion
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None
    user: str | None = None

    @property
    def texts(self) -> list[Text]:
        return texts_of(self.input, "input", MAX_INPUTS)

    def refuse_unsupported(self) -> None:
        pass


class ClassifyBody(Struct, kw_only=True):
    """Ours, in the manner of the embeddings endpoint."""

    model: str
    input: Any = None
    top_k: Positive | None = None  # labels given for each text; all by default

    @property
    def texts(self) -> list[Text]:
        return texts_of(self.input, "input", MAX_INPUTS)

    def refuse_unsupported(self) -> None:
        pass


class TextDocument(Struct):
    text: str


class RerankBody(Struct, kw_only=True):
    """In the manner of Jina and Cohere."""

    model: str
    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[list[str | TextDocument], Meta(min_length=1, max_length=MAX_INPUTS)]
    top_n: Positive | None = None
    return_documents: bool | None = None

    @property
    def texts(self) -> list[Text]:
        """The query, and behind it the documents."""
        return [self.query, *(each if isinstance(each, str) else each.text for each in self.documents)]

    def refuse_unsupported(self) -> None:
        pass


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(text or "{}"), dict)
    except (msgspec.DecodeError, UnicodeError):
        return False


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
