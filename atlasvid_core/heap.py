"""What a process on a CPU holds beyond its tensors: freed memory, which can be given back.

glibc keeps freed blocks of up to 32 MB for later. Layers of a VAE want ever larger ones on their
way up, so that holes stay between what is held, and the process holds them, too. With every block
in a mapping of its own (MALLOC_MMAP_THRESHOLD_=65536) it holds what its tensors take, to 3 % (an
encode to 10 %), at twice the processor time.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache

HOLES = {"frames": 0.7, "tiles": 1.3}  # by order of work, of the tensors' bytes: `bench held`
HEAP_BYTES = 2**28  # tensors of more than that are mostly blocks that glibc maps by themselves


def held_bytes(tensor_bytes: int, order: str) -> int:
    """What a process holds on a CPU where tensors take so much: an estimate, measured with glibc.
    From run to run the same work differs by a quarter."""
    return tensor_bytes + int(HOLES[order] * min(tensor_bytes, HEAP_BYTES))


@lru_cache(maxsize=1)
def _trim():
    """glibc's `malloc_trim`; None with other C libraries."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


def give_back() -> None:
    """Let the system have the pages of freed tensors.

    After a decode in tiles hundreds of MB. With other C libraries nothing happens.
    """
    trim = _trim()
    if trim is not None:
        trim(0)
