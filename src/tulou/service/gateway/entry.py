"""What is known of a request while it is being answered: who asked, which replica, how many tokens so far."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from msgspec import Struct, field

CLIENT_GONE = 499  # nginx's status for a client that closed the connection before the answer
FALLBACK = "fallback:"  # and the model that answered in place of the one asked for
INSTEAD = "instead:"  # and the version that was asked first and could not answer


@dataclass(frozen=True)
class Caller:
    """On whose behalf a model is asked."""

    route: str  # "/v1/chat/completions", or the application's name
    request_id: str
    key_id: str | None = None

    def numbered(self, index: int) -> Caller:
        """The same caller's further generation within one request."""
        return replace(self, request_id=f"{self.request_id}-{index}")


class Entry(Struct, eq=False, gc=False):
    """One line of the accounts, filled while the request is on its way. A struct of C, since every request makes one."""

    route: str  # "/v1/chat/completions", or the application's name
    request_id: str
    key_id: str | None
    model: str
    model_version: str
    started: float  # monotonic
    replica: str = ""
    retries: int = 0
    first_token_s: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    status: int = 200
    variant: str = ""  # "shadow", or one of the above; else ""
    is_cached: bool = False  # answered without a replica, and free of charge
    events: int = 0  # of a stream so far
    money: float = 0.0  # by [service.prices]; known at the end
    ended: float = 0.0  # monotonic
    clock: Callable[[], float] = field(default=time.monotonic)

    def saw_first_token(self) -> None:
        if self.first_token_s is None:
            self.first_token_s = self.clock() - self.started
