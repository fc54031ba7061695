"""How far a phase of work is and how long it will take: on the node, and in the log.

A phase is told of each part that is done. It moves the node's bar, writes what is left of it on the
node once it has lasted a moment, and says so in the log now and then, for those without a page.
What is shown, and what ends a cancelled job, is injected: `host_progress` has the host's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TEXT_AFTER_S, TEXT_EVERY_S = 1.0, 1.0
BAR_EVERY_S = 0.1
LOG_EVERY_S = 30.0
STEP = 100  # parts of the bar in a step


@dataclass(frozen=True)
class Shown:
    """Where progress goes. `check` raises where the job was cancelled."""

    check: Callable[[], None]
    bar: Callable[[int, int, Any], None]  # done, total, a preview or None
    text: Callable[[str], None]


def silent() -> Shown:
    return Shown(lambda: None, lambda done, total, preview: None, lambda text: None)


@dataclass
class Phase:
    """`total` parts of work. Call it once a part, whatever the arguments; or `reach` any place.

    The time left follows from the parts since the first report, so that neither loading nor
    compiling before it, nor parts kept from an earlier job, count.
    """

    name: str
    total: int
    shown: Shown
    clock: Callable[[], float] = time.monotonic
    done: float = 0
    _note: str = field(default="", init=False)
    _begun: float = field(init=False)
    _first: tuple[float, float] | None = field(default=None, init=False)  # time, done
    _last: dict[str, float] = field(default_factory=dict, init=False)  # when each was last shown

    def __post_init__(self) -> None:
        self._begun = self.clock()
        self._last["log"] = self._begun

    def __call__(self, *_: object) -> None:
        self.reach(self.done + 1)

    def reach(self, done: float, note: str = "", preview: Any = None) -> None:
        """`done` parts are; `note` says more of where that is. Raises what `check` raises."""
        self._note = note
        try:
            self.shown.check()
        except BaseException:  # on newer hosts a cancel is no Exception
            self.stop()
            raise
        now, self.done = self.clock(), min(max(self.done, done), self.total)
        if self._first is None:
            self._first = now, self.done
        over = self.done >= self.total
        if preview is not None or over or self._due("bar", now, BAR_EVERY_S):
            self.shown.bar(int(self.done), self.total, preview)
        if over:
            self._end(now)
        elif now - self._begun >= TEXT_AFTER_S and self._due("text", now, TEXT_EVERY_S):
            self.shown.text(self.line(now, note))
        if not over and self._due("log", now, LOG_EVERY_S):
            logging.info("AtlasVid: %s", self.line(now, note))

    def stop(self) -> None:
        """The work ended here: no time left of what has ended stays behind."""
        if "text" in self._last and self.done < self.total:
            at = [self._note, f"{int(100 * self.done / self.total)} %"]
            self.shown.text(f"{self.name}: stopped at {', '.join(filter(None, at))}")

    def left_s(self, now: float) -> float | None:
        """Seconds until the end at the pace so far; None before two reports tell a pace."""
        began, before = self._first or (now, self.done)
        if self.done <= before or now <= began:
            return None
        return (self.total - self.done) * (now - began) / (self.done - before)

    def line(self, now: float, note: str = "") -> str:
        """Such as "Denoising: step 3 of 30, 8 %, 12 min left"."""
        left = self.left_s(now)
        parts = [note, f"{int(100 * self.done / self.total)} %"]
        parts.append("" if left is None else f"{duration(left)} left")
        return f"{self.name}: {', '.join(part for part in parts if part)}"

    def _due(self, what: str, now: float, every_s: float) -> bool:
        if now - self._last.get(what, -every_s) < every_s:
            return False
        self._last[what] = now
        return True

    def _end(self, now: float) -> None:
        took = now - self._begun
        if "text" in self._last:  # no line about what is left stays behind
            self.shown.text(f"{self.name}: {duration(took)}")
        if took >= LOG_EVERY_S:
            logging.info("AtlasVid: %s took %s", self.name, duration(took))


@dataclass
class Steps:
    """A sampler's steps, and the model's way through each.

    A step may take several forwards (guidance, solvers of a higher order). How many, the step
    before tells; in the first one the bar waits where it expected one and there are more.
    """

    phase: Phase
    steps: int
    step: int = 0  # finished
    _forwards: int = field(default=0, init=False)  # finished in this step
    _usual: int = field(default=1, init=False)

    def inside(self, done: int, total: int) -> None:
        """`done` of `total` parts of one forward."""
        usual = max(self._usual, self._forwards + 1)
        part = min((self._forwards + done / total) / usual, 0.99)
        self._forwards += done == total
        self._reach(self.step + part, self.step + 1)

    def finished(self, step: int, preview: Any = None) -> None:
        """After step number `step`, counted from 1."""
        self._usual, self._forwards, self.step = max(1, self._forwards), 0, step
        self._reach(step, min(step + 1, self.steps), preview)

    def _reach(self, steps: float, now_at: int, preview: Any = None) -> None:
        done = steps * self.phase.total / self.steps
        self.phase.reach(done, f"step {now_at} of {self.steps}", preview)


def duration(seconds: float) -> str:
    """Such as "8 s", "12 min", "3 h 20 min": as fine as an estimate is good for."""
    minutes = round(seconds / 60)
    if seconds < 99.5:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02} min"
