"""Decode a Wan2.1 latent video exactly, one latent frame and one tile at a time.

Time is never tiled: what each causal convolution remembers is carried (`causal`). The middle block
attends over whole frames, so everything up to it runs on whole frames at latent size; the
upsampling stages and the head run in tiles (`tiles`). Source: DESIGN section 6.

Shapes: B batch, C channels, T frames of a chunk, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import torch
from torch import Tensor, nn

from .decode_files import DTYPES, Features, Pixels, quantised
from .tiles import STRIDE_PX, TilePlan
from .walk import Block, OnPart, frames_px, walk


def whole_frames(latent: Tensor) -> TilePlan:
    """One tile: the whole frame."""
    size = (latent.shape[-2], latent.shape[-1])
    return TilePlan(size, size, "frames", 0)


def decode_frames(
    vae: nn.Module,
    latent: Tensor,
    on_part: OnPart | None = None,
    plan: TilePlan | None = None,
    folder: Path | str | None = None,
) -> Tensor:
    """Raw latents [B, 16, t, h, w] -> frames [B, 4(t - 1) + 1, 8h, 8w, 3], about -1..1.

    `on_part(done, total)` is called `parts` times a video and may raise to cancel. `folder` takes
    the scratch file of plans that go tile by tile.
    """
    b, _, t, h, w = latent.shape
    plan = plan or whole_frames(latent)
    frames = latent.new_empty(b, frames_px(t), STRIDE_PX * h, STRIDE_PX * w, 3)
    for video, out in zip(latent, frames, strict=True):
        for block in decode_blocks(vae, video, plan, folder, on_part):
            out[block.place] = block.pixels_T3HW.movedim(1, -1)
    return frames


def decode_pixels(
    vae: nn.Module,
    latent_16THW: Tensor,
    plan: TilePlan,
    folder: Path | str,
    bits: int,
    on_part: OnPart | None = None,
) -> Iterator[Tensor]:
    """-> frames [1, H, W, 3] in order, as integers of `bits` (8: uint8, 10: uint16).

    Memory is the plan's, however long the video: tile by tile, finished pixels are parked in
    `folder` at this depth until the last tile is done.
    """
    blocks = decode_blocks(vae, latent_16THW, plan, folder, on_part)
    if plan.order == "frames":
        for first in blocks:
            size = (STRIDE_PX * n for n in plan.frame_lat)
            whole = torch.empty(first.pixels_T3HW.shape[0], *size, 3, dtype=DTYPES[bits])
            for block in chain([first], islice(blocks, plan.count - 1)):
                _, rows, columns = block.place
                whole[:, rows, columns] = quantised(block.pixels_T3HW, bits)
            yield from whole.split(1)
        return
    with Pixels(plan, frames_px(latent_16THW.shape[1]), bits, folder) as parked:
        for block in blocks:
            parked.put(*block)
        yield from parked.frames()


def decode_blocks(
    vae: nn.Module,
    latent_16THW: Tensor,
    plan: TilePlan,
    folder: Path | str | None,
    on_part: OnPart | None = None,
) -> Iterator[Block]:
    """The video's tiles in the plan's order: all of a latent frame, or all frames of a tile."""
    if plan.order == "frames":
        yield from walk(vae, latent_16THW, plan, None, on_part)
        return
    if folder is None:
        raise ValueError("A plan that goes tile by tile needs a folder for its scratch file.")
    with Features(vae, plan, latent_16THW, folder) as features:
        yield from walk(vae, latent_16THW, plan, features, on_part)
