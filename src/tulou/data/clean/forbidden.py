"""Records with forbidden words are dropped: a user's own list of words and /expressions/, one a line.

All words are found in one pass and expressions in time linear in the text, whatever the list; see `wordlist` for what
counts as found. The remark of a decision is the word as it was listed, never its context.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tulou.data.clean.record import Judge
from tulou.data.clean.wordlist import ExpressionFinder, WordFinder, read_wordlist


def forbidden(path: Path) -> Judge:
    """The judge that drops records with a word of the list at `path` in title or text.

    Its rule is the word's kind where the list gives one ("word = kind"), else "word" or "expression". Raises
    `SettingsError` where the list cannot be used.
    """
    listed = read_wordlist(path)
    rules = {word.text: word.kind or "word" for word in listed.words}
    rules |= {f"/{expression.text}/": expression.kind or "expression" for expression in listed.expressions}
    words = WordFinder(word.text for word in listed.words)
    expressions = ExpressionFinder(expression.text for expression in listed.expressions)

    def judge(row: dict[str, Any]) -> tuple[str, str | None] | None:
        for text in (row["text"], row["title"]):
            for _, _, word in words.find(text):
                return rules[word], word
            for _, _, expression in expressions.find(text):
                return rules[f"/{expression}/"], f"/{expression}/"
        return None

    return judge
