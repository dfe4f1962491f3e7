"""Copies of requests for a version that is tried out: its answers are accounted for and thrown away.

A copy leaves when the request does, in a task of its own, so nobody waits for it; it is not cancelled when the client
leaves, because its latency is what is wanted. At most so many are under way at once; beyond, requests get no copy.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from msgspec.structs import replace

from tulou.service.gateway import answers, refusals
from tulou.service.gateway.accounting import SHADOW, Accountant
from tulou.service.gateway.dispatch import Ask, Dispatch
from tulou.service.gateway.upstream import Whole

MAX_UNDER_WAY = 64  # for each process of the gateway: what is tried out must not use up what serves

logger = logging.getLogger(__name__)


class Shadows:
    def __init__(self, dispatch: Dispatch, accountant: Accountant) -> None:
        self._dispatch = dispatch
        self._accountant = accountant
        self._under_way: set[asyncio.Task[None]] = set()

    def send(self, ask: Ask, version: str) -> None:
        """Ask `version` the same, beside."""
        if len(self._under_way) < MAX_UNDER_WAY:
            task = asyncio.create_task(self._ask(ask, version))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def stop(self) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _ask(self, ask: Ask, version: str) -> None:
        request_id = f"{ask.entry.id}-shadow"
        try:
            with self._accountant.entry(SHADOW, request_id, None, ask.model, version) as entry:
                entry.variant = SHADOW
                answer = await self._dispatch.ask_once(replace(ask, entry=entry, versions=(version,)))
                if isinstance(answer, Whole):
                    entry.status = answer.status
                    return
                async with aclosing(answer):
                    async for events in answer:
                        entry.saw_first_token()
                        usage, _ = answers.read_usage(events, hide=False)
                        if usage is not None:
                            entry.prompt_tokens, entry.completion_tokens = usage.prompt_tokens, usage.completion_tokens
        except refusals.ApiError as err:
            logger.info("a copy of request %s got no answer of version %s: %s", ask.entry.id, version, err)
