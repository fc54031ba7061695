"""Draw the pack's icon: `python -m devtools.icon` writes docs/icon.png, 400 x 400 px.

A block of cubes: the lit one sees the neighbours that touch it, as in stage 2.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

FILE = Path(__file__).resolve().parent.parent / "docs" / "icon.png"
SIDE_PX, FINER = 400, 4  # drawn FINER times larger, then averaged
COUNT = 4  # cubes along an edge
EDGE_PX = 43.0  # of a cube, before FINER
GAP = 0.09  # between cubes, of an edge
TOP, BOTTOM = (46, 36, 32), (24, 18, 16)  # the card, BGR
OWN, NEAR, PLAIN = (74, 153, 242), (120, 196, 250), (150, 98, 58)
SHADE = {"top": 1.0, "left": 0.80, "right": 0.60}
# Directions of the three edges on the picture, in cube edges: x to the right, y into it, z up.
X, Y, Z = np.array([0.866, 0.5]), np.array([-0.866, 0.5]), np.array([0.0, -1.0])


def icon() -> np.ndarray:
    """[400, 400, 4] uint8 BGRA."""
    size = SIDE_PX * FINER
    shade = np.linspace(0, 1, size)[:, None, None]
    card = (np.array(TOP) * (1 - shade) + np.array(BOTTOM) * shade) * np.ones((1, size, 1))
    picture = np.ascontiguousarray(card.astype(np.uint8))
    for name, origin, right, down in faces():
        for i in range(COUNT):
            for j in range(COUNT):
                colour = np.array(colour_of(name, i, j)) * SHADE[name]
                quad(picture, origin, right, down, i, j, colour)
    alpha = rounded(size)
    whole = np.dstack((picture, alpha))
    return cv2.resize(whole, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)


def faces() -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
    """The three faces that are seen: name, far corner, and the ways that i and j go."""
    edge = EDGE_PX * FINER
    middle = np.array([0.5, 0.5]) * SIDE_PX * FINER
    near = middle  # the corner nearest to the eye
    span = COUNT * edge
    return [
        ("top", near - X * span - Y * span, X * edge, Y * edge),
        ("left", near - X * span, X * edge, -Z * edge),
        ("right", near - Y * span, Y * edge, -Z * edge),
    ]


def colour_of(face: str, i: int, j: int) -> tuple[int, int, int]:
    """The near corner's cube is lit on all three faces; those that touch it are its reach."""
    lit = (COUNT - 1, COUNT - 1) if face == "top" else (COUNT - 1, 0)
    apart = abs(i - lit[0]) + abs(j - lit[1])
    return OWN if apart == 0 else NEAR if apart == 1 else PLAIN


def quad(picture, origin, right, down, i, j, colour) -> None:
    """One cube's side, a little smaller than its place."""
    a, b, c, d = i + GAP / 2, i + 1 - GAP / 2, j + GAP / 2, j + 1 - GAP / 2
    corners = [origin + right * u + down * v for u, v in ((a, c), (b, c), (b, d), (a, d))]
    points = np.round(np.array(corners) * 16).astype(np.int32)
    cv2.fillPoly(picture, [points], colour.tolist(), cv2.LINE_AA, shift=4)


def rounded(size: int, radius: float = 0.18) -> np.ndarray:
    """An opaque square with round corners, [size, size] uint8."""
    out, r = np.zeros((size, size), np.uint8), round(radius * size)
    cv2.rectangle(out, (r, 0), (size - r, size), 255, -1)
    cv2.rectangle(out, (0, r), (size, size - r), 255, -1)
    for x in (r, size - r - 1):
        for y in (r, size - r - 1):
            cv2.circle(out, (x, y), r, 255, -1)
    return out


if __name__ == "__main__":
    if not cv2.imwrite(str(FILE), icon()):
        raise OSError(f"{FILE} could not be written")
