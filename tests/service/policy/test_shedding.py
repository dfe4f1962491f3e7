from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.service.policy.replicas import Clock

from tulou.service.gateway.policy.shedding import LONGEST_RETRY_AFTER_S, Shedder, Ticket


def test_the_next_waits_and_the_one_after_is_refused() -> None:
    shedder = Shedder(1, 1, 10, Clock())
    assert [shedder.arrive().state for _ in range(3)] == ["admitted", "waiting", "refused"]


def test_whoever_leaves_lets_the_oldest_of_the_highest_priority_in() -> None:
    shedder = Shedder(1, 10, 10, Clock())
    settled: list[str] = []
    shedder.arrive()
    for name, priority in (("low", 0), ("high", 5), ("higher later", 5), ("middle", 3)):
        shedder.arrive(priority, lambda name=name: settled.append(name))  # type: ignore[misc]
    for _ in range(4):
        shedder.leave()
    assert settled == ["high", "higher later", "middle", "low"]


def test_a_full_queue_gives_up_the_youngest_of_the_lowest_priority() -> None:
    shedder = Shedder(1, 2, 10, Clock())
    shedder.arrive()
    older, younger = shedder.arrive(0), shedder.arrive(0)
    assert shedder.arrive(0).state == "refused"
    assert shedder.arrive(1).state == "waiting"
    assert (older.state, younger.state) == ("waiting", "refused")


def test_whoever_waited_too_long_is_refused_when_its_turn_comes() -> None:
    clock = Clock()
    shedder = Shedder(1, 5, 2, clock)
    shedder.arrive()
    late = shedder.arrive()
    clock.now += 1
    fresh = shedder.arrive()
    clock.now += 1.5
    shedder.leave()
    assert (late.state, fresh.state) == ("refused", "admitted")


def test_one_that_left_the_queue_is_not_admitted() -> None:
    shedder = Shedder(1, 5, 10, Clock())
    shedder.arrive()
    gone, other = shedder.arrive(), shedder.arrive()
    shedder.give_up(gone)
    shedder.leave()
    assert (gone.state, other.state, shedder.in_flight, shedder.waiting) == ("left", "admitted", 1, 0)


def test_when_to_come_back_follows_the_queues_pace() -> None:
    clock = Clock()
    shedder = Shedder(2, 100, 10, clock)
    assert shedder.retry_after_s() == 1
    for _ in range(42):
        shedder.arrive()
    for _ in range(10):  # two a second
        clock.now += 0.5
        shedder.leave()
    assert shedder.retry_after_s() == 14  # 30 wait, and some 2.2 leave a second
    clock.now += 100
    assert shedder.retry_after_s() == 1  # nothing has ended for long: nobody knows


@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_when_to_come_back_is_never_far_and_never_at_once(waiting: int, pause: float) -> None:
    clock = Clock()
    shedder = Shedder(1, 10_000, 10, clock)
    shedder.arrive()
    shedder.waiting = waiting
    shedder._ended.append(clock.now)
    clock.now += pause
    assert 1 <= shedder.retry_after_s() <= LONGEST_RETRY_AFTER_S


class Traffic(RuleBasedStateMachine):
    """Whatever comes and goes in whatever order, nothing is lost, and no bound is passed."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.shedder = Shedder(3, 4, 5, self.clock)
        self.tickets: list[Ticket] = []

    @rule(priority=st.integers(0, 3))
    def arrive(self, priority: int) -> None:
        self.tickets.append(self.shedder.arrive(priority))

    @precondition(lambda self: any(ticket.state == "admitted" for ticket in self.tickets))
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        admitted = [ticket for ticket in self.tickets if ticket.state == "admitted"]
        ticket = data.draw(st.sampled_from(admitted))
        waiting = [each for each in self.tickets if each.state == "waiting" and each.deadline >= self.clock.now]
        ticket.state = "left"
        self.shedder.leave()
        if waiting:
            first = max(waiting, key=lambda each: (each.priority, -self.tickets.index(each)))
            assert first.state == "admitted"

    @precondition(lambda self: self.tickets)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        self.shedder.give_up(data.draw(st.sampled_from(self.tickets)))

    @rule(seconds=st.floats(0, 4))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @invariant()
    def counts_hold(self) -> None:
        states = [ticket.state for ticket in self.tickets]
        assert self.shedder.in_flight == states.count("admitted") <= 3
        assert self.shedder.waiting == states.count("waiting") <= 4
        assert self.shedder.in_flight == 3 or self.shedder.waiting == 0


TestTraffic = Traffic.TestCase
