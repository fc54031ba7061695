"""Encode a video of any length exactly, four frames and one tile at a time.

Wan's encoder is causal in time like its decoder: what each convolution and each halving of time
remembers is carried (`causal`). The stages that shrink the picture run in tiles (`tiles`), all
tiles of four frames before the next four, so frames are read once; the middle block, which attends
over whole frames, and the head run on whole frames at latent size. Source: DESIGN section 6.

Shapes: C channels, T frames of a chunk, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from .causal import Past, run
from .tiles import STRIDE_PX, Span, TilePlan, TileWork, lower


def encode_frames(
    vae: nn.Module,
    frames: Iterable[Tensor],
    plan: TilePlan | None = None,
    on_latent: Callable[[int], None] | None = None,
) -> Tensor:
    """Frames [H, W, 3] in -1..1, 4k + 1 of them -> raw latent means [1, 16, k + 1, H/8, W/8].

    `plan` cuts the frame (without one: whole frames); frames come from any iterator and are let go
    of four at a time. `on_latent(done)` is called once a latent frame and may raise to cancel.
    """
    latents = []
    for latent_1CHW in encode_chunks(vae, _chunks(frames), plan):
        latents.append(latent_1CHW)
        if on_latent is not None:
            on_latent(len(latents))
    return torch.stack(latents, dim=2).contiguous()


def encode_chunks(
    vae: nn.Module, chunks: Iterable[Tensor], plan: TilePlan | None = None
) -> Iterator[Tensor]:
    """Chunks [T, 3, H, W] of one frame, then four each -> latent means [1, 16, h, w] of each."""
    above = [*vae.encoder.middle, vae.encoder.head, vae.conv1]
    past, works = Past(), None
    for number, x_TCHW in enumerate(chunks):
        size = (x_TCHW.shape[2], x_TCHW.shape[3])
        if works is None:
            works = _works(vae, size, plan)
        first = number == 0
        rows = [torch.cat([w.chunk(w.cut(x_TCHW), first) for w in row], dim=3) for row in works]
        yield run(above, torch.cat(rows, dim=2), past, first).chunk(2, dim=1)[0]


def _works(vae: nn.Module, size: tuple[int, int], plan: TilePlan | None) -> list[list[TileWork]]:
    """Rows of tiles."""
    if size[0] % STRIDE_PX or size[1] % STRIDE_PX:
        raise ValueError(
            f"Frames of {size[1]} x {size[0]} pixels cannot be encoded: width and height must be "
            f"multiples of {STRIDE_PX}. Resize or crop the video first."
        )
    size_lat = (size[0] // STRIDE_PX, size[1] // STRIDE_PX)
    plan = plan or TilePlan(size_lat, size_lat, "frames", 0)
    if plan.frame_lat != size_lat:
        raise ValueError(
            f"The plan is for frames of {plan.frame_lat} latents, these have {size_lat} (h, w)."
        )
    rows: dict[Span, list[TileWork]] = {}
    for tile in plan.tiles():
        rows.setdefault(tile.rows, []).append(TileWork(lower(vae), tile, size))
    return list(rows.values())


def _chunks(frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """One frame, then four at a time, [T, 3, H, W]."""
    held: list[Tensor] = []
    need, seen = 1, 0
    for frame in frames:
        held.append(frame)
        seen += 1
        if len(held) == need:
            yield torch.stack(held).movedim(-1, 1)
            held, need = [], 4
    if held or not seen:
        raise ValueError(
            f"A video of {seen} frames cannot be encoded: Wan2.1 takes 4k + 1 frames (1, 5, 9, "
            f"..., 81). Drop the last {len(held)} frames, or repeat the last one."
        )
