"""Peak memory of a piece of work, by sampling: the same on Linux, macOS and Windows."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil

EVERY_S = 0.005


@dataclass(frozen=True)
class Peak:
    """Bytes resident in this process before the work, and the most during it."""

    before: int
    most: int


def peak_of(work: Callable[[], Any]) -> tuple[Any, Peak]:
    """Run `work` -> its result and its peak. What lasts less than EVERY_S may be missed."""
    process, done = psutil.Process(), threading.Event()
    before = most = process.memory_info().rss

    def sample() -> None:
        nonlocal most
        while not done.wait(EVERY_S):
            most = max(most, process.memory_info().rss)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        result = work()
    finally:
        most = max(most, process.memory_info().rss)
        done.set()
        sampler.join()
    return result, Peak(before, most)
