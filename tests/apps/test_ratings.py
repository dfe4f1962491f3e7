from __future__ import annotations

import pytest
import sqlalchemy as sa

from tulou.apps.feedback import give_feedback
from tulou.apps.history import count_answers, recent_turns
from tulou.apps.routes import Applications
from tulou.core.errors import DataError
from tulou.core.state import feedback


async def test_the_last_word_counts(apps: Applications) -> None:
    turn = (await apps.assistant.ask("可以货到付款吗？")).turn_id
    give_feedback(apps.state, apps.metrics, turn, 1, at=1.0)
    give_feedback(apps.state, apps.metrics, turn, -1, at=2.0, comment="too short", correction="不可以。")
    with apps.state.connect() as connection:
        rows = connection.execute(sa.select(feedback)).all()
    assert [(row.rating, row.at, row.comment, row.correction) for row in rows] == [(-1, 2.0, "too short", "不可以。")]
    assert recent_turns(apps.state, 1)[0].correction == "不可以。"
    counts = count_answers(apps.state, since=0)
    assert (counts.total, counts.by_kind, counts.up, counts.down) == (1, {"quoted": 1}, 0, 1)
    others = count_answers(apps.state, since=0, app="content")
    assert (others.total, others.up, others.down) == (0, 0, 0)


async def test_only_existing_answers_of_the_visitor_are_rated(apps: Applications) -> None:
    turn = (await apps.assistant.ask("可以货到付款吗？", visitor="v1")).turn_id
    give_feedback(apps.state, apps.metrics, turn, 1, at=1.0, visitor="v1")
    with pytest.raises(DataError, match="there is no answer"):
        give_feedback(apps.state, apps.metrics, turn, 1, at=1.0, visitor="v2")
    with pytest.raises(DataError, match="there is no answer 'nobody'"):
        give_feedback(apps.state, apps.metrics, "nobody", 1, at=1.0)


async def test_a_rating_is_up_or_down_and_a_comment_is_short(apps: Applications) -> None:
    turn = (await apps.assistant.ask("可以货到付款吗？")).turn_id
    with pytest.raises(DataError, match="rating 5 is neither"):
        give_feedback(apps.state, apps.metrics, turn, 5, at=1.0)
    with pytest.raises(DataError, match="comment has 4,001 characters"):
        give_feedback(apps.state, apps.metrics, turn, 1, at=1.0, comment="x" * 4001)
