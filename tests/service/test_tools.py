from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tulou.core.types import ToolCall
from tulou.service.engine.tools import ToolReader, format_of, grammar_for

QWEN = "{% if tools %}...return a json object within <tool_call></tool_call> XML tags{% endif %}"
LLAMA = '{% if tools %}Respond in the format {"name": function name, "parameters": dictionary}{% endif %}'
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "杭州"}}\n</tool_call>'


def read(format_name: str, text: str, size: int = 3) -> tuple[str, list[ToolCall]]:
    """What comes of `text` given `size` characters at a time."""
    reader = ToolReader(format_name, ["weather", "time"], "x")
    pieces = [reader.push(text[i : i + size]) for i in range(0, len(text), size)]
    pieces.append(reader.push("", is_last=True))
    return "".join(shown for shown, _ in pieces), [call for _, calls in pieces for call in calls]


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (QWEN, "hermes"),
        (LLAMA, "llama3"),
        ("{% if tools %}[TOOL_CALLS]{% endif %}", None),
        ("<tool_call>", None),
        (None, None),
    ],
)
def test_the_way_of_calling_is_found_in_the_template(template: str | None, found: str | None) -> None:
    assert format_of(template) == found


@given(st.integers(1, 40))
def test_calls_are_read_back_however_the_text_is_cut(size: int) -> None:
    shown, calls = read("hermes", f"Let me see.\n{CALL}\n{CALL}", size)
    assert shown.strip() == "Let me see."
    assert [(call.id, call.name, json.loads(call.arguments)) for call in calls] == [
        ("call_x_1", "weather", {"city": "杭州"}),
        ("call_x_2", "weather", {"city": "杭州"}),
    ]
    shown, calls = read("llama3", '{"name": "time", "parameters": {"zone": "CST"}}', size)
    assert (shown, [call.name for call in calls]) == ("", ["time"])


@given(st.text('<tool_cal>/{}"ab ', max_size=60), st.integers(1, 9))
def test_what_is_no_call_stays_text(text: str, size: int) -> None:
    for format_name in ("hermes", "llama3"):
        assert read(format_name, text, size) == (text, [])


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "unknown", "arguments": {}}</tool_call>',
        '<tool_call>{"name": "weather", "arguments": [1]}</tool_call>',
        "<tool_call>not json</tool_call>",
        '<tool_call>{"name": "weath',
    ],
)
def test_a_call_that_cannot_be_made_is_shown_as_it_was_written(text: str) -> None:
    assert read("hermes", text) == (text, [])


def test_a_required_call_is_one_of_the_tools_in_the_models_own_marks() -> None:
    tools = [{"function": {"name": name, "parameters": {"type": "object"}}} for name in ("weather", "time")]
    grammar = grammar_for(tools, "hermes")
    assert (grammar.before, grammar.after) == ("<tool_call>\n", "\n</tool_call>")
    assert [each["properties"]["name"]["const"] for each in json.loads(grammar.schema)["anyOf"]] == ["weather", "time"]
    assert json.loads(grammar_for(tools[:1], "llama3").schema)["required"] == ["name", "parameters"]
