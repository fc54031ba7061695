"""Freed memory, given back to the system."""

from __future__ import annotations

import ctypes
from functools import lru_cache


@lru_cache(maxsize=1)
def _trim():
    """glibc's `malloc_trim`; None with other C libraries."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def give_back() -> None:
    """Let the system have the pages of freed tensors.

    glibc keeps blocks of up to 32 MB for later, in holes between what is still held: after a decode
    in tiles hundreds of MB. Elsewhere nothing happens.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
