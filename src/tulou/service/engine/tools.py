"""How chat models write calls of tools: found out from their chat template, and read back from what they wrote.

A model calls tools in the words it was trained on, and its template is the only place that shows them. Two ways of
writing are known; a template that shows neither is refused: calls that nobody can read back are worse than none.
Text is held back from the first mark that may begin a call until the call is whole.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tulou.core.types import ToolCall
from tulou.service.engine.base import Grammar


@dataclass(frozen=True)
class ToolFormat:
    sign: str  # what its templates say
    before: str  # written ahead of a call's JSON
    after: str  # and behind it
    arguments: str  # key of the arguments in that JSON


FORMATS = {
    # Nous Hermes, Qwen 2.5 and 3: <tool_call>{"name": ..., "arguments": ...}</tool_call>, as many as wanted
    "hermes": ToolFormat("<tool_call>", "<tool_call>", "</tool_call>", "arguments"),
    # Llama 3.1 and later: the whole answer is {"name": ..., "parameters": ...}
    "llama3": ToolFormat('"parameters"', "", "", "parameters"),
}


def format_of(template: str | None) -> str | None:
    """The key in `FORMATS` of what `template` shows; None where it does nothing with tools, or something unknown."""
    if not template or "tools" not in template:
        return None
    return next((name for name, each in FORMATS.items() if each.sign in template), None)


def grammar_for(tools: Sequence[dict[str, Any]], name: str) -> Grammar:
    """What an answer looks like that must call one of `tools`, in the format `name`."""
    style = FORMATS[name]
    calls = [
        {
            "type": "object",
            "properties": {
                "name": {"const": tool["function"]["name"]},
                style.arguments: tool["function"].get("parameters") or {"type": "object"},
            },
            "required": ["name", style.arguments],
            "additionalProperties": False,
        }
        for tool in tools
    ]
    schema = calls[0] if len(calls) == 1 else {"anyOf": calls}
    edge = "\n" if style.before else ""
    return Grammar(json.dumps(schema), style.before + edge, edge + style.after)


class ToolReader:
    """Splits what a model writes into text to show and calls, piece by piece."""

    def __init__(self, format_name: str, names: Sequence[str], prefix: str) -> None:
        """`names`: of the tools there are; `prefix`: of the ids that calls are given, unique to the answer."""
        self._style = FORMATS[format_name]
        self._names = frozenset(names)
        self._prefix = prefix
        self._held = ""
        self._is_plain = False  # of a format without marks: once it is no JSON, it is text
        self._count = 0

    def push(self, text: str, is_last: bool = False) -> tuple[str, list[ToolCall]]:
        """The text that may be shown now, and the calls that became whole; what is no call after all is text."""
        self._held += text
        return self._marked(is_last) if self._style.before else self._unmarked(is_last)

    def _marked(self, is_last: bool) -> tuple[str, list[ToolCall]]:
        before, after = self._style.before, self._style.after
        shown, calls = "", []
        while (start := self._held.find(before)) >= 0:
            end = self._held.find(after, start)
            if end < 0 and not is_last:
                break
            inside = self._held[start + len(before) : end if end >= 0 else None]
            call = self._call(inside)
            shown += self._held[:start]
            if call is None:
                shown += self._held[start : end + len(after) if end >= 0 else None]
            else:
                calls.append(call)
            self._held = self._held[end + len(after) :] if end >= 0 else ""
        keep = len(self._held) - start if start >= 0 else 0 if is_last else _begins(self._held, before)
        cut = len(self._held) - keep
        shown, self._held = shown + self._held[:cut], self._held[cut:]
        if self._count:  # what stands around calls is line breaks
            shown = shown.strip() and shown
        return shown, calls

    def _unmarked(self, is_last: bool) -> tuple[str, list[ToolCall]]:
        started = self._held.lstrip()
        if not self._is_plain and (not started or started[0] == "{"):
            if not is_last:
                return "", []
            if call := self._call(started):
                return "", [call]
        self._is_plain = True
        shown, self._held = self._held, ""
        return shown, []

    def _call(self, written: str) -> ToolCall | None:
        try:
            said = json.loads(written)
            name, arguments = said["name"], said.get(self._style.arguments, {})
        except (ValueError, TypeError, KeyError, AttributeError):
            return None
        if name not in self._names or not isinstance(arguments, dict):
            return None
        self._count += 1
        return ToolCall(f"call_{self._prefix}_{self._count}", name, json.dumps(arguments, ensure_ascii=False))


def _begins(text: str, mark: str) -> int:
    """Length of the longest end of `text` with which `mark` begins."""
    return next(
        (length for length in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-length:])), 0
    )
