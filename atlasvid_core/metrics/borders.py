"""Whether the cubes of local attention show as lines in the picture or as jumps in time.

Shapes: B videos, T frames, H, W rows and columns. Videos are in -1..1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..units import VAE_STRIDE

AXES = {"t": 2, "h": 3, "w": 4}
UNSEEN = 0.002  # a quarter of a step of 8 bits: added to both sides, so that nothing is no ratio


def steps_between(video: Tensor, axis: str) -> Tensor:
    """How far each step along an axis stands out from the two beside it, [B, steps - 2].

    Entry i belongs to the border between pixels (frames) i + 1 and i + 2. A ramp gives 0, so
    smooth shading and slow motion do not count; an edge of the scene counts wherever it lies.
    """
    dim = AXES[axis]
    step = video.diff(dim=dim).movedim(dim, -1)
    beside = (step[..., 2:] + step[..., :-2]) / 2
    return (step[..., 1:-1] - beside).abs().flatten(1, -2).mean(1)


def border_visibility(video: Tensor, side_px: int, axis: str, unit_px: int = 16) -> Tensor:
    """Steps across cube borders over those at other places, [B]: 1 is invisible, 2 twice as large.

    Of each line across the picture (frame) the mean, of all such lines the median: a horizon or
    the edge of a box that happens to lie on a border is one line among many. Lines are few, so a
    true render has up to 3 along h: compare with the truth's own figure where there is one.

    `side_px`: the cube's side in pixels (frames) along the axis; along t the first latent holds
    one frame alone, so borders lie that much earlier. "Other places" are the borders of tokens
    (`unit_px`) inside the cubes where there are any, else all others: a patch or a latent may
    leave a faint grid of its own that is no fault of the cubes.
    Raises ValueError where the video has no border along the axis.
    """
    length = video.shape[AXES[axis]]
    shown = steps_between(video, axis)
    missing = VAE_STRIDE.t - 1 if axis == "t" else 0  # frames that the first latent lacks
    place = torch.arange(shown.shape[1]) + 2 + missing  # of each border, in pixels
    at_cubes = place % side_px == 0
    at_tokens = (place % unit_px == 0) & ~at_cubes
    others = at_tokens if side_px > unit_px and at_tokens.any() else ~at_cubes
    if not at_cubes.any() or not others.any():
        raise ValueError(
            f"A cube of {side_px} along {axis} has no border within {length}: give a larger video."
        )
    across, elsewhere = (shown[:, x].median(1).values + UNSEEN for x in (at_cubes, others))
    return across / elsewhere
