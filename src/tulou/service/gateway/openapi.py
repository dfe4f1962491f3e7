"""The OpenAPI document of what the gateway answers, made from the types that read requests and word answers.

So it cannot say anything else than the code does. It names the models that are served, because a request can only be
right with one of them. What a type cannot say, such as that one field goes only with another, is answered with a 400.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from tulou import __version__
from tulou.core.types import ModelManifest
from tulou.service.gateway import asked, wire
from tulou.service.gateway.operations import OPERATIONS

Schema = dict[str, Any]

STREAMED: Schema = {  # of each event
    "type": "object",
    "properties": {"data": {"type": "string", "description": "A chunk in JSON; of the last event, [DONE]"}},
    "required": ["data"],
}
_ID: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string", "minLength": 1}
_IDS: Schema = {"type": "array", "items": _ID, "minItems": 1}

_ANSWERS: dict[str, tuple[str, Any]] = {  # by path: what it does, and the type of what it answers
    "/v1/chat/completions": ("Answer a conversation", wire.Completion[wire.ChatChoice]),
    "/v1/completions": ("Continue a text", wire.Completion[wire.TextChoice]),
    "/v1/embeddings": ("Turn texts into vectors", wire.EmbeddingList),
    "/v1/rerank": ("Order documents by how well they answer a query", wire.Ranking),
    "/v1/classify": ("Label texts", wire.ClassificationList),
}
_TYPES = (*(operation.asked for operation in OPERATIONS), *(type_ for _, type_ in _ANSWERS.values()), wire.ModelCard,
          wire.ModelList, wire.Failure)  # fmt: skip

_REFUSALS = {
    "400": "The request is wrong; `param` names what",
    "401": "No key, or one that is not valid",
    "403": "The key may not do this",
    "404": "No such model, or not one for this",
    "408": "The body did not arrive in time",
    "413": "The body is too large",
    "429": "Over a limit, or too much is waiting; `retry-after` says when to come back",
    "500": "Something went wrong that should not",
    "502": "A replica answered nothing that could be passed on",
    "503": "No replica of the model is ready",
    "504": "It took longer than the time there is for a request",
}
_OF_MODELS = ("401", "403", "404", "429")


def document(models: Mapping[str, ModelManifest], url: str = "/") -> Schema:
    """The document for a gateway that serves `models`."""
    schemas, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    refs = dict(zip(_TYPES, schemas, strict=True))
    _say_what_types_cannot(components, refs)
    paths: Schema = {}
    for operation in OPERATIONS:
        summary, answer = _ANSWERS[operation.path]
        names = [name for name, manifest in models.items() if manifest.task in operation.tasks]
        wanted = {"allOf": [refs[operation.asked], {"type": "object", "properties": {"model": {"enum": names}}}]}
        shown = {"application/json": {"schema": refs[answer]}}
        if operation.task == "chat":
            shown["text/event-stream"] = {"schema": STREAMED}
        paths[operation.path] = {
            "post": {
                "operationId": operation.path.removeprefix("/v1/").replace("/", "_"),
                "summary": summary,
                "requestBody": {"required": True, "content": {"application/json": {"schema": wanted if names else {}}}},
                "responses": {
                    "200": {"description": "The answer", "headers": _headers(), "content": shown},
                    **_refusals(_REFUSALS, refs[wire.Failure]),
                },
            }
        }
    paths |= _models(refs) | _health()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Tulou", "version": __version__, "description": "OpenAI's protocol, and a little more."},
        "servers": [{"url": url}],
        "security": [{"key": []}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _say_what_types_cannot(components: Schema, refs: Mapping[Any, Schema]) -> None:
    """Prompts and inputs, which are read by hand, and the order of tokens and scores."""

    def properties(type_: Any) -> Schema:
        found: Schema = components[refs[type_]["$ref"].rpartition("/")[2]]
        return found

    by_hand: tuple[tuple[Any, str, int], ...] = (
        (asked.CompletionBody, "prompt", asked.MAX_PROMPTS),
        (asked.EmbeddingBody, "input", asked.MAX_INPUTS),
        (asked.ClassifyBody, "input", asked.MAX_INPUTS),
    )
    for type_, field, most in by_hand:
        body = properties(type_)
        several = {"type": "array", "items": {"anyOf": [_TEXT, _IDS]}, "minItems": 1, "maxItems": most}
        body["properties"][field] = {"anyOf": [_TEXT, _IDS, several]}
        body["required"] = [*body["required"], field]
    bias = {"type": "object", "propertyNames": {"pattern": "^-?[0-9]+$"}}
    for type_ in (asked.ChatBody, asked.CompletionBody):
        described = properties(type_)["properties"]["logit_bias"]["anyOf"][0]
        described |= bias


def _models(refs: Mapping[Any, Schema]) -> Schema:
    name = {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "/v1/models": {"get": _read("models", "The models served", refs[wire.ModelList], refs[wire.Failure])},
        "/v1/models/{model}": {
            "get": {"parameters": [name], **_read("model", "One of them", refs[wire.ModelCard], refs[wire.Failure])}
        },
    }


def _read(operation_id: str, summary: str, schema: Schema, failure: Schema) -> Schema:
    shown = {"description": "The answer", "content": {"application/json": {"schema": schema}}}
    refusals = _refusals(_OF_MODELS, failure)
    return {"operationId": operation_id, "summary": summary, "responses": {"200": shown, **refusals}}


def _health() -> Schema:
    def plain(operation_id: str, summary: str, media: str = "application/json", more: Schema | None = None) -> Schema:
        schema: Schema = {"type": "object"} if media == "application/json" else {"type": "string"}
        answer = {"description": "The answer", "content": {media: {"schema": schema}}}
        return {
            "get": {
                "operationId": operation_id,
                "summary": summary,
                "security": [],
                "responses": {"200": answer, **(more or {})},
            }
        }

    starting = {"description": "Not every model has a replica yet", "content": {"application/json": {"schema": {}}}}
    return {
        "/healthz": plain("healthz", "Whether the process lives"),
        "/readyz": plain("readyz", "Whether every model has a replica that answers", more={"503": starting}),
        "/metrics": plain("metrics", "Prometheus metrics", "text/plain"),
    }


def _refusals(statuses: Iterable[str], failure: Schema) -> Schema:
    return {
        status: {"description": _REFUSALS[status], "content": {"application/json": {"schema": failure}}}
        for status in statuses
    }


def _headers() -> Schema:
    return {"x-request-id": {"required": True, "schema": {"type": "string"}, "description": "Name it in reports"}}
