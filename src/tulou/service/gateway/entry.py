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


class Row(Struct, gc=False):
    """One request in the accounts, in the order of the table's columns. A struct of C: every request makes one."""

    id: str
    at: float  # of its end, seconds since the epoch
    key_id: str | None
    route: str  # "/v1/chat/completions", or the application's name
    model: str
    model_version: str
    replica: str = ""
    status: int = 200
    latency_ms: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    variant: str = ""  # "shadow", or one of the above; else ""
    is_cached: bool = False  # answered without a replica, and free of charge
    first_token_ms: float | None = None
    money: float = 0.0  # by [service.prices]; known at the end


COLUMNS = Row.__struct_fields__


class Entry(Row, eq=False, gc=False):
    """A row that is filled while the request is on its way, and what is known besides until it ends."""

    started: float = 0.0  # monotonic
    retries: int = 0
    events: int = 0  # of a stream so far
    clock: Callable[[], float] = field(default=time.monotonic)

    def saw_first_token(self) -> None:
        if self.first_token_ms is None:
            self.first_token_ms = milliseconds(self.clock() - self.started)


def milliseconds(seconds: float) -> float:
    """To the microsecond; `round` would take three times as long."""
    return int(seconds * 1e6 + 0.5) / 1e3
