"""Files that are written beside their place and take its name when they are whole.

Processes may share a folder, and any may be killed: each half file has a name of its own.
"""

from __future__ import annotations

import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

DEAD_S = 3600.0  # where no lock tells, nobody writes to a dead process's half file for so long
HALF = re.compile(r"\.[0-9a-f]{8}\.part(\.(?!lock$)\w+)?$")  # not its lock


def beside(path: Path) -> Path:
    """Another name in each call; it begins as `path` does, so that who counts files counts it."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")


@contextmanager
def claimed(path: Path, end: str = "") -> Iterator[Path]:
    """-> an empty file beside `path`, whose name ends in `end`, to be written; then it is `path`.

    A file that lies at `path` beforehand is replaced; one that another process puts there meanwhile
    is left, with FileExistsError. Half files of processes that died go first.
    """
    _sweep(path.parent)
    part, replaces = beside(path), path.exists()
    part = part.with_name(part.name + end)
    with _at_work(part):
        try:
            part.touch()
            yield part
            if replaces:
                part.replace(path)
            else:
                _name(part, path)
        finally:
            part.unlink(missing_ok=True)


def _name(part: Path, path: Path) -> None:
    """In one step, which no kill cuts in two and no other process comes between."""
    try:
        try:
            os.link(part, path)
        except FileExistsError:
            raise
        except OSError:  # a disk without hard links: a kill just now would leave an empty file
            path.open("xb").close()
            part.replace(path)
    except FileExistsError:
        raise FileExistsError(
            f"Another process has made {path} meanwhile: it is left as it is, and nothing was "
            "saved over it. Queue the same job again: only the save is done again, under a name "
            "of its own."
        ) from None


@contextmanager
def _at_work(part: Path) -> Iterator[None]:
    """A lock that ends with its process. It is on a file of its own: on some network disks nobody
    else could write to one that is locked, as FFmpeg writes to the part."""
    lock = _lock_of(part)
    try:
        with lock.open("wb") as file:
            _take(file)
            yield
    finally:  # when it is closed: Windows deletes no open file
        with suppress(OSError):  # who sweeps may just look at it; it is empty
            lock.unlink()


def _lock_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.lock")


def _take(file: IO[bytes]) -> bool:
    """Whether the lock was free; False where there are none, too."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _sweep(folder: Path) -> None:
    for part in filter(lambda path: HALF.search(path.name), folder.glob("*.part*")):
        lock = _lock_of(part)
        with suppress(OSError):
            with lock.open("ab") as file:
                dead = _take(file) or time.time() - part.stat().st_mtime > DEAD_S
                if dead:
                    part.unlink(missing_ok=True)
            if dead:
                lock.unlink()
