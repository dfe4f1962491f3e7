"""Chat templates rendered by Jinja itself, as transformers renders them in training.

OpenVINO GenAI's own renderer (minja) guesses what a template can do, and where it thinks that tools are beyond it, it
writes instructions of its own into the prompt. Then the model reads what it never saw.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tulou.core.types import Message
from tulou.service.engine.base import Unsupported, as_template_sees


class ChatTemplate:
    def __init__(self, source: str, **tokens: str) -> None:
        """`tokens`: what templates may write, such as `bos_token`."""
        from jinja2.ext import Extension, loopcontrols
        from jinja2.nodes import Node
        from jinja2.parser import Parser
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        class Generation(Extension):
            """transformers' mark around what the assistant says, which training looks for and nobody else."""

            tags = {"generation"}  # noqa: RUF012 -- as Jinja declares it

            def parse(self, parser: Parser) -> list[Node]:
                next(parser.stream)
                return parser.parse_statements(("name:endgeneration",), drop_needle=True)

        extensions = [loopcontrols, Generation]
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=extensions)
        environment.filters["tojson"] = _tojson
        environment.globals |= {
            "raise_exception": _refuse,
            "strftime_now": lambda layout: datetime.now().strftime(layout),
        }
        self.source = source
        self._template = environment.from_string(source)
        self._tokens = tokens

    def render(self, messages: Sequence[Message], tools: Sequence[dict[str, Any]] = ()) -> str:
        """The prompt, up to where the answer begins. Raises `Unsupported` where the template refuses `messages`."""
        from jinja2 import TemplateError

        if not self.source:
            raise Unsupported("messages", "the model has no chat template; give it a text at /v1/completions")
        seen = as_template_sees(messages)
        try:
            return self._template.render(
                messages=seen, tools=list(tools) or None, documents=None, add_generation_prompt=True, **self._tokens
            )
        except (TemplateError, TypeError, ValueError) as err:  # the last two from what a template does to the messages
            raise Unsupported("messages", f"the model's chat template refuses the messages: {err}") from err


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)  # Jinja's own escapes HTML


def _refuse(message: str) -> str:
    from jinja2 import TemplateError

    raise TemplateError(message)
