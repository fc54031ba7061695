"""What happened to every job, as lines of JSON that are only added, each on the disk before the
next thing is done. Whoever reads them in order knows where a killed run stood.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

# queueing: the server may have the job; queued: it has; waiting: it has not, any more.
STATES = ("queueing", "queued", "waiting", "done", "failed")
TAKEN = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)  # how systems say that another has a lock


class InUse(RuntimeError):
    """Another process works on this folder."""


@dataclass
class Record:
    """The last that was written of a job."""

    state: str = "waiting"
    server: str | None = None
    prompt_id: str | None = None
    files: list[str] = field(default_factory=list)
    seconds: float | None = None
    error: str | None = None


class Manifest:
    """`records` by key, as of now; `batch` is a name that no other batch has.

    A context manager; the file belongs to one process at a time.
    """

    def __init__(self, path: Path):
        self.path = path
        self.batch = ""
        self.records: dict[str, Record] = {}
        self._file: IO[bytes] | None = None
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Manifest:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path.with_suffix(".lock"))
        self._file = self.path.open("a+b")
        self._file.seek(0)
        self._file.truncate(self.read(self._file))
        if not self.batch:
            self._write({"time": _now(), "batch": uuid.uuid4().hex[:8]})
        return self

    def __exit__(self, *_) -> None:
        for file in (self._file, self._lock):
            if file is not None:
                file.close()

    def read(self, file: IO[bytes]) -> int:
        """-> the bytes of whole lines."""
        whole = 0
        for line in file:
            if not line.endswith(b"\n"):
                break  # torn by a kill: what it told had not happened yet
            whole += len(line)
            with contextlib.suppress(ValueError, TypeError, KeyError):
                self._take(json.loads(line))
        return whole

    def add(self, key: str, state: str, **facts: Any) -> None:
        """Writes a line and waits until the disk has it. `facts` as in Record."""
        assert state in STATES
        self._write({"time": _now(), "job": key, "state": state, **facts})

    def _write(self, event: dict) -> None:
        assert self._file is not None
        self._file.write((json.dumps(event, ensure_ascii=False) + "\n").encode())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._take(event)

    def _take(self, event: dict) -> None:
        if "batch" in event:
            self.batch = event["batch"]
            return
        known = {k: v for k, v in event.items() if k in Record.__dataclass_fields__}
        self.records[event["job"]] = Record(**known)


def done_jobs(path: Path) -> set[str]:
    """Keys of what earlier runs did; nothing is locked, nor made where there is none."""
    manifest = Manifest(path)
    if path.exists():
        with path.open("rb") as file:
            manifest.read(file)
    return {key for key, record in manifest.records.items() if record.state == "done"}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _locked(path: Path) -> IO[bytes]:
    """A file that this process holds until it ends, however it ends."""
    file = path.open("wb")
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined, unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        if error.errno in TAKEN:
            words = f"another run is at work in {path.parent}; wait for it or give --out"
            raise InUse(words) from None
        raise OSError(
            f"{path.parent} can't be locked ({error.strerror}): give --out a folder on a local disk"
        ) from error
    return file
