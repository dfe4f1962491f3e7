"""One text or many, each spelled out or as token ids: what OpenAI's `prompt` and `input` may be.

Read by hand, because msgspec allows one kind of list in a union.
"""

from __future__ import annotations

from typing import Any

from tulou.service.engine.base import Text
from tulou.service.gateway import refusals


def texts_of(given: Any, param: str, most: int) -> list[Text]:
    """What `given` holds: one text, one text's token ids, or a list of up to `most` of either."""
    if given is None:
        raise refusals.missing(param)
    if isinstance(given, str) or (isinstance(given, list) and given and _is_id(given[0])):
        return [_text(given, param, param)]
    if not isinstance(given, list):
        raise refusals.wrong_type(param, "str | array", _kind(given))
    if not 1 <= len(given) <= most:
        raise refusals.wrong_length(param, "array", "<=" if given else ">=", most if given else 1, len(given))
    return [_text(each, param, f"{param}[{i}]") for i, each in enumerate(given)]


def _text(given: Any, param: str, place: str) -> Text:
    if given in ("", []):
        raise refusals.ApiError(400, f"Invalid '{place}': {param} cannot be an empty string.", param=param)
    if isinstance(given, str):
        return given
    if not isinstance(given, list):
        raise refusals.wrong_type(place, "str | array", _kind(given))
    for i, token in enumerate(given):
        if not _is_id(token) or token < 0:
            raise refusals.wrong_type(f"{place}[{i}]", "a token id", _kind(token))
    return tuple(given)


def _is_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    names = {bool: "bool", int: "int", float: "float", str: "str", list: "array", dict: "object", type(None): "null"}
    return names[type(value)]
