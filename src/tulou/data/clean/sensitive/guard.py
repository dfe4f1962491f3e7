"""Everything that [data.clean] says about sensitive data, as one object: what to mask, tokenize, drop, keep and show.

Recognisers are tried on the narrow form of a text; what they find is settled, replaced, and looked at again until
nothing is left, so that cleaning twice changes nothing. `traits` names what a text must have to be worth the look.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from tulou.core.errors import SettingsError
from tulou.core.settings import SENSITIVE_KINDS, CleanSettings, SensitiveAction, unknown_kind
from tulou.data.clean.sensitive.addresses import find_chinese_addresses, find_english_addresses
from tulou.data.clean.sensitive.codes import find_emails, find_ibans, find_ips, find_plates
from tulou.data.clean.sensitive.finding import ALWAYS, SHAPED, Finding, Recogniser, settle
from tulou.data.clean.sensitive.kinds import MASKED_KINDS, rule_name, short_name
from tulou.data.clean.sensitive.narrow import narrow
from tulou.data.clean.sensitive.numbers import NUMBER_KINDS, number_finder
from tulou.data.clean.sensitive.persons import find_chinese_persons, find_english_persons
from tulou.data.clean.sensitive.plugins import RemoteRecogniser, load_recogniser
from tulou.data.clean.sensitive.tokens import Tokens, marks
from tulou.data.kernels.survey import ALL_TRAITS, Trait

CUSTOM = "custom"  # the kind of a listed word that names none

_REPLACED = frozenset({"mask", "tokenize"})
_ROUNDS = 8  # looks at a text that changed; each sees what the last one uncovered
_LONG, _NON_ASCII, _ANY = frozenset({"LONG_NUMBER"}), frozenset({"NON_ASCII"}), frozenset({ALWAYS})
_BUILT_IN = (
    Recogniser(find_emails, ("email",), frozenset({"AT"})),
    Recogniser(find_ibans, ("iban",), frozenset({"LETTERS_DIGITS"})),
    Recogniser(find_ips, ("ip",), frozenset({"DOTTED", "COLONS"})),
    Recogniser(find_plates, ("license_plate",), frozenset({"PLATE"})),
    Recogniser(find_chinese_persons, ("person",), _NON_ASCII),
    Recogniser(find_english_persons, ("person",), _ANY),
    Recogniser(find_chinese_addresses, ("address",), _NON_ASCII),
    Recogniser(find_english_addresses, ("address",), _ANY),
)
_TELLING = int(reduce(or_, (Trait[name] for found in _BUILT_IN for name in found.needs - _ANY), Trait.LONG_NUMBER))


class Guard:
    """Built once per process with `build_guard`; its methods are a step's `Rewrite` and `Judge`."""

    def __init__(
        self, recognisers: Sequence[Recogniser], actions: Mapping[str, SensitiveAction], tokens: Tokens | None
    ) -> None:
        if tokens is None and "tokenize" in actions.values():
            raise SettingsError(
                'data.clean.sensitive: "tokenize" needs a secret key; use "mask", or hand over a token key'
            )
        self._actions = actions
        self._tokens = tokens
        brought = {kind for recogniser in recognisers for kind in recogniser.kinds}
        self._marks = marks({*brought, *actions})
        extra = [recogniser for recogniser in recognisers if recogniser not in _BUILT_IN]
        wanted = frozenset(kind for kind, action in actions.items() if action != "keep")
        self.masks_what_is_shown = wanted >= MASKED_KINDS and "tokenize" not in actions.values()
        """Whether a text that `rewrite` is done with may be shown, and tells all that was there before."""
        self._acting = [*built_in(wanted), *extra]
        self._showing = [*built_in(wanted | MASKED_KINDS), *extra]
        self._chosen: dict[tuple[bool, int], list[Recogniser]] = {}
        self._remote = [found.find for found in extra if isinstance(found.find, RemoteRecogniser)]

    @property
    def traits(self) -> frozenset[str]:
        """Names of the traits of which a text must have one; {"ALWAYS"} if every text has to be looked at."""
        return _needs(self._acting)

    @property
    def shown_traits(self) -> frozenset[str]:
        """The same for `redact`."""
        return _needs(self._showing)

    @property
    def is_remote(self) -> bool:
        """Whether it pays to `prepare` many texts at a time."""
        return bool(self._remote)

    @property
    def drops(self) -> bool:
        """Whether `judge` can drop anything."""
        return "drop" in self._actions.values()

    def find(self, text: str) -> list[Finding]:
        """What is not to be kept, in order, none overlapping."""
        return [found for found in self._scan(text, self._acting) if self._action(found.kind) != "keep"]

    def judge(self, row: Mapping[str, Any]) -> tuple[str, str | None] | None:
        if not self.drops:
            return None
        for text in (row["text"], row.get("title") or ""):
            for found in self.find(text):
                if self._action(found.kind) == "drop":
                    return rule_name(found.kind), None
        return None

    def rewrite(self, text: str, traits: int = ALL_TRAITS) -> tuple[str, list[str]]:
        """`text` with masks and tokens, and the rules (Presidio's names) that put them there.

        `traits` are those that the text is known to have; what they do not wake is not tried.
        """
        rules: set[str] = set()
        recognisers = self._worth_trying(self._acting, traits)
        for _ in range(_ROUNDS):
            found = [each for each in self._scan(text, recognisers) if self._action(each.kind) in _REPLACED]
            if not found:
                break
            text = _replaced(text, found, self._stand_in)
            rules |= {rule_name(finding.kind) for finding in found}
            recognisers = [each for each in recognisers if each.find not in self._remote]  # asked once
        return text, sorted(rules)

    def redact(self, text: str, traits: int = ALL_TRAITS) -> str:
        """`text` for people to look at while cleaning: masked too is what is kept, where it is masked by default."""
        recognisers = self._worth_trying(self._showing, traits)
        for _ in range(_ROUNDS):
            found = self._scan(text, recognisers)
            found = [each for each in found if each.kind in MASKED_KINDS or self._action(each.kind) != "keep"]
            if not found:
                break
            text = _replaced(text, found, lambda finding, _: f"[{finding.kind}]")
        return text

    def prepare(self, texts: Iterable[str]) -> None:
        """Tell recognisers at URLs which texts come next, so that they are asked for many at a time."""
        if self._remote:
            narrowed = [narrow(text).text for text in texts]
            for remote in self._remote:
                remote.prepare(narrowed)

    def _worth_trying(self, recognisers: list[Recogniser], traits: int) -> list[Recogniser]:
        """Those that a text with `traits` may hold something for."""
        key = recognisers is self._acting, traits & _TELLING
        if key not in self._chosen:
            self._chosen[key] = [
                each for each in recognisers if ALWAYS in each.needs or any(Trait[name] & traits for name in each.needs)
            ]
        return self._chosen[key]

    def _action(self, kind: str) -> SensitiveAction:
        return self._actions.get(kind, "keep" if kind in SENSITIVE_KINDS else "mask")

    def _stand_in(self, found: Finding, value: str) -> str:
        if self._tokens is not None and self._action(found.kind) == "tokenize":
            return self._tokens.seal(found.kind, narrow(value).text)
        return f"[{found.kind}]"

    def _scan(self, text: str, recognisers: Iterable[Recogniser]) -> list[Finding]:
        return scan(text, recognisers, self._marks)


def build_guard(settings: CleanSettings, token_key: bytes | None, project: Path) -> Guard:
    """The guard that `settings` describe; paths in them are relative to the folder `project`.

    Raises `SettingsError` for a word list or recogniser that cannot be loaded, and for a kind that nothing finds.
    """
    extra = [_plugged_in(name) for name in settings.recognisers]
    if settings.sensitive_words:
        extra.insert(0, listed_words(project / settings.sensitive_words))
    known = {*SENSITIVE_KINDS, *(kind for recogniser in extra for kind in recogniser.kinds)}
    for kind in settings.sensitive:
        if kind not in known and not settings.recognisers:
            raise SettingsError(f"data.clean.sensitive: {unknown_kind(kind, sorted(known))}")
    return Guard(extra, settings.sensitive, Tokens(token_key) if token_key else None)


def built_in(kinds: frozenset[str]) -> list[Recogniser]:
    """Tulou's own recognisers of `kinds`."""
    numbers = NUMBER_KINDS & kinds
    first = [Recogniser(number_finder(numbers), tuple(sorted(numbers)), _LONG)] if numbers else []
    return first + [recogniser for recogniser in _BUILT_IN if kinds.issuperset(recogniser.kinds)]


def listed_words(path: Path) -> Recogniser:
    """The recogniser of the words and expressions in the file at `path`."""
    from tulou.data.clean.wordlist import ExpressionFinder, WordFinder, read_wordlist

    listed = read_wordlist(path)
    kinds = {entry.text: short_name(entry.kind or CUSTOM) for entry in (*listed.words, *listed.expressions)}
    finders = (
        WordFinder(word.text for word in listed.words),
        ExpressionFinder(entry.text for entry in listed.expressions),
    )

    def find(text: str) -> Iterator[Finding]:
        for finder in finders:
            for start, end, entry in finder.find(text):
                yield Finding(start, end, kinds[entry], SHAPED)

    is_chinese = not listed.expressions and all(re.search(r"[\u4e00-\u9fff]", word.text) for word in listed.words)
    return Recogniser(find, tuple(sorted(set(kinds.values()))), _NON_ASCII if is_chinese else _ANY)


def scan(text: str, recognisers: Iterable[Recogniser], marked: re.Pattern[str]) -> list[Finding]:
    """What `recognisers` find outside of the masks and tokens that stand in `text` already, settled."""
    folded = narrow(text)
    found = [finding for recogniser in recognisers for finding in recogniser.find(folded.text)]
    if not found:
        return []
    if "[" in text and (done := [match.span() for match in marked.finditer(folded.text)]):
        found = [each for each in found if not any(start < each.end and each.start < end for start, end in done)]
    settled = settle(found)
    if folded.places is None:
        return settled
    return [finding._replace(start=start, end=end) for finding in settled for start, end in [folded.span(*finding[:2])]]


def _needs(recognisers: Iterable[Recogniser]) -> frozenset[str]:
    needs = frozenset[str]().union(*(recogniser.needs for recogniser in recognisers))
    return _ANY if ALWAYS in needs else needs


def _plugged_in(name: str) -> Recogniser:
    return Recogniser(load_recogniser(name), (), _ANY)


def _replaced(text: str, found: list[Finding], stand_in: Any) -> str:
    parts = []
    done = 0
    for finding in found:
        parts += [text[done : finding.start], stand_in(finding, text[finding.start : finding.end])]
        done = finding.end
    return "".join([*parts, text[done:]])
