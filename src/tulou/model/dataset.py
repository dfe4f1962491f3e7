"""Chat examples from the knowledge itself: a question, passages as a search would bring them, an answer in their words.

Some contexts hold the answer among distractors; some do not, and there the model learns to say so. Feedback from users
joins as it is. Questions of the exam, and anything close to them, are taken out.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from tulou.core.errors import DataError
from tulou.core.prompt import MAX_PASSAGES, NO_ANSWER, question_in, support_messages
from tulou.core.tables import CONVERSATION, PASSAGE
from tulou.core.types import Language, Passage
from tulou.model.questions import Questioner
from tulou.model.rows import read_rows

WORDINGS = 3  # of each question
MAX_EXAMPLES = 4000
VALIDATION_SHARE = 0.08
REFUSED_SHARE = 0.05  # of questions asked once more over passages that do not answer them
EXAM_SIMILARITY = 0.6  # Jaccard of character pairs

# Asked over whatever passages come first: things no shop answers.
_OFF_TOPIC = {
    "zh": (
        "明天会下雨吗？",
        "写一首关于秋天的诗",
        "给我讲个笑话",
        "世界上最高的山是哪座？",
        "帮我算一下 37 乘以 42",
        "推荐一部电影",
        "今天股市怎么样？",
        "你会唱歌吗？",
        "昨天的比赛谁赢了？",
        "怎么做红烧肉？",
    ),
    "en": (
        "Will it rain tomorrow?",
        "Write a poem about autumn.",
        "Tell me a joke.",
        "Which mountain is the highest?",
        "What is 37 times 42?",
        "Recommend a film to me.",
        "How is the stock market today?",
        "Can you sing?",
        "Who won the match yesterday?",
        "How do I cook risotto?",
    ),
}


def chat_examples(
    passages: Path, exam: Sequence[str], out: Path, seed: int, feedback: Path | None = None
) -> dict[str, Any]:
    """Write CONVERSATION rows made from the PASSAGE rows in `passages` to `out`; return how many of which kind.

    Validation holds out wordings, not facts: the model is to know this business's documents, so what counts is whether
    it still answers when the same is asked in other words. Raises `DataError` where the passages give no question.
    """
    known = [Passage(**row) for row in read_rows(passages, PASSAGE)]
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    rows = []
    for row, kind in _rows(known, rng):
        if resembles_exam(question_in(row["messages"][1]["content"]), exam):
            counts["removed_like_exam"] += 1
            continue
        rows.append((row, kind))
    rng.shuffle(rows)
    kept = rows[:MAX_EXAMPLES]
    counts["left_out_beyond_limit"] = len(rows) - len(kept)
    counts.update(kind for _, kind in kept)
    conversations = [row for row, _ in kept]
    if not conversations:
        raise DataError(f"{len(known)} passages give no question to learn from; add documents with whole sentences")
    for row in read_rows(feedback, CONVERSATION) if feedback else ():
        if resembles_exam(question_in(row["messages"][-2]["content"]), exam):
            counts["removed_like_exam"] += 1
        else:
            conversations.append(row)
            counts["feedback"] += 1
    out.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(conversations, schema=CONVERSATION), out / "conversations-00000.parquet")
    splits = Counter(row["split"] for row in conversations)
    languages = Counter(row["language"] for row in conversations)
    return {
        "conversations": len(conversations),
        "splits": dict(splits),
        "languages": dict(languages),
        **{
            name: counts[name]
            for name in ("answered", "refused", "off_topic", "feedback", "removed_like_exam", "left_out_beyond_limit")
        },
    }


def _rows(passages: Sequence[Passage], rng: random.Random) -> Iterator[tuple[dict[str, Any], str]]:
    questioner = Questioner(passages)
    by_language: dict[str, list[Passage]] = defaultdict(list)
    for passage in passages:
        by_language[passage.language].append(passage)
    for passage in passages:
        others = [other for other in by_language[passage.language] if other.document_id != passage.document_id]
        siblings = [p for p in by_language[passage.language] if p.document_id == passage.document_id and p != passage]
        for question in questioner.ask(passage, WORDINGS, rng):
            context = _with_answer(passage, _sample(others + siblings, 1, rng), rng)
            yield _row(question.key, question.text, context, question.answer, passage), "answered"
            if rng.random() < REFUSED_SHARE and len(others) >= MAX_PASSAGES:
                wrong = _sample(others, MAX_PASSAGES, rng)
                yield _row(question.key, question.text, wrong, _no_answer(passage), passage), "refused"
    for language, known in by_language.items():
        for number, text in enumerate(_OFF_TOPIC.get(language, ())):
            for _ in range(2):
                context = _sample(known, MAX_PASSAGES, rng)
                yield (
                    _row(f"off-topic/{language}/{number}", text, context, _no_answer(context[0]), context[0]),
                    "off_topic",
                )


def _with_answer(passage: Passage, distractors: Sequence[Passage], rng: random.Random) -> list[Passage]:
    """What a search might return: the answering passage alone, before others, or (the least often) after them."""
    luck = rng.random()
    if luck < 0.4:
        return [passage]
    return [passage, *distractors] if luck < 0.85 else [*distractors, passage]


def _sample(passages: Sequence[Passage], count: int, rng: random.Random) -> list[Passage]:
    return rng.sample(passages, min(count, len(passages)))


def _no_answer(passage: Passage) -> str:
    return NO_ANSWER["zh" if passage.language == "zh" else "en"]


def _row(key: str, question: str, context: Sequence[Passage], answer: str, about: Passage) -> dict[str, Any]:
    messages = support_messages(question, context, cast(Language, about.language))
    said = [*((m.role, m.content) for m in messages), ("assistant", answer)]
    digest = hashlib.sha256(repr((key, said)).encode()).hexdigest()[:24]
    return {
        "id": digest,
        "document_id": about.document_id,
        "messages": [{"role": role, "content": content} for role, content in said],
        "language": about.language,
        "split": "validation" if share_of(f"{key}/{question}") < VALIDATION_SHARE else "train",
    }


def share_of(key: str) -> float:
    """A number in 0..1 that depends on `key` alone."""
    return int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) / 0x1_0000_0000


def resembles_exam(question: str, exam: Sequence[str]) -> bool:
    pairs = character_pairs(question)
    return any(_jaccard(pairs, character_pairs(asked)) >= EXAM_SIMILARITY for asked in exam)


def character_pairs(text: str) -> frozenset[str]:
    bare = re.sub(r"\W+", "", text.casefold())
    return frozenset(bare[i : i + 2] for i in range(max(1, len(bare) - 1)))


def _jaccard(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / max(1, len(a | b))
