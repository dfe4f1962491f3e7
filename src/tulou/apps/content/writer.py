"""Writes a text from a template: facts from search, the model's words where they hold, the filled template otherwise.

The same honesty as in customer service: each sentence of the model is checked against the facts, and the text counts as
generated only if several sentences in a row hold and it names its subject. Until then nothing is shown, so that nobody
sees text that is taken back. Where the knowledge does not know the subject, nothing is written.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from tulou.apps import words
from tulou.apps.content.facts import Facts, facts_about
from tulou.apps.content.templates import Template, choose, fill, load_templates
from tulou.apps.events import Delta, Source, sentences_of, sources_of
from tulou.apps.history import Turn, passage_entries, save_turn
from tulou.apps.ports import Search, Versions, no_versions
from tulou.apps.support.grounding import judge_sentence, repeats
from tulou.core.errors import TulouError
from tulou.core.settings import ContentSettings
from tulou.core.types import Language, Message, Models, Passage
from tulou.data.language import detect

SEARCHED = 12
MIN_SENTENCES = 2  # fewer grounded sentences than this are no text

_SYSTEM = {
    "zh": "你是文案编辑。只用资料里的事实，写通顺的短文。",
    "en": "You are a copywriter. Write a short fluent text, using only the facts given.",
}
_UNKNOWN = {
    "zh": "资料里没有关于“{subject}”的内容，所以没有写。请检查名称，或先把相关资料加进知识库。",
    "en": "The knowledge says nothing about “{subject}”, so nothing was written. "
    "Check the name, or add a document first.",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Writing:
    """Work has begun."""

    turn_id: str
    template: str
    language: Language


@dataclass(frozen=True)
class Written:
    """The whole text and how it came about."""

    turn_id: str
    template: str
    language: Language
    kind: str  # "generated", "filled", "declined"
    text: str
    reason: str
    sources: tuple[Source, ...]
    model: str
    model_version: str
    latency_ms: float


Event = Writing | Delta | Written


@dataclass
class _Draft:
    text: str = ""
    sentences: int = 0
    cited: list[Passage] = field(default_factory=list)
    reason: str = ""


@dataclass
class Writer:
    models: Models
    search: Search
    settings: ContentSettings
    project: Path  # folder of tulou.toml
    state: Engine
    versions: Versions = no_versions
    clock: Callable[[], float] = time.time
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex

    def templates(self) -> list[Template]:
        return list(load_templates(self.project / self.settings.templates).values())

    async def write(
        self, name: str, values: Mapping[str, str], language: Language | None = None
    ) -> AsyncGenerator[Event]:
        """A `Writing`, `Delta`s that add up to the text, and the `Written`.

        Raises `DataError` for an unknown template or field, before anything is yielded.
        """
        started = time.perf_counter()
        language = language or detect(" ".join(values.values()))
        template = choose(load_templates(self.project / self.settings.templates), name, language)
        filled = template.values(values)
        subject = filled[template.subject]
        turn_id = self.new_id()
        yield Writing(turn_id, template.name, template.language)

        facts = facts_about(subject, template.language, await self.search(subject, SEARCHED))
        draft = _Draft()
        if not facts.passages:
            kind, draft.reason = "declined", "the knowledge does not name the subject"
            draft.text = _UNKNOWN["zh" if template.language == "zh" else "en"].format(subject=subject)
            yield Delta(draft.text)
        else:
            kind = "generated"
            async with aclosing(self._generate(template, filled, subject, facts, draft)) as deltas:
                async for delta in deltas:
                    yield delta
            if draft.sentences < MIN_SENTENCES:
                kind, draft.cited = "filled", list(facts.passages)
                draft.text = fill(template, template.body, _context(filled, facts))
                for line in draft.text.splitlines(keepends=True):
                    yield Delta(line)

        written = Written(
            turn_id=turn_id,
            template=template.name,
            language=template.language,
            kind=kind,
            text=draft.text,
            reason=draft.reason,
            sources=sources_of(facts.passages, draft.cited),
            model=self.settings.model,
            model_version=self.versions(self.settings.model),
            latency_ms=(time.perf_counter() - started) * 1000,
        )
        await self._remember(template, filled, written, facts, draft)
        yield written

    async def _generate(
        self, template: Template, values: Mapping[str, str], subject: str, facts: Facts, draft: _Draft
    ) -> AsyncGenerator[Delta]:
        """The model's sentences as long as they hold, from the moment that there are enough of them."""
        if not template.prompt:
            draft.reason = "the template has no prompt"
            return
        prompt = fill(template, template.prompt, _context(values, facts))
        messages = [Message("system", _SYSTEM["zh" if template.language == "zh" else "en"]), Message("user", prompt)]
        # What the person typed in is known as well as what a passage says.
        known = [replace(p, heading=f"{p.heading} {' '.join(values.values())}") for p in facts.passages]
        by_id = {passage.id: passage for passage in facts.passages}
        chat = self.models.chat(self.settings.model, messages, max_tokens=self.settings.max_answer_tokens)
        held, shown = "", False
        try:
            async with aclosing(sentences_of(chat)) as sentences:
                async for sentence in sentences:
                    verdict = judge_sentence(sentence, template.language, known)
                    draft.reason = verdict.reason
                    glue = "" if template.language == "zh" or not held else " "
                    if verdict.passage is None or repeats(held + glue + sentence):
                        return
                    held += glue + sentence
                    draft.sentences += 1
                    draft.cited.append(by_id[verdict.passage.id])
                    if shown:
                        draft.text += glue + sentence
                        yield Delta(glue + sentence)
                    elif draft.sentences >= MIN_SENTENCES and words.fold(subject) in words.fold(held):
                        shown, draft.text = True, held
                        yield Delta(held)
        except TulouError as err:
            draft.reason = f"the model is not available: {err}"
            log.warning("writing goes on without model %s: %s", self.settings.model, err)
        finally:
            if not shown:
                draft.sentences = 0

    async def _remember(
        self, template: Template, values: Mapping[str, str], written: Written, facts: Facts, draft: _Draft
    ) -> None:
        asked = "; ".join(f"{name}={value}" for name, value in values.items() if value)
        turn = Turn(
            id=written.turn_id,
            conversation_id=self.new_id(),
            at=self.clock(),
            language=written.language,
            question=f"{template.title}: {asked}",
            answer=written.text,
            kind=written.kind,
            intent=None,
            passages=passage_entries(facts.passages, draft.cited),
            model=written.model,
            model_version=written.model_version,
            latency_ms=written.latency_ms,
            app="content",
        )
        try:
            await asyncio.to_thread(save_turn, self.state, turn, None)
        except SQLAlchemyError as err:
            log.error("text %s was not stored: %s", turn.id, err)


def _context(values: Mapping[str, str], facts: Facts) -> dict[str, object]:
    properties = [asdict(each) for each in facts.properties]
    return {**values, "sentences": list(facts.sentences), "properties": properties}
