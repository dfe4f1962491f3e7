from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest
from tests.apps.bookshop import Bookshop
from tests.apps.fakes import FakeModels

from tulou.apps.events import Delta, sentences_of
from tulou.apps.history import conversation, recent_turns
from tulou.apps.routes import Applications
from tulou.apps.support.assistant import Answer, Started
from tulou.core.errors import DataError
from tulou.core.prompt import NO_ANSWER
from tulou.core.settings import SupportSettings
from tulou.core.types import ChatDelta, Hit


async def test_a_grounded_answer_is_given_as_the_model_wrote_it(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: "普通快递 3 到 5 天送达，偏远地区 7 到 10 天。"
    answer = await apps.assistant.ask("快递几天能送到？")
    assert (answer.kind, answer.language, answer.reason) == ("generated", "zh", "grounded")
    assert answer.text == "普通快递 3 到 5 天送达，偏远地区 7 到 10 天。"
    assert [source.uri for source in answer.sources if source.is_cited] == ["delivery.zh.md"]
    assert (answer.intent, answer.model, answer.model_version) == ("delivery_time", "assistant", "3")


async def test_an_invented_answer_is_replaced_by_a_quote(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: "普通快递 2 小时送达。"
    answer = await apps.assistant.ask("快递几天能送到？")
    assert answer.kind == "quoted"
    assert "3 到 5 天" in answer.text
    assert "numbers no passage has" in answer.reason
    assert answer.sources[0].is_cited
    assert answer.sources[0].uri == "delivery.zh.md"


async def test_what_holds_of_a_draft_is_kept_and_the_rest_is_dropped(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: "Standard delivery takes 3 to 5 days. It is brought by a dragon. Dragons are fast."
    answer = await apps.assistant.ask("How long does delivery take?")
    assert (answer.kind, answer.text) == ("generated", "Standard delivery takes 3 to 5 days.")
    assert models.closed == 1


async def test_an_answer_cut_off_by_the_token_limit_loses_its_torn_end(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: "Standard delivery takes 3 to 5 days. Orders leave our ware"
    answer = await apps.assistant.ask("How long does delivery take?")
    assert answer.text == "Standard delivery takes 3 to 5 days."


async def test_a_true_sentence_about_something_else_is_not_an_answer(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: "付款后 24 小时内出库。"
    answer = await apps.assistant.ask("偏远地区几天送达？")
    assert answer.kind == "quoted"
    assert answer.reason == "does not address the question"


@pytest.mark.parametrize(
    ("question", "contact"), [("今天天气怎么样？", "人工客服"), ("Write me a short poem about the sea.", "a colleague")]
)
async def test_what_nothing_fits_is_declined_and_a_person_is_offered(
    apps: Applications, models: FakeModels, question: str, contact: str
) -> None:
    answer = await apps.assistant.ask(question)
    assert answer.kind == "declined"
    assert contact in answer.text
    assert answer.sources == ()
    assert models.prompts == []  # the model is not even asked


async def test_a_model_that_is_away_costs_its_part_only(apps: Applications, models: FakeModels) -> None:
    models.is_away = True
    answer = await apps.assistant.ask("可以货到付款吗？")
    assert (answer.kind, answer.intent) == ("quoted", None)
    assert "不支持货到付款" in answer.text
    assert "no replica of 'assistant' is ready" in answer.reason


async def test_a_model_that_knows_no_answer_is_replaced_by_a_quote(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: NO_ANSWER["en"]
    answer = await apps.assistant.ask("Can I return an e-book?")
    assert (answer.kind, answer.reason) == ("quoted", "the model found no answer")


async def test_a_quote_in_the_other_language_says_so(apps: Applications) -> None:
    chinese = await apps.assistant.ask("玉林路门店营业到几点")
    assert chinese.kind == "quoted"
    assert not chinese.text.startswith("这部分资料")
    english = await apps.assistant.ask("Tell me about the store at 玉林路 in 西安 and 成都")
    assert english.text.startswith("Our documents cover this in Chinese only:\n")


async def test_deltas_add_up_to_the_text_between_start_and_answer(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: (
        "Standard delivery takes 3 to 5 days. Storms and other bad weather may delay a parcel."
    )
    events = [event async for event in apps.assistant.answer("How long does standard delivery take?")]
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Answer)
    deltas = [event.text for event in events if isinstance(event, Delta)]
    assert len(deltas) == 2
    assert "".join(deltas) == events[-1].text


async def test_an_answer_is_remembered_with_all_it_rests_on(apps: Applications) -> None:
    first = await apps.assistant.ask("可以货到付款吗？", visitor="v1")
    second = await apps.assistant.ask("能开发票吗", first.conversation_id, "v1")
    turns = conversation(apps.state, first.conversation_id)
    assert [turn.question for turn in turns] == ["可以货到付款吗？", "能开发票吗"]
    assert turns[1].id == second.turn_id
    cited = [passage for passage in turns[0].passages if passage["cited"]]
    assert [passage["id"] for passage in cited] == ["payment.zh"]
    assert {"document_id", "source", "uri", "position", "text"} <= cited[0].keys()
    assert apps.metrics.registry.get_sample_value("tulou_support_answers_total", {"kind": "quoted"}) == 2


async def test_a_follow_up_is_understood_from_the_question_before(apps: Applications, models: FakeModels) -> None:
    first = await apps.assistant.ask("How long does delivery take?")
    await apps.assistant.ask("And to remote areas?", first.conversation_id)
    assert models.prompts[-1][-1].content.endswith("How long does delivery take? And to remote areas?")
    assert recent_turns(apps.state, 1)[0].question == "And to remote areas?"


async def test_a_visitor_who_leaves_stops_the_model(apps: Applications, models: FakeModels) -> None:
    models.speak = lambda _prompt: (
        "Standard delivery takes 3 to 5 days. Storms and other bad weather may delay a parcel."
    )
    async with aclosing(apps.assistant.answer("How long does delivery take?")) as events:
        async for event in events:
            if isinstance(event, Delta):
                break
    assert models.closed == 1


async def test_without_a_classifier_there_is_no_intent(apps: Applications) -> None:
    apps.assistant.settings = SupportSettings(intents=None)
    assert (await apps.assistant.ask("可以货到付款吗？")).intent is None


async def test_a_search_that_fails_is_an_error_and_not_a_refusal(apps: Applications) -> None:
    async def broken(_query: str, _k: int) -> list[Hit]:
        raise DataError("the index is gone; make one with `tulou run`")

    apps.assistant.search = broken
    with pytest.raises(DataError, match="the index is gone"):
        await apps.assistant.ask("可以货到付款吗？")


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("It costs 3.5 yuan. You can\nreturn it! ok", ["It costs 3.5 yuan.", "You can", "return it!", "ok"]),
        ("您好。运费 3.5 元；满 68 元免。好", ["您好。", "运费 3.5 元；满 68 元免。", "好"]),
        ("", []),
    ],
)
async def test_sentences_are_told_while_they_stream(text: str, sentences: list[str]) -> None:
    async def chat() -> AsyncIterator[ChatDelta]:
        for character in text:
            yield ChatDelta(character)

    assert [each async for each in sentences_of(chat())] == sentences


async def test_every_document_found_is_told_best_first(apps: Applications, shop: Bookshop) -> None:
    answer = await apps.assistant.ask("可以货到付款吗？")
    assert answer.found[0] == shop.hits("可以货到付款吗？")[0].passage.uri
    assert len(answer.found) == len(set(answer.found)) > 1
