"""A place for each request that a model answers, or a wait for one: the queue of `policy.shedding` on the event loop.

Nearly always there is a place, and taking it costs a microsecond. A request that waits wakes when one is free; it is
refused when the queue is full, when it has waited long enough, or for the sake of one with a higher priority.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tulou.core.service_settings import QueueSettings
from tulou.service.gateway import refusals
from tulou.service.gateway.policy.shedding import Shedder, Ticket

Leave = Callable[[], None]


class Places:
    """By model, so that one that is overrun does not keep requests from the others."""

    def __init__(self, settings: QueueSettings, shed: Callable[[str], None] = lambda _model: None) -> None:
        self._settings = settings
        self._shedders: dict[str, Shedder] = {}
        self._shed = shed  # is told the model of each request refused

    def take(self, model: str, priority: int = 0) -> Leave | Awaitable[Leave]:
        """What to call when the request has ended. Raises `ApiError` 429, at once or when awaited."""
        shedder = self._shedders.get(model)
        if shedder is None:
            shedder = self._shedders[model] = Shedder(
                self._settings.max_in_flight, self._settings.max_waiting, self._settings.max_wait_s
            )
        if shedder.enter():
            return shedder.leave
        ticket = shedder.arrive(priority)
        if ticket.state == "refused":
            raise self._refusal(model, shedder)
        return self._waited(model, shedder, ticket)

    def waiting(self) -> dict[str, int]:
        """How many requests wait, by model; models that nobody waits for are left out."""
        return {model: shedder.waiting for model, shedder in self._shedders.items() if shedder.waiting}

    async def _waited(self, model: str, shedder: Shedder, ticket: Ticket) -> Leave:
        settled = asyncio.get_running_loop().create_future()
        ticket.on_settled = lambda: None if settled.done() else settled.set_result(None)
        try:
            async with asyncio.timeout(shedder.max_wait_s):
                await settled
        except TimeoutError:
            pass
        except asyncio.CancelledError:  # the client has left
            if ticket.state == "admitted":
                shedder.leave()
            raise
        finally:
            shedder.give_up(ticket)
        if ticket.state != "admitted":
            raise self._refusal(model, shedder)
        return shedder.leave

    def _refusal(self, model: str, shedder: Shedder) -> refusals.ApiError:
        self._shed(model)
        return refusals.overloaded(model, shedder.in_flight, shedder.retry_after_s())
