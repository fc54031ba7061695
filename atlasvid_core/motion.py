"""Frames between frames: a video at another frame rate, its motion followed.

Mixing two frames shows a moving thing twice. Here optical flow (OpenCV's DIS) says where each
pixel goes, both frames are moved to the time in between, and only then mixed. It is for the start
of the training-free way, which denoising then works over; not for delivery.

Shapes: T frames, H, W rows and columns; frames are uint8 [H, W, 3] arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

import cv2
import numpy as np

Frame: TypeAlias = np.ndarray  # uint8 [H, W, 3]
Flow: TypeAlias = np.ndarray  # float32 [H, W, 2], pixels along (w, h)


def retimed(frames: Sequence[Frame], at: Iterable[float]) -> Iterator[Frame]:
    """The video at the times `at`, in frames (ascending; held beyond the first and the last).

    Raises ValueError for an empty video.
    """
    if not len(frames):
        raise ValueError("A video without frames has nothing in between.")
    pair, flows = -1, None
    for time in at:
        time = min(max(float(time), 0.0), len(frames) - 1.0)
        low = int(time)
        part = time - low
        if part == 0.0:
            yield frames[low]
            continue
        if pair != low:
            pair, flows = low, (_flow(frames[low], frames[low + 1]),
                                _flow(frames[low + 1], frames[low]))  # fmt: skip
        assert flows is not None
        yield between(frames[low], frames[low + 1], flows, part)


def between(first: Frame, second: Frame, flows: tuple[Flow, Flow], part: float) -> Frame:
    """The picture `part` (0..1) of the way from one frame to the next; `flows` forth and back.

    Flow is taken as the same at the pixel it ends at as at the one it starts from, so fast edges
    smear a little.
    """
    forth, back = flows
    moved = _moved(first, -part * forth), _moved(second, -(1 - part) * back)
    return cv2.addWeighted(moved[0], 1 - part, moved[1], part, 0)


def _flow(a: Frame, b: Frame) -> Flow:
    """-> [H, W, 2] pixels along (w, h) that each pixel of `a` has gone in `b`."""
    size = (a.shape[1], a.shape[0])
    # DIS finds nothing in pictures smaller than its coarsest patches
    scale = max(1.0, 192 / min(size))
    large = (round(size[0] * scale), round(size[1] * scale))
    grey = [cv2.cvtColor(cv2.resize(x, large), cv2.COLOR_RGB2GRAY) for x in (a, b)]
    finder = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = finder.calc(grey[0], grey[1], None)
    return cv2.resize(flow, size) / scale


def _moved(frame: Frame, way: Flow) -> Frame:
    h, w = frame.shape[:2]
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    return cv2.remap(
        frame, x + way[..., 0], y + way[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
