"""Tensors parked on disk: written and read at offsets, gone with the process that made them.

Plain reads and writes rather than a memory map, so that what is parked leaves the process's memory
and stays with the system, which drops it when others need the room.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

Parked = TypeVar("Parked", bound="Scratch")


class Scratch:
    """A nameless file in `folder`; ValueError where `size_bytes` don't fit on its disk."""

    def __init__(self, folder: Path | str, size_bytes: int) -> None:
        free = shutil.disk_usage(folder).free
        if size_bytes > free:
            raise ValueError(
                f"The decode parks {size_bytes / 1e9:.1f} GB in {folder}, where "
                f"{free / 1e9:.1f} GB are free. Make room there, or give it more memory: a larger "
                "tile needs no scratch file where the whole frame's past fits."
            )
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115

    def __enter__(self: Parked) -> Parked:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, offset: int, values: Tensor) -> None:
        """`offset` in bytes."""
        self._file.seek(offset)
        self._file.write(values.cpu().contiguous().view(torch.uint8).numpy().data)

    def read(self, offset: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        data = bytearray(math.prod(shape) * dtype.itemsize)
        self._file.seek(offset)
        self._file.readinto(data)
        return torch.frombuffer(data, dtype=dtype).view(shape)
