"""Decode a Wan2.1 latent video exactly, one latent frame and one tile at a time.

Time is never tiled: what each causal convolution remembers is carried (`causal`). The middle block
attends over whole frames, so everything up to it runs on whole frames at latent size; the
upsampling stages and the head run in tiles (`tiles`). Source: DESIGN section 6.

Shapes: B batch, C channels, T frames of a chunk, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .causal import Past, run
from .scratch import Scratch
from .tiles import STRIDE_PX, Span, Tile, TilePlan, TileWork, upper

OnPart = Callable[[int, int], None]  # (done, total); may raise to cancel
DTYPES = {8: torch.uint8, 10: torch.uint16}  # bits a channel -> what holds them


class Block(NamedTuple):
    """Pixels of one tile in consecutive frames, about -1..1."""

    frame: int
    tile: Tile
    pixels_T3HW: Tensor

    @property
    def place(self) -> tuple[slice, slice, slice]:
        """Frames, rows and columns of the video."""
        rows, columns = (slice(STRIDE_PX * s.start, STRIDE_PX * s.stop) for s in self.tile)
        return slice(self.frame, self.frame + self.pixels_T3HW.shape[0]), rows, columns


def frames_px(t_lat: int) -> int:
    """Frames of a video of so many latent frames."""
    return max(0, 4 * (t_lat - 1) + 1)


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
    """-> whole frames [T, H, W, 3] in order, as integers of `bits` (8: uint8, 10: uint16).

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
            yield whole
        return
    frames = frames_px(latent_16THW.shape[1])
    with _Pixels(plan, frames, bits, folder) as parked:
        for block in blocks:
            parked.put(block)
        for number in range(frames):
            yield parked.frame(number)


def parts(plan: TilePlan, t_lat: int) -> int:
    """How often a decode reports: once a tile and latent frame, and once a whole frame before."""
    return (plan.count + (plan.order == "tiles")) * t_lat


def quantised(pixels_T3HW: Tensor, bits: int) -> Tensor:
    """About -1..1 -> integers [T, H, W, 3] on the CPU, rounded to the nearest."""
    top = 2**bits - 1
    levels = pixels_T3HW.float().add(1).mul_(top / 2).round_().clamp_(0, top)
    return levels.to(DTYPES[bits]).movedim(1, -1).cpu().contiguous()


def decode_blocks(
    vae: nn.Module,
    latent_16THW: Tensor,
    plan: TilePlan,
    folder: Path | str | None,
    on_part: OnPart | None = None,
) -> Iterator[Block]:
    """The video's tiles in the plan's order: all of a latent frame, or all frames of a tile."""
    done, t = 0, latent_16THW.shape[1]

    def report() -> None:
        nonlocal done
        done += 1
        if on_part is not None:
            on_part(done, parts(plan, t))

    def block(number: int, tile: Tile, part_TCHW: Tensor) -> Block:
        pixels = works[tile].chunk(part_TCHW, first=number == 0)
        report()
        return Block(frames_px(number), tile, pixels)

    if plan.order == "frames":
        works = {tile: _work(vae, tile, plan) for tile in plan.tiles()}
        for number, x_TCHW in enumerate(_features(vae, latent_16THW)):
            for tile, work in works.items():
                yield block(number, tile, work.cut(x_TCHW))
        return
    if folder is None:
        raise ValueError("A plan that goes tile by tile needs a folder for its scratch file.")
    with _Features(vae, plan, t, latent_16THW.dtype, folder) as features:
        for number, x_TCHW in enumerate(_features(vae, latent_16THW)):
            features.put(number, x_TCHW)
            report()
        for tile in plan.tiles():
            works = {tile: _work(vae, tile, plan)}  # the last tile's past is let go of
            for number in range(t):
                part_TCHW = features.get(number, *works[tile].slices).to(latent_16THW.device)
                yield block(number, tile, part_TCHW)


def _work(vae: nn.Module, tile: Tile, plan: TilePlan) -> TileWork:
    rows, columns = (Span(STRIDE_PX * s.start, STRIDE_PX * s.stop) for s in tile)
    return TileWork(upper(vae), (rows, columns), plan.frame_lat)


def _features(vae: nn.Module, latent_16THW: Tensor) -> Iterator[Tensor]:
    """Whole frames up to and with the middle block, [1, C, h, w] of each latent frame in turn."""
    layers, past = [vae.conv2, vae.decoder.conv1, *vae.decoder.middle], Past()
    for number in range(latent_16THW.shape[1]):
        x_TCHW = latent_16THW[:, number : number + 1].transpose(0, 1)
        yield run(layers, x_TCHW, past, first=number == 0)


class _Features(Scratch):
    """The middle block's output, a latent frame after another, as [h, C, w]."""

    def __init__(self, vae, plan: TilePlan, t: int, dtype: torch.dtype, folder) -> None:
        self._h, self._w = plan.frame_lat
        self._c, self._dtype = vae.decoder.conv1.out_channels, dtype
        self._row = self._c * self._w * dtype.itemsize  # bytes
        super().__init__(folder, t * self._h * self._row)

    def put(self, number: int, x_1CHW: Tensor) -> None:
        self.write(number * self._h * self._row, x_1CHW[0].transpose(0, 1))

    def get(self, number: int, rows: slice, columns: slice) -> Tensor:
        shape = (rows.stop - rows.start, self._c, self._w)
        x_HCW = self.read((number * self._h + rows.start) * self._row, shape, self._dtype)
        return x_HCW[..., columns].transpose(0, 1)[None]


class _Pixels(Scratch):
    """Finished pixels as integers: every tile's frames one after another."""

    def __init__(self, plan: TilePlan, frames: int, bits: int, folder) -> None:
        self._bits, self._tiles = bits, list(plan.tiles())
        self._dtype = DTYPES[bits]
        self._size = tuple(STRIDE_PX * n for n in plan.frame_lat)
        self._starts, end = {}, 0
        for tile in self._tiles:
            self._starts[tile] = end
            end += frames * self._bytes(tile)
        super().__init__(folder, end)

    def _bytes(self, tile: Tile) -> int:
        """A frame's, of this tile."""
        area = tile.rows.size * tile.columns.size * STRIDE_PX**2
        return 3 * area * self._dtype.itemsize

    def put(self, block: Block) -> None:
        offset = self._starts[block.tile] + block.frame * self._bytes(block.tile)
        self.write(offset, quantised(block.pixels_T3HW, self._bits))

    def frame(self, number: int) -> Tensor:
        """-> [1, H, W, 3]"""
        whole = torch.empty(1, *self._size, 3, dtype=self._dtype)
        for tile in self._tiles:
            offset = self._starts[tile] + number * self._bytes(tile)
            rows, columns = (slice(STRIDE_PX * s.start, STRIDE_PX * s.stop) for s in tile)
            shape = (STRIDE_PX * tile.rows.size, STRIDE_PX * tile.columns.size, 3)
            whole[0, rows, columns] = self.read(offset, shape, self._dtype)
        return whole
