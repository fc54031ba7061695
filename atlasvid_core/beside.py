"""Files that are written beside their place and take its name when they are whole.

Processes may share a folder, and any may be killed: each half file has a name of its own.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .halves import at_work, sweep


def beside(path: Path) -> Path:
    """Another name in each call; it begins as `path` does, so that who counts files counts it."""
    return path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")


@contextmanager
def claimed(path: Path, end: str = "") -> Iterator[Path]:
    """-> an empty file beside `path`, whose name ends in `end`, to be written; then it is `path`.

    A file that lies at `path` beforehand is replaced; one that another process puts there meanwhile
    is left, with FileExistsError. Half files of processes that died go first.
    """
    sweep(path.parent)
    part, replaces = beside(path), path.exists()
    part = part.with_name(part.name + end)
    with at_work(part):
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
        except (FileExistsError, FileNotFoundError):
            raise
        except OSError:
            _name_without_links(part, path)
    except FileExistsError:
        raise FileExistsError(
            f"Another process has made {path} meanwhile: it is left as it is, and nothing was "
            "saved over it. Queue the same job again: only the save is done again, under a name "
            "of its own."
        ) from None


def _name_without_links(part: Path, path: Path) -> None:
    """On a disk that has none: a kill between the two steps would leave an empty file."""
    path.open("xb").close()
    try:
        part.replace(path)
    except OSError:
        path.unlink()
        raise
