"""Out of memory: the same work cut smaller, until it fits or nothing smaller is left.

How work is cut changes its result by float rounding only, and each step down is said in the log. A
cancel is no lack of memory: nothing but `torch.OutOfMemoryError` is caught.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch

Rung = TypeVar("Rung")
Result = TypeVar("Result")


def climb_down(
    rungs: Iterable[Rung],
    work: Callable[[Rung], Result],
    name: str,
    remedy: str,
    told: Callable[[Rung], str] = str,
) -> Result:
    """`work` of the first of `rungs` that memory suffices for; `told` puts a rung into words.

    Raises RuntimeError with all that was tried, and the `remedy`, where none fits.
    """
    tried: list[str] = []
    for rung in rungs:
        if tried:
            logging.warning("AtlasVid: out of memory with %s; trying %s", tried[-1], told(rung))
        try:
            return work(rung)
        except torch.OutOfMemoryError:
            tried.append(told(rung))
    raise spent(name, tried, remedy)


def spent(name: str, tried: Iterable[str], remedy: str) -> RuntimeError:
    """The error for when the last rung has broken."""
    return RuntimeError(
        f"{name}: the device ran out of memory with every way to cut the work: "
        f"{'; '.join(tried)}. {remedy}"
    )
