"""What `tulou.toml` says about the service: where it listens, whom it asks, and how versions come to serve."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from tulou.core.fleet_settings import RemoteSettings, ReplicaSettings
from tulou.core.section import Section

Balance = Literal["round_robin", "least_connections", "peak_ewma", "prefix_affinity"]


class CacheSettings(Section):
    """[service.cache]: answers given before, for exactly the same question by the same key."""

    enabled: bool = False
    max_bytes: int = Field(64 << 20, gt=0)
    max_age_s: float = Field(3600.0, gt=0)


class BreakerSettings(Section):
    """[service.breaker]: when a replica that fails is left alone."""

    failures: int = Field(5, ge=1)  # in a row
    ejection_s: float = Field(1.0, gt=0)  # the first time; doubled each further time, up to a minute
    max_ejected_share: float = Field(0.7, ge=0, le=1)  # of a model's replicas
    slow_return_s: float = Field(10.0, ge=0)  # over which one that answers again gets its whole share


class RetrySettings(Section):
    """[service.retries]: attempts at other replicas, before the first word was sent."""

    attempts: int = Field(4, ge=1)  # of one request, the first included
    budget: float = Field(0.2, ge=0)  # retries within ten seconds, as a share of the requests; besides, ten a second


class QueueSettings(Section):
    """[service.queue]: how much is taken on at once, for one model in one process of the gateway."""

    max_in_flight: int = Field(512, ge=1)
    max_waiting: int = Field(1024, ge=0)
    max_wait_s: float = Field(10.0, gt=0)


class PriceSettings(Section):
    """[service.prices.MODEL]: what a million tokens cost, in the currency of [budget]."""

    prompt: float = Field(0.0, ge=0)
    completion: float = Field(0.0, ge=0)


class ServiceSettings(Section):
    listen: str = "127.0.0.1:8000"
    balance: Balance = "least_connections"
    replicas: ReplicaSettings = ReplicaSettings()
    threads: int = Field(0, ge=0)  # that each replica computes on; 0: its share of the cores
    pin_cores: bool = True  # keep each replica on cores of its own, where there are enough
    drain_s: float = Field(30.0, gt=0)  # to finish answers: of a replica not wanted any more, of all after SIGTERM
    workers: int = Field(1, ge=1)  # gateway processes that share the port
    endpoints: dict[str, tuple[str, ...]] = Field(
        default_factory=dict
    )  # of `tulou serve gateway`: URLs of the replicas of each model, which run elsewhere
    remote: dict[str, RemoteSettings] = Field(default_factory=dict)  # [service.remote.NAME]
    timeout_s: float = Field(60.0, gt=0)  # for one whole request
    first_byte_s: float = Field(
        30.0, gt=0
    )  # for a replica to begin a stream or finish a whole answer; then another one
    idle_s: float = Field(30.0, gt=0)  # between two events of a stream; then another replica goes on
    max_body_bytes: int = Field(4 << 20, gt=0)
    fallback: dict[str, str] = Field(default_factory=dict)  # who answers where a model cannot: {assistant = "small"}
    queue: QueueSettings = QueueSettings()
    retries: RetrySettings = RetrySettings()
    breaker: BreakerSettings = BreakerSettings()
    cache: CacheSettings = CacheSettings()
    limits: str = "memory://"  # where keys' use is counted; redis://HOST:PORT/N where several gateways share it
    prices: dict[str, PriceSettings] = Field(default_factory=dict)  # by model
    keep_requests_days: int = Field(30, ge=0)  # rows of single requests; 0: for ever. Sums by day always stay

    @field_validator("limits")
    @classmethod
    def _counters_we_have(cls, value: str) -> str:
        if value != "memory://" and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("choose memory://, redis://HOST:PORT/N, rediss://HOST:PORT/N or unix://SOCKET?db=N")
        return value

    @field_validator("listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdigit() or not 0 <= int(port) < 65536:
            raise ValueError(f"{value!r} is not HOST:PORT, such as 127.0.0.1:8000")
        return value

    @property
    def host(self) -> str:
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        return int(self.listen.rpartition(":")[2])


class RolloutSettings(Section):
    """[rollout]: how a new version comes to serve."""

    steps: tuple[float, ...] = (0.05, 0.25, 0.5, 1.0)  # shares of the requests; the last one is to serve alone
    min_success_rate: float = Field(0.99, ge=0, le=1)
    max_p99_ms: float = Field(1500, gt=0)
    min_requests: int = Field(100, ge=1)  # that a version must have answered at a step to be judged
    sticky: Literal["conversation", "key", "none"] = "conversation"  # what stays with one version
    keys: tuple[str, ...] = ()  # ids of keys that always get the challenger
    keep_s: float = Field(300.0, ge=0)  # that replicas of a version which serves no longer run on, to return at once

    @field_validator("steps")
    @classmethod
    def _steps_that_rise_to_the_whole(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not value or list(value) != sorted(set(value)) or not 0 < value[0] <= value[-1] == 1:
            raise ValueError("steps must rise from above 0 and end with 1.0, such as [0.05, 0.25, 0.5, 1.0]")
        return value
