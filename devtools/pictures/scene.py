"""A landscape in a box, coarse or fine: what proxy and video show in the pictures."""

from __future__ import annotations

import math

from .svg import box, path, tag

DAY = "#28528c", "#e9b17a", "#7d6a8f", "#4c5b78", "#2e4049"  # sky, sun, three ranges of hills


def landscape(x: float, y: float, w: float, h: float, when: float, steps: int) -> str:
    """At time 0..1 the sun is somewhere on its way; `steps` corners draw a ridge."""
    sun_x, sun_y = x + w * (0.12 + 0.76 * when), y + h * (0.42 - 0.22 * math.sin(math.pi * when))
    radius = h * 0.11
    sun = (
        tag("circle", cx=sun_x, cy=sun_y, r=radius, fill=DAY[1])
        if steps > 16
        else box(sun_x - radius, sun_y - radius, 2 * radius, 2 * radius, DAY[1])
    )
    ridges = [
        _ridge(x, y, w, h, steps, 0.55 + 0.14 * i, 0.1 - 0.02 * i, 2.3 * i + 1, DAY[2 + i])
        for i in range(3)
    ]
    return box(x, y, w, h, DAY[0]) + sun + "".join(ridges)


def _ridge(x, y, w, h, steps, base, swing, phase, fill) -> str:
    top = []
    for i in range(steps + 1):
        at = i / steps
        wave = math.sin(7 * at + phase) + 0.4 * math.sin(19 * at + 2 * phase)
        if steps > 16:
            wave += 0.22 * math.sin(61 * at + phase) + 0.12 * math.sin(143 * at)
        top.append((x + w * at, y + h * (base - swing * wave)))
    return path([*top, (x + w, y + h), (x, y + h)], fill=fill)
