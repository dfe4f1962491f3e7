"""From tokens to text, a piece at a time: never half a character, never a stop string or the beginning of one.

Pure, and shared by the engines that generate. Decoding starts anew a few tokens back each time, because the text of a
token depends on its neighbours; the cost stays the same however long the answer is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from tulou.core.types import TokenScore

_HALF = "\ufffd"  # what a decoder writes for bytes that are not yet a whole character


class Detokenizer:
    """Turns a growing list of token ids into the text that each addition brings."""

    def __init__(self, decode: Callable[[list[int]], str], before: Sequence[int] = ()) -> None:
        """`before`: ids that the text goes on from; some vocabularies drop the first space unless they see them."""
        self._decode = decode
        self._ids = list(before)
        self._start = 0  # first id that is decoded anew, as context
        self._told = len(before)  # ids before this one have been turned into text
        self.count = 0  # of the ids pushed

    def push(self, ids: Sequence[int], is_last: bool = False) -> str:
        """The text that `ids` add; "" while they end in the middle of a character, unless they are the last."""
        self._ids.extend(ids)
        self.count += len(ids)
        before = self._decode(self._ids[self._start : self._told])
        now = self._decode(self._ids[self._start :])
        if now.endswith(_HALF) and not is_last:
            return ""
        self._start, self._told = self._told, len(self._ids)
        return now[len(before) :]


class StopFilter:
    """Lets text through up to the first stop string, holding back what may become one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.is_stopped = False

    @property
    def may_stop(self) -> bool:
        return bool(self._stops)

    def push(self, text: str, is_last: bool = False) -> str:
        """The text that may be shown now; sets `is_stopped` when a stop string was met."""
        if self.is_stopped:
            return ""
        self._held += text
        found = [position for stop in self._stops if (position := self._held.find(stop)) >= 0]
        if found:
            self.is_stopped = True
            shown, self._held = self._held[: min(found)], ""
            return shown
        keep = 0 if is_last else self._longest_beginning()
        shown, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return shown

    def _longest_beginning(self) -> int:
        """Length of the longest end of the held text with which a stop string begins."""
        longest = max((len(stop) for stop in self._stops), default=1) - 1
        for length in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-length:]) for stop in self._stops):
                return length
        return 0


class Scores:
    """Hands the scores of tokens out with the text they belong to, although text is held back and may be cut."""

    def __init__(self) -> None:
        self._waiting: deque[TokenScore] = deque()
        self._shown_chars = 0
        self._scored_chars = 0

    def push(self, scores: Sequence[TokenScore]) -> None:
        self._waiting.extend(scores)

    def take(self, shown: str, is_whole: bool = False) -> tuple[TokenScore, ...]:
        """The scores of tokens that begin within what is shown by now, `shown` included; if `is_whole`, all left."""
        self._shown_chars += len(shown)
        taken = []
        while self._waiting and (is_whole or self._scored_chars < self._shown_chars):
            taken.append(self._waiting.popleft())
            self._scored_chars += len(taken[-1].text)
        return tuple(taken)
