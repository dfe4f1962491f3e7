"""The `tulou` command: one verb per chore, `--json` everywhere, exit code 0 only on success.

Verbs import what they need when they run, so that `tulou --help` answers at once.
"""

from __future__ import annotations

import atexit
import gc
import sys

from tulou.cli import bench as _bench
from tulou.cli import bench_models as _bench_models
from tulou.cli import bench_service as _bench_service
from tulou.cli import keys as _keys
from tulou.cli import models as _models
from tulou.cli import plan as _plan
from tulou.cli import project as _project
from tulou.cli import rollout as _rollout
from tulou.cli import service as _service
from tulou.cli.app import app
from tulou.cli.machine import machine_said
from tulou.cli.output import fail
from tulou.core.errors import TulouError

__all__ = ["app", "main"]

INTERRUPTED = 130  # what Typer makes of Ctrl-C, without a word

_VERBS = (_project, _plan, _service, _keys, _models, _rollout, _bench, _bench_models, _bench_service)


def main() -> None:
    """Entry point: what we or the machine can explain is one sentence; Ctrl-C and a closed pipe are no errors."""
    atexit.register(gc.freeze)  # or the collector looks through all there is once more, which takes a tenth of a second
    try:
        app(prog_name="tulou")
    except TulouError as err:
        fail(err, as_json="--json" in sys.argv)
        sys.exit(err.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    except Exception as err:
        told = machine_said(err)
        if told is None:
            raise
        fail(told, as_json="--json" in sys.argv)
        sys.exit(told.exit_code)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            sys.stderr.write("\nstopped; what was finished is kept\n")
        raise
