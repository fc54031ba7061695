"""Tensors parked on disk: written and read at offsets.

Plain reads and writes rather than a memory map, so that what is parked leaves the process's memory
and stays with the system, which drops it when others need the room.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

Parked = TypeVar("Parked", bound="Scratch")


def bytes_on_disk(file: Path) -> int:
    """What a file takes of its disk: of one that was written in places, less than its size."""
    stat = file.stat()
    blocks = getattr(stat, "st_blocks", None)  # Windows has none
    return stat.st_size if blocks is None else 512 * blocks


class Scratch:
    """A file in `folder`; ValueError where `size_bytes` don't fit on its disk.

    Without a name it is gone with the process that made it. With one it stays, and what was
    written to it can be told from other bytes by its `sums`.
    """

    def __init__(self, folder: Path | str, size_bytes: int, name: str | None = None) -> None:
        self._sums: dict[int, tuple[int, int]] = {}  # offset -> bytes, checksum
        path = None if name is None else Path(folder, name)
        there = bytes_on_disk(path) if path is not None and path.exists() else 0
        free = shutil.disk_usage(folder).free
        if size_bytes > free + there:
            raise ValueError(
                f"The VAE's work parks {size_bytes / 1e9:.1f} GB in {folder}, where "
                f"{free / 1e9:.1f} GB are free. Make room there, or give it more memory: a larger "
                "tile needs no scratch file where the whole frame's past fits."
            )
        if path is None:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        else:
            path.touch()
            self._file = path.open("r+b")

    def __enter__(self: Parked) -> Parked:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, offset: int, values: Tensor) -> None:
        """`offset` in bytes."""
        data = values.cpu().contiguous().view(torch.uint8).numpy().data
        self._file.seek(offset)
        self._file.write(data)
        self._sums[offset] = (data.nbytes, zlib.crc32(data))

    def read(self, offset: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        data = bytearray(math.prod(shape) * dtype.itemsize)
        self._file.seek(offset)
        self._file.readinto(data)
        return torch.frombuffer(data, dtype=dtype).view(shape)

    def sums(self) -> Tensor:
        """-> [writes, 3]: offset, bytes and checksum of all that was written; it is in the file."""
        self._file.flush()
        rows = [(offset, *rest) for offset, rest in self._sums.items()]
        return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)

    def check(self, sums: Tensor) -> None:
        """ValueError unless the file holds what these `sums` tell of."""
        for offset, size, told in sums.tolist():
            self._file.seek(offset)
            if zlib.crc32(self._file.read(size)) != told:
                raise ValueError(f"{size} bytes at {offset} are not those that were written")
            self._sums[offset] = (size, told)
