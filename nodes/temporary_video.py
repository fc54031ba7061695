"""Videos in the temp folder: once nobody holds one it may go, the oldest first.

Not at once, since a page may still show it, and the newest not at all; but a server that makes
hundreds of videos, each saved elsewhere, must not keep them all until it is started anew.
"""

from __future__ import annotations

import weakref
from collections import deque
from contextlib import suppress
from pathlib import Path

KEEP_BYTES = 10 * 2**30  # of those that nobody holds


class TemporaryVideo(str):
    """The path of a file that is held by whoever holds this: a VIDEO, and what is made of its
    `get_stream_source()`, such as a part of it."""

    def __new__(cls, path: Path) -> TemporaryVideo:
        held = super().__new__(cls, path)
        weakref.finalize(held, _let_go, path).atexit = False  # the host clears the folder
        return held


_left: deque[Path] = deque()  # those that nobody holds, oldest first


def _let_go(path: Path) -> None:
    _left.append(path)
    while len(_left) > 1 and sum(map(_size, tuple(_left))) > KEEP_BYTES:
        with suppress(IndexError, OSError):  # deleted meanwhile, or open on Windows
            _left.popleft().unlink()


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
