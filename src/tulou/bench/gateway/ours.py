"""Our gateway in a process of its own, before servers that someone else runs: key check, accounting, metrics, retries.

python -m tulou.bench.gateway.ours --folder DIR --port PORT --upstream MODEL=URL [--upstream ...]
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from tulou.core.service_settings import PriceSettings, ServiceSettings
from tulou.core.state import open_state
from tulou.core.telemetry import Metrics
from tulou.core.types import ModelManifest
from tulou.service.gateway.app import build_gateway
from tulou.service.gateway.keys import Keys
from tulou.service.gateway.server import claim_port, serve
from tulou.service.gateway.switchboard import Switchboard
from tulou.service.pool import Endpoint, FixedPool

# Which no load uses up, so that all of them are counted.
BUDGETS = {"requests/minute": 1e9, "tokens/minute": 1e12, "tokens/day": 1e13, "money/month": 1e9}


def make_key(folder: Path) -> str:
    """A key for the load, in the state database that the gateway will open."""
    _, secret = Keys(open_state("sqlite:///state.db", folder)).create("load", "app", budgets=BUDGETS)
    return secret


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", action="append", default=[], help="MODEL=URL")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    urls = dict(each.split("=", 1) for each in args.upstream)
    prices = dict.fromkeys(urls, PriceSettings(prompt=1.0, completion=4.0))
    settings = ServiceSettings(listen=f"127.0.0.1:{args.port}", prices=prices)
    state = open_state("sqlite:///state.db", args.folder)
    pool = FixedPool({model: [Endpoint(f"{model}-0", model, url)] for model, url in urls.items()})
    manifests = {model: ModelManifest(model, "chat", "remote", "none", "bench", "") for model in urls}
    switchboard = Switchboard(settings, pool, state, Metrics(), manifests)
    serve(build_gateway(settings, switchboard, Keys(state)), claim_port(settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
