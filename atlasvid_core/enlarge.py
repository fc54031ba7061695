"""A small video at the target's size: the start of the training-free way.

Edges stay edges, and frames in between follow the motion (`motion`).

Shapes: T frames, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import torch
from torch import Tensor

from .motion import retimed
from .plan import VideoPlan

LANCZOS, BICUBIC = cv2.INTER_LANCZOS4, cv2.INTER_CUBIC


def enlarged_frames(
    frames_THW3: Tensor, plan: VideoPlan, time_scale: float | None, kernel: int = LANCZOS
) -> Iterator[Tensor]:
    """Decoded frames in -1..1 -> the target's frames [H, W, 3] as bytes, one after the other.

    Motion compensated in time, `kernel` in space. Times are those of `times`.
    """
    size = (plan.width_px, plan.height_px)
    small = [((f + 1) * 127.5).clamp(0, 255).byte().cpu().numpy() for f in frames_THW3]
    for frame in retimed(small, times(len(small), plan.frames_px, time_scale).tolist()):
        yield torch.from_numpy(cv2.resize(frame, size, interpolation=kernel))


def times(have: int, count: int, time_scale: float | None) -> Tensor:
    """-> float64 [count]: where each of `count` frames lies among those of a video of `have`.

    Frame j lands at j * `time_scale`, where stage 1 made it, and the last one is held; without a
    time scale (any other video) first and last frames land on first and last.
    """
    if time_scale is None:
        return torch.linspace(0, have - 1, count, dtype=torch.float64)
    return (torch.arange(count, dtype=torch.float64) / time_scale).clamp(max=have - 1)
