"""The choice of tiles for a decode or an encode: the quickest that keeps to a budget of bytes.

What is counted follows from the modules' geometry (`tiles.describe`): what the convolutions
remember of the tiles that are worked on in turn, and what is live in the hungriest layer.

Units: latents (_lat), bytes; elements are values of the type that is computed in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import nn

from .tiles import STRIDE_PX, Layer, Span, TilePlan, describe, inputs, lower, spans, upper

MIN_SIDE_LAT = 8  # no tile chosen here is smaller
FRAMES_SIDE_LAT = 16  # below this, halos cost more than a scratch file


def plan_tiles(
    vae: nn.Module,
    frame_lat: tuple[int, int],
    budget_bytes: int,
    element_bytes: int = 4,
    side_lat: int = 0,
    encodes: bool = False,
) -> TilePlan:
    """The quickest plan of a decode (or encode) within the budget; if none is, of those that need
    least.

    `side_lat` above 0 fixes the side of the tiles. Frames outermost wherever that fits.
    """
    layers = describe((lower if encodes else upper)(vae))
    cuts = [_cuts(layers, size, side_lat, encodes) for size in frame_lat]
    base = _frame_elements(vae, frame_lat)
    plans = []
    for high in cuts[0]:
        for wide in cuts[1]:
            work, past, all_past, live = _elements(layers, high, wide)
            fixed = side_lat > 0 or min(high.side, wide.side) >= FRAMES_SIDE_LAT
            whole = high.side >= frame_lat[0] and wide.side >= frame_lat[1]
            if fixed or whole:
                peak = (base + all_past + live) * element_bytes
                plans.append(
                    (peak, 0, work, TilePlan(frame_lat, (high.side, wide.side), "frames", peak))
                )
            if not whole:
                peak = max(base, past + live) * element_bytes
                plans.append(
                    (peak, 1, work, TilePlan(frame_lat, (high.side, wide.side), "tiles", peak))
                )
    limit = max(budget_bytes, min(entry[0] for entry in plans))
    return min((entry for entry in plans if entry[0] <= limit), key=lambda entry: entry[1:3])[3]


def smaller(
    vae: nn.Module, plan: TilePlan, element_bytes: int = 4, encodes: bool = False
) -> TilePlan | None:
    """The quickest plan that needs half as much, or of less those that need least; None: no less.

    Another plan's pixels are the same to float rounding.
    """
    budget = plan.peak_bytes // 2
    less = plan_tiles(vae, plan.frame_lat, budget, element_bytes, encodes=encodes)
    return less if less.peak_bytes < plan.peak_bytes else None


class _Cut(NamedTuple):
    """One axis cut into tiles of a side (in latents): rows at each layer, of the largest tile and
    of all."""

    side: int
    largest: list[int]
    total: list[int]


def _cuts(layers: Sequence[Layer], size: int, side_lat: int, encodes: bool) -> list[_Cut]:
    most = max(1, size // MIN_SIDE_LAT)
    sides = {-(-size // parts) for parts in range(1, most + 1)}
    if side_lat:
        sides = {min(side_lat, size)}
    given, result = (STRIDE_PX, 1) if encodes else (1, STRIDE_PX)  # rows a latent
    found = []
    for side in sorted(sides, reverse=True):
        owns = [Span(*(result * n for n in own)) for own in spans(size, side)]
        each = [[s.size for s in inputs(layers, own, given * size)] for own in owns]
        found.append(_Cut(side, [max(rows) for rows in zip(*each)], [sum(r) for r in zip(*each)]))
    return found


def _elements(layers: Sequence[Layer], high: _Cut, wide: _Cut) -> tuple[int, int, int, int]:
    """(multiply-adds of all tiles, past of one tile, past of all, most live in one tile)."""
    work = past = all_past = live = 0
    for i, layer in enumerate(layers):
        largest = high.largest[i] * wide.largest[i]
        total = high.total[i] * wide.total[i]
        kept, macs, held = _layer_elements(layer)
        work += macs * total
        past += kept * largest
        all_past += kept * total
        live = max(live, held * largest)
    return work, past, all_past, live


def _layer_elements(layer: Layer) -> tuple[int, int, int]:
    """(kept for the next chunk, multiply-adds, most live at once) for each pixel of the input."""
    t, c, d, after = layer.frames, layer.c_in, layer.c_out, layer.frames_out
    if layer.up == 2:
        held = after * c + 4 * after * (c + 2 * d)  # input, enlarged input, result and its copy
        kept = 2 * c if after > t else 0
        return kept, 4 * after * 9 * c * d + (kept and t * 3 * 2 * c * c), held
    if layer.down == 2:
        held = 2 * t * c + t * d // 2  # input and its padded copy, result and its copy
        kept = c // 4 if after < t else 0
        return kept, t * 9 * c * d // 4 + (kept and after * 3 * c * c // 4), held
    if layer.before == 1:  # the decoder's head, the encoder's first layer
        return 2 * c, t * 27 * c * d, 3 * t * c + (t + 2) * c + 2 * t * d
    skip = 0 if c == d else t * d
    first = 2 * t * c + (t + 2) * c + 2 * t * d
    second = t * c + t * d + (t + 2) * d + 2 * t * d
    return 2 * (c + d), t * 27 * (c * d + d * d), skip + max(first, second)


def _frame_elements(vae: nn.Module, frame_lat: tuple[int, int]) -> int:
    """Whole frames at latent size: the middle block's past and attention, and a chunk's pixels.

    Both halves of the VAE have the same.
    """
    c = vae.decoder.conv1.out_channels
    past, attention, pixels = 8 * c + 32, 10 * c, 4 * 3 * STRIDE_PX**2
    return frame_lat[0] * frame_lat[1] * (past + attention + pixels)
