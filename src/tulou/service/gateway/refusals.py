"""Every refusal the gateway can give, with the status, type, code and words that OpenAI's service uses.

Client libraries choose their exception by status and code, so both are kept exactly; the sentences are OpenAI's where a
program may match them, ours where they tell a person what to do.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tulou.core.errors import ServiceError
from tulou.service.gateway.head import pairs
from tulou.service.gateway.limits import Refusal, duration

INVALID = "invalid_request_error"

_AT = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
_TYPE = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<got>[^`]+)`")
_BOUND = re.compile(r"Expected `(?P<kind>int|float)` (?P<sign><=|>=|<|>) (?P<bound>\S+)")
_LENGTH = re.compile(r"Expected `(?P<kind>array|str)` of length (?P<sign><=|>=) (?P<bound>\d+)")
_ENUM = re.compile(r"Invalid enum value (?P<value>.+)")

_JSON_NAMES = {
    "str": "a string",
    "int": "an integer",
    "float": "a decimal",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


class ApiError(ServiceError):
    """A request refused or failed, as the client will see it."""

    def __init__(
        self,
        status: int,
        message: str,
        type: str = INVALID,  # noqa: A002 -- OpenAI's name for it
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
        more_headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s
        self.more_headers = more_headers or {}

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        wait = {} if self.retry_after_s is None else {"retry-after": str(self.retry_after_s)}
        return {**wait, **self.more_headers}


def redacted(secret: str) -> str:
    """`secret` as it may be repeated in an error message: both ends only."""
    if len(secret) <= 12:
        return secret[:3] + "*" * max(len(secret) - 3, 3)
    return f"{secret[:8]}{'*' * 8}{secret[-4:]}"


def key_missing() -> ApiError:
    return ApiError(
        401,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
        "(i.e. Authorization: Bearer YOUR_KEY). Make one with `tulou keys create`.",
    )


def key_wrong(secret: str) -> ApiError:
    message = f"Incorrect API key provided: {redacted(secret)}. Make one with `tulou keys create`."
    return ApiError(401, message, code="invalid_api_key")


_KEY_PROBLEMS = {
    "revoked": "has been revoked; make another with `tulou keys create`",
    "disabled": "is disabled for now; `tulou keys limit ID --enable` brings it back",
    "expired": "has expired; `tulou keys limit ID --expires 30d` renews it",
    "rotated": "was replaced by a newer one, and its grace time is over",
}


def key_not_valid(problem: str) -> ApiError:
    """For a key that was good once: `revoked`, `disabled`, `expired` or `rotated`."""
    return ApiError(401, f"Your API key {_KEY_PROBLEMS[problem]}.", code="invalid_api_key")


def model_forbidden(model: str, key_id: str) -> ApiError:
    message = f"Key `{key_id}` does not have access to model `{model}`."
    return ApiError(403, message, code="model_not_found")


def over_budget(key_id: str, refusal: Refusal, lines: bytes) -> ApiError:
    """429 for a request that does not fit into a budget of its key; clients are told whether to try again."""
    unit, period, amount = refusal.budget
    told = {name.decode(): value.decode() for name, value in pairs(lines)}
    need = f"Limit {amount:.10g}, Used {refusal.used:.10g}, Requested {refusal.cost:.10g}."
    if refusal.is_too_large:
        message = f"Request too large for key `{key_id}` on {unit} per {period}: {need}"
        return ApiError(429, message, unit, "rate_limit_exceeded", more_headers=told | {"x-should-retry": "false"})
    wait, wait_s = duration(refusal.retry_after_s).decode(), max(math.ceil(refusal.retry_after_s), 1)
    if period == "minute":
        message = f"Rate limit reached for key `{key_id}` on {unit} per min: {need} Please try again in {wait}."
        told["retry-after-ms"] = str(math.ceil(refusal.retry_after_s * 1000))
        return ApiError(429, message, unit, "rate_limit_exceeded", retry_after_s=wait_s, more_headers=told)
    message = (
        f"You exceeded your current quota: the {unit} of this {period} for key `{key_id}` are used up. {need} "
        f"The next {period} begins in {wait}; `tulou keys limit {key_id} {refusal.budget.name}=AMOUNT` raises it."
    )
    quota, told = "insufficient_quota", told | {"x-should-retry": "false"}
    return ApiError(429, message, quota, quota, retry_after_s=wait_s, more_headers=told)


def state_unavailable(message: str) -> ApiError:
    return ApiError(503, f"{message}.", "server_error", "state_unavailable", retry_after_s=1)


def role_forbids(role: str) -> ApiError:
    return ApiError(
        403,
        f"You have insufficient permissions for this operation: the key's role is {role!r}, which may only read.",
        code="insufficient_permissions",
    )


def model_unknown(model: str) -> ApiError:
    return ApiError(404, f"The model `{model}` does not exist or you do not have access to it.", code="model_not_found")


def model_unfit(model: str, task: str, route: str) -> ApiError:
    return ApiError(404, f"`{model}` is a {task} model and thus not supported in the {route} endpoint.", param="model")


def url_unknown(method: str, path: str) -> ApiError:
    return ApiError(404, f"Invalid URL ({method} {path})")


def method_wrong(method: str, path: str) -> ApiError:
    return ApiError(
        405,
        f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)",
        code="method_not_supported",
    )


def body_too_large(limit_bytes: int) -> ApiError:
    return ApiError(
        413,
        f"The request body is larger than {limit_bytes} bytes, the limit set by service.max_body_bytes.",
        code="request_too_large",
    )


def body_not_json() -> ApiError:
    return ApiError(
        400,
        "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library "
        "correctly. The API expects a JSON payload, but what was sent was not valid JSON.)",
    )


def value_unsupported(param: str, value: Any, supported: str) -> ApiError:
    shown = msgspec.json.encode(value).decode()
    return ApiError(
        400,
        f"Unsupported value: '{param}' does not support {shown[:100]} with this model. Only {supported} is supported.",
        code="unsupported_value",
        param=param,
    )


def parameter_unsupported(param: str, instead: str) -> ApiError:
    message = f"Unsupported parameter: '{param}' is not supported. {instead}."
    return ApiError(400, message, code="unsupported_parameter", param=param)


def engine_cannot(param: str, message: str) -> ApiError:
    """What only some engines can do, refused by one in its own words."""
    return ApiError(400, f"{message}.", code="unsupported_value", param=param)


def tools_unknown() -> ApiError:
    return ApiError(
        400,
        "Unsupported parameter: 'tools' is not supported with this model: its chat template shows no way of writing "
        "calls that can be read back (known are those of Hermes, Qwen and Llama 3).",
        code="unsupported_parameter",
        param="tools",
    )


def invalid(param: str, reason: str) -> ApiError:
    return ApiError(400, f"Invalid value for '{param}': {reason}.", code="invalid_value", param=param)


def replica_full(waiting: int) -> ApiError:
    return ApiError(
        429,
        f"This replica has {waiting} requests waiting already. Please try again in a moment.",
        type="requests",
        code="rate_limit_exceeded",
        retry_after_s=1,
    )


def context_exceeded(message: str, param: str) -> ApiError:
    return ApiError(400, message, code="context_length_exceeded", param=param)


class ModelUnavailable(ApiError):  # noqa: N818 -- what is so, not what went wrong with us
    """No replica of a model is ready, or none of those tried gave an answer; nothing has reached the client."""


def replicas_unavailable(model: str) -> ModelUnavailable:
    return ModelUnavailable(
        503,
        f"No replica of the model `{model}` is ready. Please try again in a moment.",
        type="server_error",
        code="model_unavailable",
        retry_after_s=1,
    )


def overloaded(model: str, in_flight: int, retry_after_s: int) -> ApiError:
    return ApiError(
        429,
        f"The model `{model}` is answering {in_flight} requests and has no place for more. "
        f"Please try again in {retry_after_s} s.",
        type="server_error",
        code="overloaded",
        retry_after_s=retry_after_s,
    )


def timed_out(timeout_s: float) -> ApiError:
    return ApiError(
        504,
        f"The request took longer than {timeout_s:g} s, the limit set by service.timeout_s.",
        "server_error",
        "timeout",
    )


def unexplained(status: int) -> ApiError:
    return ApiError(502, f"A replica answered with status {status} and no explanation.", "server_error")


def client_gone() -> ApiError:
    """Nobody is there to read it; the accounts say 499, as nginx does."""
    return ApiError(499, "The client closed the connection before the answer was complete.")


def body_too_slow(limit_s: float) -> ApiError:
    return ApiError(408, f"The request body did not arrive within {limit_s:g} s.", code="request_timeout")


def answer_broken_off(model: str) -> ApiError:
    return ApiError(
        503,
        f"The replica of the model `{model}` was lost in the middle of this answer, and no other can continue it. "
        "Please ask again.",
        type="server_error",
        code="answer_broken_off",
    )


def internal_error(request_id: str) -> ApiError:
    return ApiError(
        500,
        f"The server had an error while processing your request. Please include the request ID {request_id} "
        "when you report it.",
        type="server_error",
    )


def explain(error: msgspec.DecodeError, raw: bytes) -> ApiError:
    """The refusal for a body that msgspec could not decode into a request."""
    if not isinstance(error, msgspec.ValidationError):
        return body_not_json()
    text = str(error)
    at = _AT.search(text)
    path = at["path"] if at else ""
    problem = text[: at.start()] if at else text
    if match := _MISSING.match(problem):
        return missing(f"{path}.{match['field']}" if path else match["field"])
    if match := _TYPE.match(problem):
        return wrong_type(path, match["expected"], match["got"])
    if match := _BOUND.match(problem):
        return _out_of_bounds(path, match["kind"], match["sign"], match["bound"], _value_at(raw, path))
    if match := _LENGTH.match(problem):
        return wrong_length(path, match["kind"], match["sign"], int(match["bound"]), _size(_value_at(raw, path)))
    if match := _ENUM.match(problem):
        return ApiError(400, f"Invalid value: {match['value']} for '{path}'.", code="invalid_value", param=path)
    return ApiError(400, f"{problem}.", code="invalid_value", param=path or None)


def missing(path: str) -> ApiError:
    if path == "model":
        return ApiError(400, "you must provide a model parameter")
    return ApiError(400, f"Missing required parameter: '{path}'.", code="missing_required_parameter", param=path)


def wrong_type(path: str, expected: str, got: str) -> ApiError:
    if not path:
        return body_not_json()
    wanted = " or ".join(_JSON_NAMES.get(name, name) for name in expected.split(" | ") if name != "null")
    message = f"Invalid type for '{path}': expected {wanted}, but got {_JSON_NAMES.get(got, got)} instead."
    return ApiError(400, message, code="invalid_type", param=path)


def _out_of_bounds(path: str, kind: str, sign: str, bound: str, value: Any) -> ApiError:
    noun = "integer" if kind == "int" else "decimal"
    side, code = ("above maximum", "above_max") if sign[0] == "<" else ("below minimum", "below_min")
    message = (
        f"Invalid '{path}': {noun} {side} value. Expected a value {sign} {bound.removesuffix('.0')}, "
        f"but got {value} instead."
    )
    return ApiError(400, message, code=f"{noun}_{code}_value", param=path)


def wrong_length(path: str, kind: str, sign: str, bound: int, size: int) -> ApiError:
    noun = "array" if kind == "array" else "string"
    if sign == ">=":
        problem, code = ("empty", f"empty_{noun}") if size == 0 else ("too short", f"{noun}_below_min_length")
        wanted = f"minimum length {bound}"
    else:
        problem, code, wanted = "too long", f"{noun}_above_max_length", f"maximum length {bound}"
    message = f"Invalid '{path}': {problem} {noun}. Expected one with {wanted}, but got one with length {size} instead."
    return ApiError(400, message, code=code, param=path)


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | str) else 0


def _value_at(raw: bytes, path: str) -> Any:
    """The value that msgspec's `path`, such as `messages[0].role`, leads to in the JSON text `raw`."""
    try:
        value: Any = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # somewhere behind it
        return None
    for part in re.findall(r"[^.\[\]]+", path):
        try:
            value = value[int(part)] if isinstance(value, list) else value[part]
        except (KeyError, IndexError, ValueError, TypeError):
            return None
    return value
