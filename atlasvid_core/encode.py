"""Encode a video of any length exactly, four frames and one tile at a time.

Wan's encoder is causal in time like its decoder: what each convolution and each halving of time
remembers is carried (`causal`). The stages that shrink the picture run in tiles (`tiles`); the
middle block, which attends over whole frames, and the head run on whole frames at latent size.

A plan in the order "frames" takes all tiles of four frames before the next four: frames are read
once, but the past of every tile is held, at 4K some 20 GB in 16 bits. In the order "tiles"
(`encode_parked`) only one tile's is; the frames, and what the middle block is to take, wait in
scratch files meanwhile. Source: DESIGN section 6.

Shapes: C channels, T frames of a chunk, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from .causal import Past, run
from .encode_files import Frames, Parts
from .heap import give_back
from .tiles import STRIDE_PX, Span, TilePlan, TileWork, describe, lower
from .walk import frames_px

OnPart = Callable[[int], None]  # parts done so far; may raise to cancel


def parts(plan: TilePlan, t_lat: int) -> int:
    """How often an encode by this plan reports: once a tile and latent frame, and tile by tile as
    often again for parking the frames and for the middle block."""
    return (plan.count + 2 * (plan.order == "tiles")) * t_lat


def encode_frames(
    vae: nn.Module,
    frames: Iterable[Tensor],
    plan: TilePlan | None = None,
    on_part: OnPart | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """Frames [H, W, 3], 4k + 1 of them -> raw latent means [1, 16, k + 1, H/8, W/8].

    Frames are floats in -1..1 or bytes; they come from any iterator and are let go of four at a
    time. Work is done in the type and on the device of `like` (None: the frames' own). `plan`, in
    the order "frames", cuts them; without one they stay whole.
    """
    latents: list[Tensor] = []
    past, works, done = Past(), None, 0
    for x_TCHW in _chunks(frames, like):
        works = works or _works(vae, (x_TCHW.shape[2], x_TCHW.shape[3]), plan)
        rows: dict[Span, list[Tensor]] = {}
        for (span, _), work in works.items():
            rows.setdefault(span, []).append(work.chunk(work.cut(x_TCHW), first=not latents))
            done += 1
            if on_part is not None:
                on_part(done)
        whole = torch.cat([torch.cat(row, dim=3) for row in rows.values()], dim=2)
        latents.append(_latent(vae, whole, past, first=not latents))
    return torch.stack(latents, dim=2).contiguous()


def encode_parked(
    vae: nn.Module,
    frames: Iterable[Tensor],
    t_lat: int,
    plan: TilePlan,
    folder: Path | str,
    like: Tensor,
    on_part: OnPart | None = None,
) -> Tensor:
    """`encode_frames` of the frames of `t_lat` latents, one tile after another.

    `folder` takes the frames in the type that they come in, and the tiles' results until the last
    tile is done; ValueError where it has no room.
    """
    size = (STRIDE_PX * plan.frame_lat[0], STRIDE_PX * plan.frame_lat[1])
    channels, done = describe(lower(vae))[-1].c_out, 0

    def report() -> None:
        nonlocal done
        done += 1
        if on_part is not None:
            on_part(done)

    with (
        Frames(folder, frames_px(t_lat), size) as parked,
        Parts(folder, plan, t_lat, channels, like.dtype) as found,
    ):
        for chunk in _grouped(frames):
            parked.put(frames_px(done), chunk)
            report()
        if done != t_lat:
            raise ValueError(
                f"{frames_px(t_lat)} frames were to be encoded, {frames_px(done)} came."
            )
        for tile, work in _works(vae, size, plan).items():
            for number in range(t_lat):
                given = parked.get(frames_px(number), frames_px(number + 1), *work.slices)
                found.put(number, tile, work.chunk(_floats(given, like), first=number == 0))
                report()
            work.past.clear()
            give_back()
        latents, past = [], Past()
        for number in range(t_lat):
            whole = found.get(number).to(like.device)
            latents.append(_latent(vae, whole, past, first=number == 0))
            report()
    return torch.stack(latents, dim=2).contiguous()


def _latent(vae: nn.Module, x_1CHW: Tensor, past: Past, first: bool) -> Tensor:
    """All tiles' results together -> the latent frame's means [1, 16, h, w]."""
    above = [*vae.encoder.middle, vae.encoder.head, vae.conv1]
    return run(above, x_1CHW, past, first).chunk(2, dim=1)[0]


def _works(vae: nn.Module, size: tuple[int, int], plan: TilePlan | None) -> dict:
    """Tile -> its TileWork, row by row."""
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
    return {tile: TileWork(lower(vae), tile, size) for tile in plan.tiles()}


def _chunks(frames: Iterable[Tensor], like: Tensor | None) -> Iterator[Tensor]:
    """One frame, then four at a time, as floats [T, 3, H, W]."""
    return (_floats(chunk, like) for chunk in _grouped(frames))


def _floats(frames_THW3: Tensor, like: Tensor | None) -> Tensor:
    """Bytes or floats -> [T, 3, H, W] in -1..1, of the type and on the device of `like`."""
    if frames_THW3.dtype == torch.uint8:
        frames_THW3 = frames_THW3.float() / 127.5 - 1
    if like is not None:
        frames_THW3 = frames_THW3.to(like)
    return frames_THW3.movedim(-1, 1)


def _grouped(frames: Iterable[Tensor]) -> Iterator[Tensor]:
    """One frame, then four at a time, [T, H, W, 3]."""
    held: list[Tensor] = []
    need, seen = 1, 0
    for frame in frames:
        held.append(frame)
        seen += 1
        if len(held) == need:
            yield torch.stack(held)
            held, need = [], 4
    if held or not seen:
        raise ValueError(
            f"A video of {seen} frames cannot be encoded: Wan2.1 takes 4k + 1 frames (1, 5, 9, "
            f"..., 81). Drop the last {len(held)} frames, or repeat the last one."
        )
