"""A gateway over echo replicas in a process of its own: what the tests talk to, kill and interrupt.

Prints one JSON line with its address and key once every replica is ready, and serves until it is interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from tulou.core.errors import TulouError
from tulou.core.manifest import write_manifest
from tulou.core.service_settings import PriceSettings, ServiceSettings
from tulou.core.state import open_state
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.fleet import Fleet, specs_for
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.server import address, claim_port, serve
from tulou.service.gateway.switchboard import Switchboard

MODELS = (
    ModelManifest("assistant", "chat", "echo", "fp32", "f1", "none", max_tokens=400, details={"token_delay_s": 0.02}),
    ModelManifest("intents", "classify", "echo", "fp32", "f2", "none", labels=("refund", "delivery", "invoice")),
    ModelManifest("encoder", "embed", "echo", "int8", "f3", "none", dimensions=32, version="7"),
    ModelManifest("reranker", "rerank", "echo", "fp32", "f4", "none"),
)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--state", default="sqlite:///state.db")
    parser.add_argument("--limits", default="memory://")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    for manifest in MODELS:
        write_manifest(args.folder / manifest.name, manifest)
    settings = ServiceSettings(
        listen=args.listen,
        max_body_bytes=100_000,
        limits=args.limits,
        prices={"assistant": PriceSettings(prompt=1.0, completion=2.0)},
    )
    try:
        listener = claim_port(settings)
    except TulouError as err:
        sys.stderr.write(f"{err}\n")
        return 1
    state = open_state(args.state, args.folder)
    keys = Keys(state)
    fleet = Fleet(specs_for({each.name: args.folder / each.name for each in MODELS}, 2), args.folder / "logs")
    switchboard = Switchboard(settings, fleet, state, Metrics(), {each.name: each for each in MODELS})
    facts = {"url": address(listener), **{role: keys.create("test", role)[1] for role in ("admin", "app", "viewer")}}

    async def tell() -> None:
        await fleet.wait_ready(30)
        sys.stdout.write(json.dumps(facts) + "\n")
        sys.stdout.flush()

    serve(build_gateway(settings, switchboard, keys), listener, tell, settings.drain_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())
