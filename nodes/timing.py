"""How long a node took, in which parts, and its peak memory: sent to the page for its footer.

The figures go the way of every node's output for the page, so the job's history keeps them, and a
node that is not run again shows those of the run that made what it gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from time import perf_counter
from typing import Any

from comfy_api.latest import io

from . import host_page

KEY = "atlasvid_time"  # web/footer.js reads it


@dataclass
class Meter:
    """Seconds by part of one run of a node; a part within another one counts once."""

    seconds: dict[str, float] = field(default_factory=dict)
    within: list[float] = field(default_factory=list)  # by open part, seconds of parts inside
    stopped: Callable[[], None] | None = None  # told where the run ends before its end


_running: ContextVar[Meter | None] = ContextVar("atlasvid_meter", default=None)


@contextmanager
def part(name: str) -> Iterator[None]:
    """The block's time is a part of the node that runs now; without one, nothing is noted."""
    meter = _running.get()
    if meter is None:
        yield
        return
    meter.within.append(0.0)
    begun = perf_counter()
    try:
        yield
    finally:
        took = perf_counter() - begun
        own = took - meter.within.pop()
        meter.seconds[name] = meter.seconds.get(name, 0.0) + own
        if meter.within:
            meter.within[-1] += took


def when_stopped(call: Callable[[], None]) -> None:
    """`call`, in place of the one before, where the node that runs now is cancelled or fails."""
    meter = _running.get()
    if meter is not None:
        meter.stopped = call


def timed(execute: Callable[..., io.NodeOutput]) -> Callable[..., io.NodeOutput]:
    """A node's `execute` (below @classmethod), whose output also holds its footer."""

    @wraps(execute)
    def measured(cls, *args: Any, **kwargs: Any) -> io.NodeOutput:
        meter = Meter()
        token = _running.set(meter)
        begun = perf_counter()
        try:
            with host_page.PeakMemory() as peak:
                output = execute(cls, *args, **kwargs)
        except BaseException:  # on newer hosts a cancel is no Exception
            if meter.stopped is not None:
                meter.stopped()
            raise
        finally:
            _running.reset(token)
        output.ui = {**_as_dict(output.ui), KEY: [_footer(perf_counter() - begun, meter, peak)]}
        return output

    return measured


def _footer(seconds: float, meter: Meter, peak: host_page.PeakMemory) -> dict[str, Any]:
    parts = {name: round(took, 3) for name, took in meter.seconds.items()}
    return {
        "seconds": round(seconds, 3), "parts": parts, "peak_bytes": peak.bytes, "of": peak.of
    }  # fmt: skip


def _as_dict(ui: Any) -> dict[str, Any]:
    return {} if ui is None else ui if isinstance(ui, dict) else ui.as_dict()
