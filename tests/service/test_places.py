from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tulou.core.service_settings import QueueSettings
from tulou.service.gateway.places import Leave, Places
from tulou.service.gateway.refusals import ApiError


def places(**settings: float) -> tuple[Places, list[str]]:
    shed: list[str] = []
    return Places(QueueSettings(**settings), shed.append), shed


def taken(found: Leave | Awaitable[Leave]) -> Leave:
    assert callable(found)
    return found


def waiting(found: Leave | Awaitable[Leave]) -> asyncio.Task[Callable[[], None]]:
    assert not callable(found)
    return asyncio.ensure_future(found)


async def test_a_place_is_had_at_once_and_the_next_is_waited_for() -> None:
    some, _ = places(max_in_flight=1, max_waiting=1)
    leave = taken(some.take("m"))
    later = waiting(some.take("m"))
    await asyncio.sleep(0)
    with pytest.raises(ApiError, match="no place for more") as caught:
        some.take("m")
    assert (caught.value.status, caught.value.headers) == (429, {"retry-after": "1"})
    taken(some.take("other"))  # models do not keep one another out
    leave()
    (await later)()
    taken(some.take("m"))


async def test_the_higher_priority_goes_first_and_takes_the_place_of_the_lowest() -> None:
    some, shed = places(max_in_flight=1, max_waiting=2)
    leave = taken(some.take("m"))
    low, high = waiting(some.take("m", -1)), waiting(some.take("m", 1))
    await asyncio.sleep(0)
    higher = waiting(some.take("m", 2))
    with pytest.raises(ApiError):
        await low
    assert shed == ["m"]
    leave()
    second = await higher
    assert not high.done()
    second()
    await high


async def test_who_leaves_the_queue_keeps_nobody_out() -> None:
    some, shed = places(max_in_flight=1, max_waiting=5, max_wait_s=5)
    leave = taken(some.take("m"))
    gone, other = waiting(some.take("m")), waiting(some.take("m"))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    leave()
    (await other)()
    assert shed == []
    taken(some.take("m"))


async def test_a_place_given_to_someone_who_left_at_that_moment_is_passed_on() -> None:
    some, _ = places(max_in_flight=1, max_waiting=5)
    leave = taken(some.take("m"))
    gone = waiting(some.take("m"))
    await asyncio.sleep(0)
    leave()  # it has the place now, and does not know yet
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    taken(some.take("m"))


async def test_waiting_ends_when_it_has_been_long_enough() -> None:
    some, shed = places(max_in_flight=1, max_waiting=5, max_wait_s=0.05)
    leave = taken(some.take("m"))
    with pytest.raises(ApiError):
        await waiting(some.take("m"))
    assert shed == ["m"]
    leave()
    taken(some.take("m"))


async def test_those_who_wait_are_told_by_model() -> None:
    some, _ = places(max_in_flight=1, max_waiting=2)
    leave = taken(some.take("m"))
    assert some.waiting() == {}
    later = waiting(some.take("m"))
    assert some.waiting() == {"m": 1}
    leave()
    (await later)()
    assert some.waiting() == {}
