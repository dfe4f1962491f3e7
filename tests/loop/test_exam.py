from pathlib import Path

import pytest

from tulou.core.errors import DataError
from tulou.core.progress import Silent
from tulou.loop.exam import Answered, Question, load_questions, take_exam


async def test_the_exam_counts_what_was_found_cited_and_declined() -> None:
    answers = {
        "how long to return?": Answered("quoted", ("returns.md", "b.md"), ("returns.md",), "14 days"),
        "运费多少": Answered("generated", ("a.md", "b.md", "c.md", "delivery.md"), ("a.md",), "免费"),
        "weather?": Answered("declined", (), (), "I do not know"),
        "a poem": Answered("quoted", ("a.md",), ("a.md",), "roses"),
    }

    async def ask(question: str) -> Answered:
        return answers[question]

    score = await take_exam(
        [
            Question("1", "en", "how long to return?", ("returns.md", "returns-zh.md")),
            Question("2", "zh", "运费多少", ("delivery.md",)),
        ],
        [Question("o1", "en", "weather?"), Question("o2", "en", "a poem")],
        ask,
        Silent(),
    )
    assert (score["in_top_3"], score["cited_right"]) == (1, 1)  # fourth place is not the top three
    assert (score["off_topic"], score["off_topic_declined"]) == (2, 1)
    assert score["by_language"]["zh"] == {"questions": 1, "in_top_3": 0, "cited_right": 0}
    assert score["kinds"] == {"generated": 1, "quoted": 2, "declined": 1}


def test_a_broken_exam_file_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "questions.jsonl"
    path.write_text('{"id": 1, "language": "en", "question": "q", "documents": ["a"]}\n\n{"id": 2}\n')
    with pytest.raises(DataError, match="line 3"):
        load_questions(path)
    with pytest.raises(DataError, match="does not exist"):
        load_questions(tmp_path / "none.jsonl")
