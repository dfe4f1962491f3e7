"""The words put before a chat model when a customer asks something.

Training examples and live requests are built by the same function, so that a small model meets in service exactly the
form it has learnt. The context is cut to a byte budget: UTF-8 bytes / 4 is close to the token count in Chinese and in
English alike, and needs no tokenizer here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from tulou.core.sentences import sentence_ends
from tulou.core.types import Language, Message, Passage

MAX_CONTEXT_BYTES = 1600  # about 400 tokens
MAX_PASSAGES = 2  # what a model of a few million parameters can keep apart, and the shorter prompt trains twice as fast

# The answer learnt for questions that the passages do not answer; the support application recognises it.
NO_ANSWER = {"zh": "资料里没有这个问题的答案。", "en": "The documents do not answer this question."}

_SYSTEM = {
    "zh": "你是客服助手。只用资料里的话简短回答顾客的问题；资料里没有答案就直说。",
    "en": "You are a customer service assistant. Answer briefly, in the words of the documents; if none fits, say so.",
}
_CONTEXT = {"zh": "资料", "en": "Documents"}
_QUESTION = {"zh": "问题", "en": "Question"}


def support_messages(
    question: str,
    passages: Sequence[Passage],
    language: Language,
    max_passages: int = MAX_PASSAGES,
    max_context_bytes: int = MAX_CONTEXT_BYTES,
) -> list[Message]:
    """System and user message asking `question` about the first `max_passages` of `passages`, best first.

    Languages other than Chinese are addressed in English. Passages that no longer fit into `max_context_bytes` of
    UTF-8 are left out; the first one is cut at the end of a sentence rather than left out.
    """
    spoken = "zh" if language == "zh" else "en"
    context = "\n".join(_within(passages[:max_passages], max_context_bytes))
    user = f"{_CONTEXT[spoken]}:\n{context}\n\n{_QUESTION[spoken]}: {' '.join(question.split())}"
    return [Message("system", _SYSTEM[spoken]), Message("user", user)]


def question_in(prompt: str) -> str:
    """The question that `support_messages` put at the end of its user message."""
    last = prompt.rsplit("\n", 1)[-1]
    return next((last.removeprefix(f"{word}: ") for word in _QUESTION.values() if last.startswith(f"{word}: ")), last)


def passages_in(prompt: str) -> list[str]:
    """The entries that `support_messages` put before the question, each as one text with its heading in brackets."""
    context, _, _ = prompt.rpartition("\n\n")
    head, _, body = context.partition("\n")
    if head.rstrip(":") not in _CONTEXT.values():
        return []
    entries = re.split(r"\n(?=\[)", body)
    return [entry for entry in entries if entry.strip()]


def is_no_answer(text: str) -> bool:
    """Whether a chat model said, in the words it was taught, that the passages hold no answer."""
    bare = text.strip().rstrip("。.").casefold()
    return any(bare.startswith(sentence.rstrip("。.").casefold()) for sentence in NO_ANSWER.values())


def _within(passages: Sequence[Passage], max_bytes: int) -> list[str]:
    entries: list[str] = []
    left = max_bytes
    for passage in passages:
        entry = _entry(passage.heading or passage.title, passage.text)
        if len(entry.encode()) > left and not entries:
            entry = _cut(entry, left)
        if len(entry.encode()) > left:
            break
        entries.append(entry)
        left -= len(entry.encode())
    return entries


def _entry(heading: str, text: str) -> str:
    body = "\n".join(line.strip() for line in text.splitlines() if line.strip())
    return f"[{heading}] {body}" if heading else body


def _cut(text: str, max_bytes: int) -> str:
    """The leading sentences of `text` that fit; where not even the first does, as many characters as fit."""
    end = 0
    for boundary in sentence_ends(text):
        if len(text[:boundary].encode()) > max_bytes:
            break
        end = boundary
    return text[:end].rstrip() if end else text.encode()[:max_bytes].decode(errors="ignore")
