"""The customer-service assistant: language, intent, search, then decline, generate or quote, and remember.

What the model writes is judged sentence by sentence while it streams: a sentence reaches the customer once a passage
says the same, and the first that fails ends the draft. So streaming and honesty cost at most one sentence of delay.
If nothing the model wrote may be said, the best passage is quoted; if the model is away, likewise. Where several
documents fit almost equally well, each is quoted with its name: the reader decides, not a coin.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from tulou.apps.events import Delta, Source, sentences_of, sources_of
from tulou.apps.history import Turn, last_question, passage_entries, save_turn
from tulou.apps.ports import Search, Versions, no_versions
from tulou.apps.support import wording
from tulou.apps.support.grounding import judge_sentence, repeats
from tulou.apps.support.quoting import addresses, quote
from tulou.apps.support.relevance import CONTENDERS, contenders, is_follow_up, judge_relevance, rank
from tulou.core.errors import TulouError
from tulou.core.prompt import support_messages
from tulou.core.settings import SupportSettings
from tulou.core.telemetry import Metrics
from tulou.core.types import Hit, Language, Models, Passage
from tulou.data.language import detect

SEARCHED = 8  # passages looked at; more than are shown, so that the question's language can come first

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Started:
    turn_id: str
    conversation_id: str
    language: Language
    intent: str | None


@dataclass(frozen=True)
class Answer:
    """The whole answer and how it came about."""

    turn_id: str
    conversation_id: str
    language: Language
    kind: str  # "generated", "quoted", "declined"
    text: str
    reason: str  # why this kind: "grounded", or what was wrong with the draft or the passages
    sources: tuple[Source, ...]
    found: tuple[str, ...]  # uris of the documents found, best first, each once
    intent: str | None
    intent_probability: float | None
    model: str
    model_version: str
    latency_ms: float


Event = Started | Delta | Answer


@dataclass
class _Draft:
    """What may be said of the model's text so far."""

    text: str = ""
    cited: list[Passage] = field(default_factory=list)
    reason: str = ""


@dataclass
class Assistant:
    models: Models
    search: Search
    settings: SupportSettings
    state: Engine
    metrics: Metrics
    versions: Versions = no_versions
    clock: Callable[[], float] = time.time
    new_id: Callable[[], str] = lambda: uuid.uuid4().hex

    async def answer(
        self, question: str, conversation_id: str | None = None, visitor: str | None = None
    ) -> AsyncGenerator[Event]:
        """Answer `question`: a `Started`, `Delta`s that add up to the text, and the `Answer`.

        Raises what the search raises; a model that is away only costs its part.
        """
        started = time.perf_counter()
        question = " ".join(question.split())
        language = detect(question)
        conversation_id = conversation_id or self.new_id()
        query = await self._in_context(question, conversation_id)
        (intent, probability), hits = await asyncio.gather(self._intent(question), self.search(query, SEARCHED))
        turn_id = self.new_id()
        yield Started(turn_id, conversation_id, language, intent)

        found = tuple(dict.fromkeys(hit.passage.uri for hit in hits))
        hits = rank(query, language, hits)
        relevance = judge_relevance(query, language, hits)
        shown = hits[: self.settings.top_k]
        passages = [hit.passage for hit in shown]
        draft = _Draft()
        if not relevance.is_relevant:
            kind, passages, draft.reason = "declined", [], relevance.reason
            draft.text = wording.decline(relevance.reason, language, self.settings)
            yield Delta(draft.text)
        else:
            async with aclosing(self._generate(query, language, shown, draft)) as deltas:
                async for delta in deltas:
                    yield delta
            kind = "generated"
            if not draft.text and (quoted := quote(query, language, shown)) is not None:
                kind, draft.cited = "quoted", [quoted.passage]
                draft.text = wording.before_quote(language, quoted.passage.language) + quoted.text
                yield Delta(draft.text)
            close = contenders(query, language, hits)
            passages += [hit.passage for hit in close if hit.passage not in passages]
            for delta in _also_quoted(query, language, close, draft):
                yield delta

        answer = Answer(
            turn_id=turn_id,
            conversation_id=conversation_id,
            language=language,
            kind=kind,
            text=draft.text,
            reason=draft.reason,
            sources=sources_of(passages, draft.cited),
            found=found,
            intent=intent,
            intent_probability=probability,
            model=self.settings.model,
            model_version=self.versions(self.settings.model),
            latency_ms=(time.perf_counter() - started) * 1000,
        )
        await self._remember(question, answer, passages, draft.cited, visitor)
        yield answer

    async def ask(self, question: str, conversation_id: str | None = None, visitor: str | None = None) -> Answer:
        """The whole answer at once."""
        async with aclosing(self.answer(question, conversation_id, visitor)) as events:
            answers = [event async for event in events if isinstance(event, Answer)]
        return answers[-1]

    async def _generate(
        self, question: str, language: Language, hits: Sequence[Hit], draft: _Draft
    ) -> AsyncGenerator[Delta]:
        """Sentences of the model that may be said; `draft` knows the text, what it rests on, and why it ended."""
        passages = [hit.passage for hit in hits]
        messages = support_messages(question, passages, language)
        chat = self.models.chat(self.settings.model, messages, max_tokens=self.settings.max_answer_tokens)
        try:
            async with aclosing(sentences_of(chat)) as sentences:
                async for sentence in sentences:
                    verdict = judge_sentence(sentence, language, passages)
                    draft.reason = verdict.reason
                    if not verdict.is_grounded or verdict.passage is None:
                        return
                    glue = "" if language == "zh" or not draft.text else " "
                    text = draft.text + glue + sentence
                    if repeats(text):
                        draft.reason = "repeats itself"
                        return
                    if not draft.text and not addresses(sentence, question, language, hits):
                        draft.reason = "does not address the question"
                        return
                    draft.text = text
                    if verdict.passage not in draft.cited:
                        draft.cited.append(verdict.passage)
                    yield Delta(glue + sentence)
            draft.reason = draft.reason or "the model wrote nothing"
        except TulouError as err:
            draft.reason = f"the model is not available: {err}"
            log.warning("answering goes on without model %s: %s", self.settings.model, err)

    async def _intent(self, question: str) -> tuple[str | None, float | None]:
        if self.settings.intents is None:
            return None, None
        try:
            label, probability = (await self.models.classify(self.settings.intents, [question]))[0][0]
        except TulouError as err:
            log.warning("answering goes on without model %s: %s", self.settings.intents, err)
            return None, None
        return label, probability

    async def _in_context(self, question: str, conversation_id: str) -> str:
        """`question`, or with the one before it in front where it only makes sense together."""
        if not is_follow_up(question):
            return question
        before = await asyncio.to_thread(last_question, self.state, conversation_id)
        return f"{before} {question}" if before else question

    async def _remember(
        self, question: str, answer: Answer, passages: Sequence[Passage], cited: Sequence[Passage], visitor: str | None
    ) -> None:
        self.metrics.answers.labels(kind=answer.kind).inc()
        turn = Turn(
            id=answer.turn_id,
            conversation_id=answer.conversation_id,
            at=self.clock(),
            language=answer.language,
            question=question,
            answer=answer.text,
            kind=answer.kind,
            intent=answer.intent,
            passages=passage_entries(passages, cited),
            model=answer.model,
            model_version=answer.model_version,
            latency_ms=answer.latency_ms,
        )
        try:
            await asyncio.to_thread(save_turn, self.state, turn, visitor)
        except SQLAlchemyError as err:  # the customer has the answer; losing the record must not take it away
            log.error("answer %s was not stored: %s", turn.id, err)


def _also_quoted(question: str, language: Language, close: Sequence[Hit], draft: _Draft) -> Iterator[Delta]:
    """Where search is not sure of its document: a quote from each other one that may be meant, with its name."""
    for hit in close[:CONTENDERS]:
        if hit.passage.uri in {passage.uri for passage in draft.cited} or len(draft.cited) >= CONTENDERS:
            continue
        quoted = quote(question, language, [hit])
        if quoted is not None and quoted.text not in draft.text:
            also = wording.also(language, hit.passage.title, quoted.text)
            draft.text += also
            draft.cited.append(hit.passage)
            yield Delta(also)
