"""Pictures for the template browser: `python -m devtools.thumbnails`.

Each shows what its workflow does: a frame of the world, cut into cubes, the small proxy beside it.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch

from atlasvid_core.tiny.world import Scenes, Window, render

from .graphs import JOBS

ROOT = Path(__file__).resolve().parent.parent
WIDTH_PX, HEIGHT_PX = 640, 360
PROXY_PX = (160, 90)
TITLES = {
    "tiny_demo": ("Start here: tiny demo", "192 x 192, 33 frames, nothing to download"),
    **{job.name: (job.title.split(",")[0], f"{job.frames} frames") for job in JOBS},
    "upscale_to_4k": ("Any video to 4K", "the video is the proxy"),
}


def frame(number: int, width_px: int, height_px: int) -> np.ndarray:
    """A picture of the world, [H, W, 3] uint8 BGR; each number has its own scene."""

    def index(n: int) -> torch.Tensor:
        return torch.tensor([n])

    phase = torch.tensor([0.13 * number % 1])
    scene = Scenes(
        index(number % 8), index(number % 3), index(0), index((number + 1) % 4), phase,
        (phase * 3) % 1, phase,
    )  # fmt: skip
    zero, one = torch.zeros(1), torch.ones(1)
    window = Window(zero, zero, one, zero + 6 + 3 * number, one)
    video = render(scene, window, 1, width_px, width_px)[0, :, 0]
    top = (width_px - height_px) // 3
    picture = video[:, top : top + height_px].permute(1, 2, 0).clamp(-1, 1)
    return np.ascontiguousarray(((picture + 1) * 127.5).numpy().astype(np.uint8)[..., ::-1])


def thumbnail(number: int, title: str, subtitle: str) -> np.ndarray:
    picture = frame(number, WIDTH_PX, HEIGHT_PX)
    for x in range(0, WIDTH_PX, 40):
        cv2.line(picture, (x, 0), (x, HEIGHT_PX), (255, 255, 255), 1)
    for y in range(0, HEIGHT_PX, 40):
        cv2.line(picture, (0, y), (WIDTH_PX, y), (255, 255, 255), 1)
    picture = cv2.addWeighted(picture, 0.25, frame(number, WIDTH_PX, HEIGHT_PX), 0.75, 0)
    small = cv2.resize(frame(number, WIDTH_PX, HEIGHT_PX), PROXY_PX, interpolation=cv2.INTER_AREA)
    left, top = WIDTH_PX - PROXY_PX[0] - 14, 14
    right, bottom = left + PROXY_PX[0], top + PROXY_PX[1]
    picture[top:bottom, left:right] = small
    cv2.rectangle(picture, (left - 1, top - 1), (right, bottom), (255, 255, 255), 2)
    picture[-76:] = picture[-76:] // 4
    for text, at, scale in ((title, -42, 1.0), (subtitle, -14, 0.6)):
        place = (16, HEIGHT_PX + at)
        colour = (255, 255, 255)
        cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)
    return picture


def main() -> None:
    for number, (name, words) in enumerate(TITLES.items()):
        path = ROOT / "workflows" / f"{name}.jpg"
        cv2.imwrite(str(path), thumbnail(number, *words), [cv2.IMWRITE_JPEG_QUALITY, 88])
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
