"""Recognisers that are not ours: a service at a URL, a function of an installed package, a class written for Presidio.

Whatever goes wrong in one is an error that names it; a recogniser that fails never means "nothing sensitive here". A
service is asked about many texts at once when told beforehand which come (`prepare`), and about one at a time if not.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from tulou.core.errors import DataError, SettingsError
from tulou.core.extras import load_extra
from tulou.core.urls import expand, without_secrets
from tulou.data.clean.sensitive.finding import SHAPED, Find, Finding
from tulou.data.clean.sensitive.kinds import short_name
from tulou.data.language import detect

ENTRY_POINTS = "tulou.recognisers"
LEAST_SCORE = 0.4  # Presidio gives less to patterns that need its context words to be believed

_TIMEOUT_S = 30.0
_TEXTS_PER_REQUEST = 64
_CHARS_PER_REQUEST = 500_000
_LONGEST_ANSWER_BYTES = 64 << 20
_KIND = re.compile(r"\w[\w.-]{0,39}")


class RemoteRecogniser:
    """A service that answers POST {"texts", "language"} with {"findings": one list for each text}."""

    def __init__(self, url: str, timeout_s: float = _TIMEOUT_S) -> None:
        self._url = expand(url)
        self._shown = without_secrets(url)
        self._timeout_s = timeout_s
        self._known: dict[str, list[Finding]] = {}

    def prepare(self, texts: Iterable[str]) -> None:
        """Ask about all of `texts` now; their answers are kept until the next call."""
        by_language: defaultdict[str, list[str]] = defaultdict(list)
        known: dict[str, list[Finding]] = {}
        for text in dict.fromkeys(texts):
            if text in self._known:
                known[text] = self._known[text]
            elif text:
                by_language[detect(text)].append(text)
        for language, asked in by_language.items():
            for batch in _batches(asked):
                known.update(zip(batch, self._ask(batch, language), strict=True))
        self._known = known

    def __call__(self, text: str) -> list[Finding]:
        if not text:
            return []
        if text in self._known:
            return self._known[text]
        return self._ask([text], detect(text))[0]

    def _ask(self, texts: list[str], language: str) -> list[list[Finding]]:
        findings = self._post({"texts": texts, "language": language}).get("findings")
        are_lists = isinstance(findings, list) and all(isinstance(found, list) for found in findings)
        if not isinstance(findings, list) or not are_lists or len(findings) != len(texts):
            raise DataError(
                f'recogniser {self._shown} must answer "findings" with one list for each of {len(texts)} texts'
            )
        return [
            list(_checked(map(self._place, found), text, self._shown))
            for text, found in zip(texts, findings, strict=True)
        ]

    def _place(self, found: Any) -> tuple[int, int, str]:
        try:
            if float(found.get("score", 1)) < LEAST_SCORE:
                return 0, 0, ""
            return found["start"], found["end"], found["kind"]
        except (AttributeError, KeyError, TypeError, ValueError) as err:
            raise DataError(
                f"recogniser {self._shown} answered {found!r}; a finding has start, end, kind and a score"
            ) from err

    def _post(self, question: dict[str, Any]) -> dict[str, Any]:
        from http.client import HTTPException
        from urllib.error import URLError
        from urllib.request import Request, urlopen

        request = Request(self._url, json.dumps(question).encode(), {"Content-Type": "application/json"})
        try:
            with urlopen(request, timeout=self._timeout_s) as response:
                answer = json.loads(response.read(_LONGEST_ANSWER_BYTES))
        except (URLError, HTTPException, OSError) as err:
            raise DataError(
                f"recogniser {self._shown} did not answer: {err}; start it, or take it out of data.clean.recognisers"
            ) from err
        except ValueError as err:
            raise DataError(f"recogniser {self._shown} answered something that is not JSON") from err
        if not isinstance(answer, dict):
            raise DataError(f'recogniser {self._shown} must answer an object with "findings"')
        return answer


def load_recogniser(name: str) -> Find:
    """The recogniser that a line of data.clean.recognisers names. Raises `SettingsError` if there is none."""
    if name.startswith(("http://", "https://")):
        return RemoteRecogniser(name)
    if name.startswith("presidio:"):
        return _presidio(name, name.removeprefix("presidio:"))
    return _function(name)


def _function(name: str) -> Find:
    if ":" in name:
        function = _attribute(name, name)
    else:
        matching = list(entry_points(group=ENTRY_POINTS, name=name))
        if not matching:
            raise SettingsError(
                f"data.clean.recognisers: {name!r} is no URL, no module:function and no entry point in {ENTRY_POINTS}"
            )
        function = matching[0].load()
    if not callable(function):
        raise SettingsError(f"data.clean.recognisers: {name!r} is no function")
    return _guarded(name, function)


def _presidio(name: str, path: str) -> Find:
    analyzer = load_extra("presidio_analyzer", "presidio", f"the recogniser {name}")
    kind_of_class = _attribute(name, path)
    if not (isinstance(kind_of_class, type) and issubclass(kind_of_class, analyzer.EntityRecognizer)):
        raise SettingsError(f"data.clean.recognisers: {name!r} is no Presidio EntityRecognizer class")
    try:
        recogniser = kind_of_class()
    except TypeError as err:
        raise SettingsError(
            f"data.clean.recognisers: {name!r} cannot be made without arguments ({err}); name a subclass that can"
        ) from err

    def find(text: str) -> Iterator[tuple[int, int, str]]:
        for result in recogniser.analyze(text, recogniser.supported_entities, None) or ():
            if result.score >= LEAST_SCORE:
                yield result.start, result.end, result.entity_type

    return _guarded(name, find)


def _attribute(name: str, path: str) -> Any:
    module, _, attribute = path.rpartition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as err:
        raise SettingsError(f"data.clean.recognisers: cannot load {name!r}: {err}") from err
    return found


def _guarded(name: str, function: Callable[[str], Iterable[tuple[int, int, str]]]) -> Find:
    """`function` as a recogniser whose every failure is a `DataError` with its name."""

    def find(text: str) -> list[Finding]:
        try:
            return list(_checked(function(text) or (), text, name))
        except DataError:
            raise
        except Exception as err:
            raise DataError(f"recogniser {name} failed: {type(err).__name__}: {err}") from err

    return find


def _checked(places: Iterable[tuple[int, int, str]], text: str, name: str) -> Iterator[Finding]:
    for place in places:
        start, end, kind = place[:3]
        if not kind:
            continue
        is_place = isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text)
        if not is_place or not isinstance(kind, str) or not _KIND.fullmatch(kind):
            raise DataError(
                f"recogniser {name} found {place!r} in a text of {len(text)} characters; that is no place in it"
            )
        yield Finding(start, end, short_name(kind), SHAPED)


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    chars = 0
    for text in texts:
        if batch and (len(batch) == _TEXTS_PER_REQUEST or chars + len(text) > _CHARS_PER_REQUEST):
            yield batch
            batch, chars = [], 0
        batch.append(text)
        chars += len(text)
    if batch:
        yield batch
