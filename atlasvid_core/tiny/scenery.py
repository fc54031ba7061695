"""What may be in a scene of the tiny world, word by word. Needs Python alone, as its prompts do."""

from __future__ import annotations

COLOURS = {
    "red": (0.90, 0.12, 0.12),
    "orange": (1.00, 0.55, 0.05),
    "yellow": (0.98, 0.92, 0.20),
    "green": (0.10, 0.70, 0.20),
    "cyan": (0.15, 0.85, 0.90),
    "blue": (0.12, 0.25, 0.90),
    "purple": (0.60, 0.20, 0.85),
    "white": (0.97, 0.97, 0.97),
}
SHAPES = ("ball", "box", "diamond")
DIRECTIONS = ("right", "left")
# sky at the top, sky at the horizon, far hill, near hill
SCHEMES = {
    "dawn": ((0.45, 0.40, 0.70), (1.00, 0.75, 0.70), (0.55, 0.42, 0.55), (0.36, 0.28, 0.42)),
    "day": ((0.30, 0.55, 0.95), (0.80, 0.92, 1.00), (0.45, 0.68, 0.42), (0.25, 0.50, 0.22)),
    "dusk": ((0.35, 0.12, 0.35), (0.98, 0.52, 0.22), (0.42, 0.20, 0.20), (0.24, 0.10, 0.14)),
    "night": ((0.02, 0.03, 0.12), (0.14, 0.20, 0.40), (0.08, 0.14, 0.24), (0.04, 0.08, 0.14)),
}
