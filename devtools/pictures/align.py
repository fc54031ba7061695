"""ScaledRoPEAligner: where proxy tokens sit among the video's, and whom a cube sees of them."""

from __future__ import annotations

from atlasvid_core.attention.layout import CubeLayout
from atlasvid_core.attention.mask import align as aligned
from atlasvid_core.rope import ALIGNMENTS, proxy_axes
from atlasvid_core.units import Grid

from .svg import CARD, DIM, NEAR, OWN, PLAIN, PROXY, box, line, picture, tag, words

WIDTH, HEIGHT = 720, 330
TARGET, SMALL, CUBE = 24, 7, 8
UNIT = 27.0  # of the picture, for a token


def align() -> str:
    note = (
        "One axis in space: 24 tokens in three cubes, 7 proxy tokens, each at its scaled "
        "coordinate.\nOrange: the proxy tokens that the middle cube sees."
    )
    return picture(
        WIDTH, HEIGHT, *_row(ALIGNMENTS[0], 30), *_row(ALIGNMENTS[1], 170),
        words(24, HEIGHT - 30, note, 12, DIM),
        title="Proxy tokens at their scaled coordinates among the tokens of the video",
    )  # fmt: skip


def _row(alignment: str, y: float) -> list[str]:
    axes = proxy_axes(Grid(1, 1, SMALL), Grid(1, 1, TARGET), alignment)
    layout = CubeLayout(Grid(1, 1, TARGET), Grid(1, 1, CUBE))
    low, high = aligned(layout, axes).ranges[2][1]
    rule = {"ratio": "i · r", "endpoints": "(i + ½) · r − ½"}[alignment]
    out = [words(24, y, alignment, 15, font_weight=600),
           words(120, y, f"proxy token i at {rule}, r = {TARGET} / {SMALL}", 13, DIM)]  # fmt: skip
    x = 36.0
    for i in range(TARGET):
        fill = OWN if CUBE <= i < 2 * CUBE else PLAIN
        out.append(box(x + UNIT * i, y + 62, UNIT, 22, fill, stroke=CARD))
    for cube in range(1, TARGET // CUBE):
        at = x + UNIT * CUBE * cube
        out.append(line(at, y + 54, at, y + 92, NEAR, stroke_width=2))
    for i, place in enumerate(axes.w.tolist()):
        at, seen = x + UNIT * (place + 0.5), low <= i < high
        colour = OWN if seen else PROXY
        out.append(line(at, y + 38, at, y + 62, colour, stroke_width=1.5))
        out.append(tag("circle", cx=at, cy=y + 30, r=9, fill=colour))
        out.append(words(at, y + 34, str(i), 11, CARD, "middle", font_weight=600))
    return out
