"""Videos at a glance: one row a video, frames spread evenly from the first to the last."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def read_video(file: Path) -> tuple[list[np.ndarray], float]:
    """-> frames [H,W,3] uint8 BGR, frames per second. Raises ValueError where none can be read."""
    reader = cv2.VideoCapture(str(file))
    frames, fps = [], reader.get(cv2.CAP_PROP_FPS)
    while True:
        good, frame = reader.read()
        if not good:
            break
        frames.append(frame)
    reader.release()
    if not frames:
        raise ValueError(f"{file} holds no frame that can be read")
    return frames, fps


def contact_sheet(
    videos: dict[str, list[np.ndarray]], columns: int = 6, cell_px: int = 192
) -> np.ndarray:
    """Name -> frames; every row gets a caption with the name, the size and the frames' numbers."""
    rows = []
    for name, frames in videos.items():
        picks = np.linspace(0, len(frames) - 1, columns).round().astype(int)
        height, width = frames[0].shape[:2]
        size = (round(cell_px * width / height), cell_px)
        # Small videos are shown as they are, pixel by pixel.
        way = cv2.INTER_AREA if height > cell_px else cv2.INTER_NEAREST
        cells = [cv2.resize(frames[i], size, interpolation=way) for i in picks]
        row = np.concatenate(cells, axis=1)
        numbers = ", ".join(str(i) for i in picks)
        caption = f"{name}: {width} x {height}, {len(frames)} frames; here {numbers}"
        rows += [strip(caption, row.shape[1]), row]
    widest = max(row.shape[1] for row in rows)
    edges = ((0, 0), (0, 0))
    return np.concatenate([np.pad(r, (edges[0], (0, widest - r.shape[1]), edges[1])) for r in rows])


def strip(text: str, width_px: int, height_px: int = 24) -> np.ndarray:
    """A dark line of text, [H,W,3]."""
    out = np.full((height_px, width_px, 3), 24, np.uint8)
    grey = (210, 210, 210)
    cv2.putText(out, text, (6, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, grey, 1, cv2.LINE_AA)
    return out
