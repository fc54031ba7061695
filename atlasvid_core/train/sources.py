"""Videos to cut clips from, with their captions.

Shapes: T frames, H, W pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .video import VideoFile
from .views import View

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


class Source(Protocol):
    """A video with its caption; `length` counts frames at the training rate.

    `name` tells it from the others; `mark` changes where it is replaced, and costs little to ask.
    """

    @property
    def name(self) -> str: ...

    @property
    def mark(self) -> str: ...

    @property
    def caption(self) -> str: ...

    @property
    def length(self) -> int: ...

    def frames(self, view: View) -> Iterator[Tensor]:
        """One after the other, [H, W, 3]: bytes, or floats in -1..1."""


def stacked(frames: Iterable[Tensor]) -> Tensor:
    """Frames of a source -> [3, T, H, W] in -1..1."""
    video = torch.stack(list(frames)).permute(3, 0, 1, 2).contiguous()
    return video.float() / 127.5 - 1 if video.dtype == torch.uint8 else video


def find_videos(where: str, fps: float) -> list[Source]:
    """A folder of videos with captions in .txt files, or a JSONL of {"video": ..., "caption": ...}.

    Raises ValueError where there is none, or one without a caption.
    """
    path = Path(where)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
        named = [(p.relative_to(path).as_posix(), _caption(p)) for p in found]
        folder = path
    elif path.is_file():
        named, folder = _listed(path), path.parent
    else:
        raise ValueError(
            f"data.videos is {where!r}: it must be a folder of videos or a JSONL "
            "that exists. Set data.videos to one."
        )
    if not named:
        raise ValueError(f"{path} holds no videos ({', '.join(VIDEO_SUFFIXES)}).")
    return [VideoFile(folder / name, name, caption, fps) for name, caption in named]


def _listed(path: Path) -> list[tuple[str, str]]:
    """Videos and captions of a JSONL; ValueError names the line that is wrong."""
    rows = enumerate(_text(path).split("\n"), 1)
    return [_pair(row, f"{path}, line {number},") for number, row in rows if row.strip()]


def _pair(row: str, where: str) -> tuple[str, str]:
    want = 'Write {"video": "a.mp4", "caption": "..."} there.'
    try:
        told: Any = json.loads(row)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where} is no JSON ({error.msg}). {want}") from None
    if not isinstance(told, dict):
        raise ValueError(f"{where} is no table. {want}")
    for key in ("video", "caption"):
        if key not in told:
            raise ValueError(f"{where} is without video or caption: it has no {key}. {want}")
        if not isinstance(told[key], str):
            raise ValueError(f"{where} has the {key} {json.dumps(told[key])}, no text. {want}")
    return told["video"], told["caption"]


def _caption(video: Path) -> str:
    text = video.with_suffix(".txt")
    if not text.is_file():
        raise ValueError(f"{video} has no caption: write it into {text.name} beside it.")
    return _text(text).strip()


def _text(path: Path) -> str:
    """With or without the mark that some editors put in front."""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 ({error.reason}). Save it as UTF-8.") from None
