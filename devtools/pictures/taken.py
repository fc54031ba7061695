"""VideoToProxy: which frames of a video become frames of its proxy."""

from __future__ import annotations

from fractions import Fraction

import torch

from atlasvid_core.plan import make_plan
from atlasvid_core.proxy_video import nearest, taken
from atlasvid_core.units import Grid
from atlasvid_core.video_source import ImageSource

from .svg import DIM, NEAR, OWN, PLAIN, PROXY, box, line, picture, words

X, STEP, FPS, SHOWN = 40.0, 25.6, 24, 25  # a second, and the frame after it
ROWS = (
    (66.0, "rate video, r_t 1: every frame, at the video's own 24 a second", "video", 1.0),
    (156.0, "rate video, r_t 4: every fourth; stage 2 makes those in between", "video", 4.0),
    (246.0, "rate plan, r_t 1: those nearest in time at the plan's 16 a second", "plan", 1.0),
)


def picks() -> str:
    """The same second of a video in three plans."""
    out = []
    source = ImageSource(torch.zeros(40, 1, 1, 3), Fraction(FPS))
    for y, title, rate, r_t in ROWS:
        plan = make_plan(
            width_px=96, height_px=64, frames_px=33, r_t=r_t, proxy_height_px=32,
            cube_tok=Grid(1, 2, 2),
        )  # fmt: skip
        wanted = taken(plan, source, rate)
        numbers = [round(f.at_s * FPS) for f in nearest(source.frames(lambda: None), wanted)]
        out += [words(X, y - 14, title, 14), *_row(y, numbers)]
    note = ("A video of 24 frames a second. Each frame is read, cut to the plan's shape, scaled, "
            "encoded,\nand let go of.")  # fmt: skip
    return picture(
        720, 350, *out, words(X, 320, note, 12, DIM),
        title="Frames of a video that become frames of its proxy, by its own rate and the plan's",
    )  # fmt: skip


def _row(y: float, numbers: list[int]) -> list[str]:
    out = []
    for number in range(SHOWN):
        at, is_taken = X + STEP * number, number in numbers
        out.append(box(at, y, STEP - 4, 20, OWN if is_taken else PLAIN, rx=2))
        out.append(words(at + STEP / 2 - 2, y + 14, str(number), 10,
                         "#222" if is_taken else DIM, "middle"))  # fmt: skip
        if is_taken:
            middle = at + STEP / 2 - 2
            out.append(line(middle, y + 22, middle, y + 32, NEAR, stroke_width=1.5))
            out.append(box(middle - 5, y + 33, 10, 8, PROXY, rx=1))
    return out
