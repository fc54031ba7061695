"""Half files that nobody will finish: which ones a folder is rid of.

A half file has a name of `beside`. Most have a lock beside them for as long as their process lives;
those of tensors, which take no lock, are folders. Where no lock tells, age does.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

DEAD_S = 3600.0  # where no lock tells, nobody writes to a dead process's half file for so long
QUIET_S = 600.0  # who writes a video writes some of it in a much shorter time
HALF = re.compile(r"\.[0-9a-f]{8}\.part(\.\w+)?$")
BOOT = Path("/proc/sys/kernel/random/boot_id")  # each machine has another, and all containers on it


@contextmanager
def at_work(half: Path) -> Iterator[None]:
    """A lock that ends with its process. It is on a file of its own: on some network disks nobody
    else could write to one that is locked, as FFmpeg writes to the half file."""
    lock = _lock_of(half)
    try:
        with lock.open("wb") as file:
            if fcntl is not None:
                with suppress(OSError):  # there are none on this disk
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.write(_machine())
            file.flush()
            yield
    finally:  # when it is closed: Windows deletes no open file
        with suppress(OSError):  # who sweeps may just look at it
            lock.unlink()


def sweep(folder: Path) -> None:
    """Half files of processes that died go, and locks that such left."""
    for path in folder.glob("*.part*"):
        half = path.with_name(path.name.removesuffix(".lock"))
        if HALF.search(half.name):
            with suppress(OSError):  # gone meanwhile, another user's, or open on Windows
                if _is_dead(half):
                    _remove(half)
                    _lock_of(half).unlink(missing_ok=True)


def _is_dead(half: Path) -> bool:
    lock = _lock_of(half)
    if not half.exists():
        return _idle_s(lock) > DEAD_S
    idle_s = _idle_s(half)
    if fcntl is None:
        return idle_s > DEAD_S
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            told = file.read()
    except BlockingIOError:  # its process lives, if only suspended
        return False
    except OSError:  # there is no lock, or none on this disk
        return idle_s > DEAD_S
    # On some network disks locks hold on their own machine alone: on another all seem free.
    return (told == _machine() != b"") or idle_s > QUIET_S


def _idle_s(path: Path) -> float:
    """Since it was touched, or anything in it."""
    all_of_it = [path, *path.iterdir()] if path.is_dir() else [path]
    return time.time() - max(p.stat().st_mtime for p in all_of_it)


def _remove(half: Path) -> None:
    if half.is_dir():
        shutil.rmtree(half)
    else:
        half.unlink(missing_ok=True)


def _lock_of(half: Path) -> Path:
    return half.with_name(f"{half.name}.lock")


def _machine() -> bytes:
    """Tells machines apart; nothing where the system does not."""
    with suppress(OSError):
        return BOOT.read_bytes()
    return b""
