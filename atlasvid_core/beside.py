"""Files that are written beside their place and take its name when they are whole.

Processes may share a folder, and any may be killed: each half file has a name of its own.
"""

from __future__ import annotations

import os
import platform
import uuid
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open can't be deleted
    fcntl = None  # type: ignore[assignment]

MACHINE = f"{zlib.crc32(platform.node().encode()):08x}"  # whose locks this process can see


def beside(path: Path) -> Path:
    """Another name in each call; it begins as `path` does, so that who counts files counts it."""
    return path.with_name(f"{path.name}.{MACHINE}-{uuid.uuid4().hex[:8]}.part")


@contextmanager
def claimed(path: Path, end: str = "") -> Iterator[Path]:
    """-> an empty file beside `path`, whose name ends in `end`, to be written; then it is `path`.

    A file that lies at `path` beforehand is replaced; one that another process puts there meanwhile
    is left, with FileExistsError. Half files of processes that died go first.
    """
    _sweep(path.parent)
    part, replaces = beside(path), path.exists()
    part = part.with_name(part.name + end)
    try:
        with _locked(part):
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
def _locked(part: Path) -> Iterator[None]:
    """The lock ends with its process; whoever writes opens the same file, by its name."""
    with part.open("wb") as file:
        if fcntl is not None:
            with suppress(OSError):  # a disk without locks: then nobody takes it for a dead one's
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
            return
    yield


def _sweep(folder: Path) -> None:
    for part in folder.glob(f"*.{MACHINE}-????????.part*"):
        with suppress(OSError), part.open("rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: it is being written
                part.unlink()
        if fcntl is None:
            with suppress(OSError):
                part.unlink()
