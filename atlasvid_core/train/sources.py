"""Videos to cut clips from, read with OpenCV.

Shapes: T frames, H, W pixels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from .views import View

VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


class Source(Protocol):
    """A video with its caption; `length` counts frames at the training rate."""

    @property
    def caption(self) -> str: ...

    @property
    def length(self) -> int: ...

    def read(self, view: View) -> Tensor:
        """-> [3, T, H, W] in -1..1."""


@dataclass(frozen=True)
class VideoFile:
    """A file that OpenCV reads, resampled in time to `fps` by the nearest frame."""

    path: Path
    caption: str
    fps: float

    @cached_property
    def _facts(self) -> tuple[float, int]:
        import cv2

        video = cv2.VideoCapture(str(self.path))
        own_fps, count = video.get(cv2.CAP_PROP_FPS), int(video.get(cv2.CAP_PROP_FRAME_COUNT))
        video.release()
        if own_fps <= 0 or count < 1:
            raise ValueError(f"{self.path} cannot be read as a video. Convert it, or leave it out.")
        return own_fps, count

    @property
    def length(self) -> int:
        own_fps, count = self._facts
        return int((count - 1) * self.fps / own_fps + 1e-6) + 1

    def read(self, view: View) -> Tensor:
        import cv2

        own_fps = self._facts[0]
        wanted = [
            round((view.start + i * view.stride) * own_fps / self.fps) for i in range(view.frames)
        ]
        video = cv2.VideoCapture(str(self.path))
        video.set(cv2.CAP_PROP_POS_FRAMES, wanted[0])
        frames, at, good, frame = [], wanted[0] - 1, True, None
        for number in wanted:
            while at < number and good:
                good, fresh = video.read()
                frame, at = (fresh if good else frame), at + 1
            if frame is None:
                raise ValueError(f"{self.path} has no frame {number}. Convert it, or leave it out.")
            frames.append(torch.from_numpy(_scaled(frame[..., ::-1], view)))
        video.release()
        return torch.stack(frames).permute(3, 0, 1, 2).float() / 127.5 - 1


def _scaled(frame, view: View):
    """A frame cut to the view's aspect around its centre, scaled, boxed; uint8 [H, W, 3]."""
    import numpy as np

    from ..framing import framed

    frame = framed(frame, view.aspect, view.whole_px)
    top, left, box_h, box_w = view.box_px
    return np.ascontiguousarray(frame[top : top + box_h, left : left + box_w])


def find_videos(where: str, fps: float) -> list[Source]:
    """A folder of videos with captions in .txt files, or a JSONL of {"video": ..., "caption": ...}.

    Raises ValueError where there is none, or one without a caption.
    """
    path = Path(where)
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if p.suffix.lower() in VIDEO_SUFFIXES)
        pairs = [(p, _caption(p)) for p in found]
    elif path.is_file():
        rows = [json.loads(row) for row in path.read_text("utf-8").splitlines() if row.strip()]
        if any(not {"video", "caption"} <= row.keys() for row in rows):
            raise ValueError(f"{path} has a line without video or caption: every line needs both.")
        pairs = [(path.parent / row["video"], row["caption"]) for row in rows]
    else:
        raise ValueError(
            f"data.videos is {where!r}: it must be a folder of videos or a JSONL "
            "that exists. Set data.videos to one."
        )
    if not pairs:
        raise ValueError(f"{path} holds no videos ({', '.join(VIDEO_SUFFIXES)}).")
    videos: list[Source] = [VideoFile(p, caption, fps) for p, caption in pairs]
    return videos


def _caption(video: Path) -> str:
    text = video.with_suffix(".txt")
    if not text.is_file():
        raise ValueError(f"{video} has no caption: write it into {text.name} beside it.")
    return text.read_text("utf-8").strip()
