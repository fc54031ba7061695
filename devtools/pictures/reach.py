"""LocalityPreservingPatch: the cubes that a cube sees, for each reach, in three slices of time."""

from __future__ import annotations

from atlasvid_core.attention.mask import REACHES, reached, steps_of

from .svg import DIM, NEAR, OWN, PLAIN, PROXY, box, picture, words

WIDTH, HEIGHT = 720, 290
SIDE, CUBES = 20, (-2, -1, 0, 1, 2)


def reach() -> str:
    return picture(
        WIDTH, HEIGHT, *(_panel(name, 24 + 160 * i) for i, name in enumerate(REACHES)),
        box(24, 240, 12, 12, OWN), words(42, 250, "the cube itself", 13),
        box(190, 240, 12, 12, NEAR), words(208, 250, "cubes that it sees besides", 13),
        box(24, 262, 12, 12, PROXY),
        words(42, 272, "and always the proxy tokens of their place and time", 13),
        title="The cubes that a cube sees for the reaches own, faces, plane and all",
    )  # fmt: skip


def _panel(name: str, x: float) -> str:
    seen = len(steps_of(name)) - 1
    out = [words(x, 34, name, 16, font_weight=600),
           words(x + 60, 34, f"{seen} neighbours", 12, DIM)]  # fmt: skip
    for slice_, label in ((-1, "before"), (0, "same time"), (1, "after")):
        left, top = x + 10 * (slice_ + 1), 58 + 54 * (slice_ + 1)
        for h in CUBES:
            for w in CUBES:
                step = (slice_, h, w)
                fill = OWN if step == (0, 0, 0) else NEAR if reached(name, step) else PLAIN
                out.append(_tile(left, top, h, w, fill))
        out.append(words(x + 140, top + 28, label, 11, DIM) if name == "all" else "")
    return "".join(out)


def _tile(left: float, top: float, h: int, w: int, fill: str) -> str:
    """A cube's face, seen from above at a slant: rows are moved a little to the right."""
    at_x = left + (w + 2) * SIDE * 0.78 + (2 - h) * 5
    return box(at_x, top + (h + 2) * 9, SIDE * 0.78 - 1.5, 8, fill)
