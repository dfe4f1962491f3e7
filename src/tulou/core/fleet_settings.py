"""What `tulou.toml` says about replicas: how many, how fast their number changes, and servers that are not ours."""

from __future__ import annotations

import re
import shlex
from typing import Literal

from pydantic import Field, field_validator, model_validator

from tulou.core.section import Section
from tulou.core.types import Task


class PolicySettings(Section):
    """At most so many replicas, or per cent of them, in each period."""

    kind: Literal["pods", "percent"] = "pods"
    value: int = Field(ge=1)
    period_s: float = Field(60, gt=0, le=1800)


class RulesSettings(Section):
    """[service.replicas.scale_up] and [service.replicas.scale_down]; what is not set is as in Kubernetes."""

    policies: tuple[PolicySettings, ...] = ()  # empty: those of Kubernetes
    select: Literal["max", "min", "disabled"] = "max"  # of several policies; disabled: never in this direction
    stabilization_s: float | None = Field(None, ge=0, le=3600)  # the mildest recommendation within it is followed
    tolerance: float | None = Field(None, ge=0)


class ReplicaSettings(Section):
    """[service.replicas], for each model."""

    min: int = Field(2, ge=1)
    max: int = Field(0, ge=0)  # 0: one for each core, and no fewer than min
    target_cpu: float = Field(0.7, ge=0, le=1)  # of the cores that a replica has; 0: not looked at
    target_in_flight: float = Field(0, ge=0)  # requests that a replica should be answering on average; 0: not looked at
    target_waiting: float = Field(0, ge=0)  # requests waiting for a replica, for each there is; 0: not looked at
    target_gpu: float = Field(0, ge=0, le=1)  # of all GPUs, as nvidia-smi says; 0: not looked at
    tolerance: float = Field(0.1, ge=0)  # from the target, within which nothing changes
    period_s: float = Field(15, gt=0)  # between two decisions
    scale_up: RulesSettings = RulesSettings()
    scale_down: RulesSettings = RulesSettings()

    @model_validator(mode="after")
    def _min_below_max(self) -> ReplicaSettings:
        if self.max and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self

    def most(self, cores: int) -> int:
        """The largest number of replicas on a machine with so many cores."""
        return self.max or max(self.min, cores)


class RemoteSettings(Section):
    """[service.remote.NAME]: a model that somebody else's server answers for, started by us or found at a URL."""

    command: str = ""  # started for each replica, without a shell; {port}, {model} and {name} are filled in
    url: str = ""  # or where it is already: http://HOST:PORT, or with the path before /v1
    model: str = ""  # what that server calls it; empty: NAME
    task: Task = "chat"
    labels: tuple[str, ...] = ()  # of a classifier, in its order
    dimensions: int = Field(0, ge=0)  # of an encoder's vectors
    max_tokens: int = Field(4096, ge=1)  # context length
    replicas: int = Field(1, ge=1)  # of the command, each on a port of its own
    ready: str = "/health"  # answers with 200 when the server can be asked
    api_key: str = ""  # sent as a bearer token; "${NAME}" from the environment
    env: dict[str, str] = Field(default_factory=dict)  # for the command; "${NAME}" from the environment
    start_timeout_s: float = Field(600, gt=0)  # a large model takes minutes to load

    @field_validator("command")
    @classmethod
    def _a_command_that_can_be_split(cls, value: str) -> str:
        try:
            shlex.split(value)
        except ValueError as err:
            raise ValueError(f"cannot be split into arguments: {err}") from None
        if value and "{port}" not in value:
            raise ValueError("must have {port} in it, where the server is told the port to listen on")
        return value

    @field_validator("url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value and not re.match(r"https?://[^/\s]+", value):
            raise ValueError("is not the http(s) URL of a server")
        return value.rstrip("/").removesuffix("/v1")

    @field_validator("ready")
    @classmethod
    def _path(cls, value: str) -> str:
        if not value.startswith("/"):
            raise ValueError("must be a path such as /health")
        return value

    @model_validator(mode="after")
    def _either_command_or_url(self) -> RemoteSettings:
        if bool(self.command) == bool(self.url):
            raise ValueError("needs either a command to start the server, or the url where it is")
        if self.task == "classify" and not self.labels:
            raise ValueError("task 'classify' needs labels")
        if self.task == "embed" and not self.dimensions:
            raise ValueError("task 'embed' needs dimensions")
        return self
