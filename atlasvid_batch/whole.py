"""Whether a file was written to its end, told from its own structure; no decoder needed.

A server that is killed while it saves leaves a file under its final name.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

Reader = Callable[[BinaryIO, int], bool]  # file at its start, its size


def is_whole(path: Path) -> bool:
    """False also for kinds that can't be told."""
    reader = KINDS.get(path.suffix.lower())
    size = path.stat().st_size
    if reader is None or not size:
        return False
    with path.open("rb") as file:
        try:
            return reader(file, size)
        except (struct.error, ValueError, IndexError):  # ends in the middle of a number
            return False


def _mp4(file: BinaryIO, size: int) -> bool:
    """Boxes that fill the file, an index among them."""
    at, kinds = 0, set()
    while at < size:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        elif length == 0:
            length = size - at
        if length < 8:
            return False
        kinds.add(kind)
        at += length
    return at == size and {b"moov", b"mdat"} <= kinds


def _matroska(file: BinaryIO, size: int) -> bool:
    """An EBML header, then a segment of known length that fills the file."""
    at = 0
    for wanted in (b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"):
        file.seek(at)
        if file.read(4) != wanted:
            return False
        first = file.read(1)[0]
        extra = 8 - first.bit_length()
        if first == 0 or extra > 7:
            return False
        value = first & ((1 << (7 - extra)) - 1)
        value = int.from_bytes(bytes([value]) + file.read(extra), "big")
        if value == (1 << (7 * (extra + 1))) - 1:  # "unknown": still being written
            return False
        at += 5 + extra + value
    return at == size


def _riff(file: BinaryIO, size: int) -> bool:
    magic, length = struct.unpack("<4sI", file.read(8))
    return magic == b"RIFF" and length + 8 == size


def _safetensors(file: BinaryIO, size: int) -> bool:
    (length,) = struct.unpack("<Q", file.read(8))
    if length > size - 8:
        return False
    header = json.loads(file.read(length))
    ends = [v["data_offsets"][1] for k, v in header.items() if k != "__metadata__"]
    return 8 + length + max(ends, default=0) == size


def _ends_with(tail: bytes) -> Reader:
    def read(file: BinaryIO, size: int) -> bool:
        file.seek(max(0, size - len(tail)))
        return file.read() == tail

    return read


KINDS: dict[str, Reader] = {
    **dict.fromkeys((".mp4", ".mov", ".m4v"), _mp4),
    **dict.fromkeys((".mkv", ".webm"), _matroska),
    **dict.fromkeys((".webp", ".wav"), _riff),
    **dict.fromkeys((".safetensors", ".latent"), _safetensors),
    **dict.fromkeys((".jpg", ".jpeg"), _ends_with(b"\xff\xd9")),
    ".png": _ends_with(b"IEND\xae\x42\x60\x82"),
    ".gif": _ends_with(b"\x3b"),
}
