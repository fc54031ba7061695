"""Peak memory of a piece of work: by sampling, and on Linux by the kernel's own high-water mark."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

EVERY_S = 0.005


@dataclass(frozen=True)
class Peak:
    """Bytes resident in this process before the work, and the most during it."""

    before: int
    most: int


def peak_of(work: Callable[[], Any]) -> tuple[Any, Peak]:
    """Run `work` -> its result and its peak. Without a high-water mark, what lasts less than
    EVERY_S may be missed."""
    process, done = psutil.Process(), threading.Event()
    mark = _high_water()
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
    if _high_water() > mark:  # the mark was set by this work, not by what came before
        most = max(most, _high_water())
    return result, Peak(before, most)


def _high_water() -> int:
    """Most bytes ever resident in this process; 0 where the system does not say."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return 1024 * int(found[1]) if found else 0
