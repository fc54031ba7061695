"""Times that can be compared: interleaved runs, so that a slow minute meets every competitor."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

Key = TypeVar("Key")


def interleaved(
    works: Mapping[Key, Callable[[], object]], repeats: int | Mapping[Key, int], warm: bool = True
) -> dict[Key, list[float]]:
    """Seconds of every run of every work, in rounds; with `warm` one uncounted run each before.

    `repeats` is the same for all, or by key: then a work drops out of later rounds.
    """
    counts = {key: repeats if isinstance(repeats, int) else repeats[key] for key in works}
    if warm:
        for work in works.values():
            work()
    taken: dict[Key, list[float]] = {key: [] for key in works}
    for turn in range(max(counts.values())):
        for key, work in works.items():
            if turn < counts[key]:
                began = time.perf_counter()
                work()
                taken[key].append(time.perf_counter() - began)
    return taken


def log_slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Least-squares slope of log y against log x: 1 where y is proportional to x."""
    a, b = [math.log(v) for v in x], [math.log(v) for v in y]
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    spread = sum((v - mean_a) ** 2 for v in a)
    return sum((v - mean_a) * (w - mean_b) for v, w in zip(a, b, strict=True)) / spread
