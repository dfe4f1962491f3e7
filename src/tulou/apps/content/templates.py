"""Templates of texts: one editable file each, with its fields in front and the text to fill in behind.

A file `NAME.LANGUAGE.md` opens with TOML between two lines of `+++`: title, fields, the prompt for the model. The rest
is the text itself, a Jinja template, used whenever the model's own words do not hold. Templates run in Jinja's sandbox,
and what people type into fields is data to them, never code.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from tulou.core.errors import DataError
from tulou.core.types import Language

DEFAULTS = Path(__file__).with_name("defaults")
MAX_VALUE_CHARS = 500
MAX_TEXT_CHARS = 20_000

_FILE = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)\.(?P<language>zh|en)\.md")
_FRONT = re.compile(r"\A\+\+\+\s*\n(?P<front>.*?)\n\+\+\+[^\S\n]*\n(?P<body>.*)\Z", re.DOTALL)
_KEYS = {"title", "description", "subject", "prompt", "field"}
_FIELD_KEYS = {"name", "label", "required", "default", "placeholder", "long"}


@dataclass(frozen=True)
class Field:
    """Something to be filled in."""

    name: str
    label: str
    required: bool = False
    default: str = ""
    placeholder: str = ""
    long: bool = False  # several lines


@dataclass(frozen=True)
class Template:
    name: str
    language: Language
    title: str
    description: str
    fields: tuple[Field, ...]
    subject: str  # the field whose value the facts must be about
    prompt: str  # Jinja: what the model is asked
    body: str  # Jinja: the text filled in where the model fails
    path: Path

    def values(self, given: Mapping[str, str]) -> dict[str, str]:
        """`given` completed by defaults. Raises `DataError` for a field that is unknown, missing or too long."""
        names = [field.name for field in self.fields]
        for name, value in given.items():
            if name not in names:
                raise DataError(f"template {self.name!r} has no field {name!r}; it has: {', '.join(names)}")
            if len(value) > MAX_VALUE_CHARS:
                raise DataError(f"field {name!r} has {len(value):,} characters; at most {MAX_VALUE_CHARS} are accepted")
        values = {field.name: given.get(field.name, "").strip() or field.default for field in self.fields}
        for field in self.fields:
            if field.required and not values[field.name]:
                raise DataError(f"template {self.name!r} needs field {field.name!r} ({field.label})")
        return values


def load_templates(folder: Path) -> dict[tuple[str, Language], Template]:
    """The templates in `folder` by name and language; those that ship with Tulou where there is no such folder.

    Read anew on every call, so that an edited file counts at once. Raises `DataError` naming the file and the fault.
    """
    source = folder if folder.is_dir() else DEFAULTS
    templates: dict[tuple[str, Language], Template] = {}
    for path in sorted(source.glob("*.md")):
        template = read_template(path)
        templates[template.name, template.language] = template
    return templates


def choose(templates: Mapping[tuple[str, Language], Template], name: str, language: Language) -> Template:
    """The template `name`, in `language` if it exists in it. Raises `DataError` listing the names there are."""
    named = [template for template in templates.values() if template.name == name]
    if not named:
        names = ", ".join(sorted({template.name for template in templates.values()})) or "none"
        raise DataError(f"there is no template {name!r}; there are: {names}")
    return next((template for template in named if template.language == language), named[0])


def read_template(path: Path) -> Template:
    """Raises `DataError` with one sentence that names the file and the key."""
    named = _FILE.fullmatch(path.name)
    if named is None:
        raise DataError(f"{path}: a template is called NAME.zh.md or NAME.en.md, with a-z, 0-9 and '-' in its name")
    try:
        parts = _FRONT.match(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as err:
        raise DataError(f"{path} cannot be read: {err}") from err
    if parts is None:
        raise DataError(f"{path}: a template begins with its settings between two lines of +++")
    try:
        front = tomllib.loads(parts["front"])
    except tomllib.TOMLDecodeError as err:
        raise DataError(f"{path}: the settings between +++ are not valid TOML: {err}") from err
    _check_keys(path, front, _KEYS, "")
    language: Language = "zh" if named["language"] == "zh" else "en"
    fields = tuple(_field(path, each) for each in front.get("field", ()))
    subject = str(front.get("subject", fields[0].name if fields else ""))
    if subject not in [field.name for field in fields]:
        raise DataError(f"{path}: subject {subject!r} is no [[field]] of the template")
    for key, text in (("prompt", front.get("prompt", "")), ("text", parts["body"])):
        _check_syntax(path, key, text)
    return Template(
        name=named["name"],
        language=language,
        title=str(front.get("title", named["name"])),
        description=str(front.get("description", "")),
        fields=fields,
        subject=subject,
        prompt=str(front.get("prompt", "")),
        body=parts["body"],
        path=path,
    )


def fill(template: Template, text: str, values: Mapping[str, Any]) -> str:
    """Render `text`, the prompt or body of `template`. Raises `DataError` naming the file where it cannot be."""
    try:
        rendered = _environment().from_string(text).render(values)
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as err:
        raise DataError(f"{template.path}: the template cannot be filled in: {err}") from err
    lines = [line.rstrip() for line in rendered.strip().splitlines()]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))[:MAX_TEXT_CHARS]


def _field(path: Path, raw: Any) -> Field:
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str):
        raise DataError(f"{path}: each [[field]] needs a name")
    _check_keys(path, raw, _FIELD_KEYS, f"field {raw['name']!r}: ")
    return Field(**{"label": raw["name"], **raw})


def _check_keys(path: Path, table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            raise DataError(f"{path}: {where}unknown key {key!r}; known here: {', '.join(sorted(known))}")


def _check_syntax(path: Path, key: str, text: str) -> None:
    try:
        _environment().parse(text)
    except TemplateSyntaxError as err:
        raise DataError(f"{path}: the {key} is not a valid Jinja template: {err}") from err


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    # Texts are plain, so nothing is HTML-escaped here; pages insert them as text.
    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )
