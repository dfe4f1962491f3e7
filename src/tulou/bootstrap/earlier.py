"""What an earlier run tells of a stage that cannot be tried yet, and how far it may be believed.

Its time is that of other work where settings that cost were others, of the stage or of what it is fed by, or where the
data were. A search for compression is scaled by its candidates and by those that are trained again; all else is told
as it was, and said to be of other work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tulou.core.settings import ModelSettings
from tulou.core.stage import MANIFEST, Planned, StageResult, code_digest, read_json
from tulou.model.budget import Prediction, Search

OTHER_SETTINGS, OTHER_DATA = "other settings", "other data"
# They change what comes out, not what it takes.
FREE = {"seed", "learning_rate", "max_accuracy_loss", "tolerance", "checkpoint_steps"}
# They cost the stage that has them, and nothing after it.
OWN = {"epochs", "batch_size", "accumulate", "gradient_checkpointing", "patience", "packing", "workers", "sharding"} | {
    *("canaries", "recovery_epochs", "max_minutes", "tokens"),
}


@dataclass(frozen=True)
class Earlier:
    """The stages as they will run, and as they ran last."""

    todo: Mapping[str, Planned]
    results: Mapping[str, StageResult]

    def difference(self, name: str) -> str | None:
        """Why the last run of stage `name` tells little of the next."""
        ways = [self._change(name, FREE), *(self._change(each, FREE | OWN) for each in self._before(name))]
        return next((way for way in (OTHER_SETTINGS, OTHER_DATA) if way in ways), None)

    def search(self, name: str, model: ModelSettings) -> Search:
        """The last run of the compression `name`, as its manifest has it."""
        return Search.of(self._manifest(name)["settings"], model.task)

    def _before(self, name: str) -> set[str]:
        inputs = self.todo[name].stage.inputs
        return set(inputs).union(*(self._before(each) for each in inputs))

    def _change(self, name: str, without: set[str]) -> str | None:
        planned, done = self.todo[name], self.results.get(name)
        if done is None:
            return OTHER_SETTINGS  # it is new
        manifest = self._manifest(name)
        before, now = manifest["settings"], json.loads(json.dumps(planned.stage.settings, default=str))
        if _less(before, without) != _less(now, without) or set(manifest["inputs"]) != set(planned.stage.inputs):
            return OTHER_SETTINGS
        is_fed_the_same = manifest["inputs"] == {each: self.todo[each].fingerprint for each in planned.stage.inputs}
        is_same_code = manifest["code"] == {module: code_digest(module) for module in planned.stage.code}
        is_same = done.fingerprint == planned.fingerprint or before != now
        return None if is_same or not (is_fed_the_same and is_same_code) else OTHER_DATA

    def _manifest(self, name: str) -> Any:
        return read_json(self.results[name].path / MANIFEST)


def scaled(was: Prediction, done: Search, search: Search, epoch_s: float | None) -> Prediction:
    """A search as another one tells it, `was`; without `epoch_s`, what training again takes is not counted."""
    if was.seconds is None or search == done:
        return was
    seconds = search.scaled(was.seconds, done, epoch_s or 0.0)
    words = [f"scaled to {search.candidates - 1} candidates"]
    if search.shapes:
        words.append(f"{search.shapes} trained again" + ("" if epoch_s else ", not counted"))
    caution = "; ".join([", ".join(words), *([was.caution] if was.caution not in (None, OTHER_SETTINGS) else [])])
    money = None if was.money is None or not was.seconds else was.money * seconds / was.seconds
    return replace(was, seconds=seconds, money=money, caution=caution)


def _less(settings: Any, names: set[str]) -> Any:
    if not isinstance(settings, dict):
        return settings
    return {key: _less(value, names) for key, value in settings.items() if key not in names}
