"""A frame cut to another shape and scaled: what proxies are made of, in training and in use.

Shapes: H, W rows and columns.
"""

from __future__ import annotations

import cv2
import numpy as np


def framed(frame_HW3: np.ndarray, aspect: float, size: tuple[int, int]) -> np.ndarray:
    """A frame (bytes) cut around its centre to `aspect`, width over height in its own pixels, and
    scaled to `size` (h, w): by area where that is smaller, else bicubic."""
    height, width = frame_HW3.shape[:2]
    wide, high = min(width, round(height * aspect)), min(height, round(width / aspect))
    top, left = (height - high) // 2, (width - wide) // 2
    cut = np.ascontiguousarray(frame_HW3[top : top + high, left : left + wide])
    how = cv2.INTER_AREA if size[0] < high else cv2.INTER_CUBIC
    return cv2.resize(cut, (size[1], size[0]), interpolation=how)
