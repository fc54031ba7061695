"""How much an encoder may hold of a large video: what it looks ahead at follows the frame's size.

Encoders keep whole frames: those they look ahead at to place bits, and those that are worked on
side by side. Left to themselves they take as many at 4K as at 720p, some of them more with every
core. What is asked of them here follows from the frame's size alone, so the same frames make the
same bytes. (x264 works on slices of one frame here: its threads hold no frames of their own.)
"""

from __future__ import annotations

from collections.abc import Mapping

FULL_PX = 1920 * 1088  # up to here encoders do as they like
LOOKAHEAD = {"libx264": 40, "libx265": 20}  # frames, of the preset "medium"
LEAST_LOOKAHEAD = 8
PARAMETERS = {"libx264": "x264-params", "libx265": "x265-params", "libsvtav1": "svtav1-params"}
SIDE_BY_SIDE = {"libx265": ["frame-threads=2"], "libsvtav1": ["lp=1"]}


def bounded(encoder: str, options: Mapping[str, str], width: int, height: int) -> dict[str, str]:
    """An encoder's options for frames of this size."""
    share = FULL_PX / (width * height)
    if share >= 1 or encoder not in PARAMETERS:
        return dict(options)
    added = list(SIDE_BY_SIDE.get(encoder, []))
    if encoder in LOOKAHEAD:
        added.append(f"rc-lookahead={max(LEAST_LOOKAHEAD, int(LOOKAHEAD[encoder] * share))}")
    name = PARAMETERS[encoder]
    given = [options[name]] if name in options else []
    return {**options, name: ":".join([*given, *added])}
