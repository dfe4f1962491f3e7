"""What the applications send while they work: pieces of judged text, and the sources it rests on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass

from tulou.apps import words
from tulou.core.types import ChatDelta, Passage


@dataclass(frozen=True)
class Source:
    """A passage shown beside an answer; `is_cited` if the words of the answer come from it."""

    id: str
    document_id: str
    title: str
    uri: str
    heading: str
    position: str
    language: str
    text: str
    is_cited: bool


@dataclass(frozen=True)
class Delta:
    """More text, already judged."""

    text: str


def sources_of(passages: Sequence[Passage], cited: Sequence[Passage]) -> tuple[Source, ...]:
    """`passages` as sources, the cited ones first."""
    cited_ids = [passage.id for passage in cited]
    ordered = [*cited, *(passage for passage in passages if passage.id not in cited_ids)]
    return tuple(
        Source(
            id=passage.id,
            document_id=passage.document_id,
            title=passage.title,
            uri=passage.uri,
            heading=passage.heading,
            position=passage.position,
            language=passage.language,
            text=passage.text,
            is_cited=passage.id in cited_ids,
        )
        for passage in ordered
    )


async def sentences_of(chat: AsyncIterator[ChatDelta]) -> AsyncGenerator[str]:
    """The sentences of a stream as they are completed; what is left at its end comes last, whole or not."""
    pending = ""
    try:
        async for delta in chat:
            *whole, pending = words.sentences(pending + delta.text + "\0")
            pending = pending.rstrip("\0")  # it kept the white space before it, and a final "." from counting as an end
            for sentence in whole:
                yield sentence
        if pending.strip():
            yield pending.strip()
    finally:
        if isinstance(chat, AsyncGenerator):  # tells the replica that nobody listens any more
            await chat.aclose()
