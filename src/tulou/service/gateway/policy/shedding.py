"""How much is taken on at once, and who goes first when that is too much: a bounded queue by priority.

Up to so many requests are answered at once; the next wait in a queue, the higher priority first and within one the
older. A request that finds the queue full takes the place of the youngest of a lower priority, or is refused. Waiting
is bounded in number and in time; whoever is refused is told when to come back, from how fast the queue moves. Under
lasting load the lowest priority gets nothing, by design.

Sources: Google's Site Reliability Engineering (2016), chapter 21, for shedding by criticality; RFC 6585 and RFC 9110
for 429 and `retry-after`.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

LONGEST_RETRY_AFTER_S = 60
PACE_OVER_S = 5.0  # over which the queue's pace is taken

TicketState = Literal["admitted", "waiting", "refused", "left"]


@dataclass(eq=False, slots=True)
class Ticket:
    """One request's place. `on_settled` is called when it stops waiting: admitted, or refused for another's sake."""

    priority: int
    deadline: float
    state: TicketState
    on_settled: Callable[[], None] | None = None


class Shedder:
    def __init__(
        self,
        max_in_flight: int,
        max_waiting: int,
        max_wait_s: float,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_in_flight = max_in_flight
        self.max_waiting = max_waiting
        self.max_wait_s = max_wait_s
        self.in_flight = 0
        self.waiting = 0
        self._now = now
        self._queues: dict[int, deque[Ticket]] = {}  # by priority, oldest first
        self._ended: deque[float] = deque(maxlen=256)  # when the latest requests ended

    def enter(self) -> bool:
        """Take a place if one is free, without a ticket; whoever did must `leave`."""
        if self.in_flight < self.max_in_flight:
            self.in_flight += 1
            return True
        return False

    def arrive(self, priority: int = 0, on_settled: Callable[[], None] | None = None) -> Ticket:
        """Ask for a place. A ticket that is `admitted` must `leave`; one that is `waiting` may `give_up`."""
        ticket = Ticket(priority, self._now() + self.max_wait_s, "admitted", on_settled)
        if self.enter():
            return ticket
        if self.waiting >= self.max_waiting and not self._make_room(priority):
            ticket.state = "refused"
            return ticket
        ticket.state = "waiting"
        self._queues.setdefault(priority, deque()).append(ticket)
        self.waiting += 1
        return ticket

    def leave(self) -> None:
        """An admitted request has ended; the next one is admitted in its place."""
        now = self._now()
        self._ended.append(now)
        self.in_flight -= 1
        while self.waiting and self.in_flight < self.max_in_flight:
            ticket = self._next()
            if ticket.deadline < now:
                self._settle(ticket, "refused")
                continue
            self.in_flight += 1
            self._settle(ticket, "admitted")

    def give_up(self, ticket: Ticket) -> None:
        """Whoever waited has waited long enough, or has gone. No effect on a ticket that waits no longer."""
        if ticket.state != "waiting":
            return
        queue = self._queues[ticket.priority]
        queue.remove(ticket)
        if not queue:
            del self._queues[ticket.priority]
        self.waiting -= 1
        ticket.state = "left"

    def retry_after_s(self) -> int:
        """When a place is likely: as long as those who wait now will take at the present pace; at least a second."""
        now = self._now()
        recent = [at for at in self._ended if now - at <= PACE_OVER_S]
        if not recent:
            return 1
        a_second = len(recent) / max(now - recent[0], 0.1)
        return min(max(math.ceil((self.waiting + 1) / a_second), 1), LONGEST_RETRY_AFTER_S)

    def _make_room(self, priority: int) -> bool:
        """Refuse the youngest of the lowest priority if that is below `priority`."""
        if not self._queues:
            return False
        lowest = min(self._queues)
        if lowest >= priority:
            return False
        ticket = self._queues[lowest].pop()
        if not self._queues[lowest]:
            del self._queues[lowest]
        self.waiting -= 1
        self._settle(ticket, "refused")
        return True

    def _next(self) -> Ticket:
        highest = max(self._queues)
        ticket = self._queues[highest].popleft()
        if not self._queues[highest]:
            del self._queues[highest]
        self.waiting -= 1
        return ticket

    def _settle(self, ticket: Ticket, state: TicketState) -> None:
        ticket.state = state
        if ticket.on_settled is not None:
            ticket.on_settled()
