"""What a decode parks on disk: the middle block's output of whole frames, and finished pixels.

Shapes: C channels, T frames of a chunk, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from .scratch import Scratch
from .tiles import STRIDE_PX, Tile, TilePlan

DTYPES = {8: torch.uint8, 10: torch.uint16}  # bits a channel -> what holds them


def quantised(pixels_T3HW: Tensor, bits: int) -> Tensor:
    """About -1..1 -> integers [T, H, W, 3] on the CPU, rounded to the nearest."""
    top = 2**bits - 1
    levels = pixels_T3HW.float().add(1).mul_(top / 2).round_().clamp_(0, top)
    return levels.to(DTYPES[bits]).movedim(1, -1).cpu().contiguous()


class Features(Scratch):
    """The middle block's output, a latent frame after another, as [h, C, w]."""

    def __init__(
        self, vae: nn.Module, plan: TilePlan, latent_16THW: Tensor, folder: Path | str,
        name: str | None = None,
    ) -> None:  # fmt: skip
        self._h, self._w = plan.frame_lat
        self._c, self._dtype = vae.decoder.conv1.out_channels, latent_16THW.dtype
        self._row = self._c * self._w * self._dtype.itemsize  # bytes
        super().__init__(folder, latent_16THW.shape[1] * self._h * self._row, name)

    def put(self, number: int, x_1CHW: Tensor) -> None:
        self.write(number * self._h * self._row, x_1CHW[0].transpose(0, 1))

    def get(self, number: int, rows: slice, columns: slice) -> Tensor:
        shape = (rows.stop - rows.start, self._c, self._w)
        x_HCW = self.read((number * self._h + rows.start) * self._row, shape, self._dtype)
        return x_HCW[..., columns].transpose(0, 1)[None]


class Pixels(Scratch):
    """Finished pixels of `frames` frames as integers: every tile's frames one after another."""

    def __init__(
        self, plan: TilePlan, frames: int, bits: int, folder: Path | str, name: str | None = None
    ) -> None:
        self._count, self._bits, self._tiles = frames, bits, list(plan.tiles())
        self._dtype = DTYPES[bits]
        self._size = tuple(STRIDE_PX * n for n in plan.frame_lat)
        self._starts, end = {}, 0
        for tile in self._tiles:
            self._starts[tile] = end
            end += frames * self._bytes(tile)
        super().__init__(folder, end, name)

    def _bytes(self, tile: Tile) -> int:
        """A frame's, of this tile."""
        area = tile.rows.size * tile.columns.size * STRIDE_PX**2
        return 3 * area * self._dtype.itemsize

    def put(self, frame: int, tile: Tile, pixels_T3HW: Tensor) -> None:
        """Of this tile, from this frame on."""
        offset = self._starts[tile] + frame * self._bytes(tile)
        self.write(offset, quantised(pixels_T3HW, self._bits))

    def frames(self) -> Iterator[Tensor]:
        """-> [1, H, W, 3] each"""
        for number in range(self._count):
            whole = torch.empty(1, *self._size, 3, dtype=self._dtype)
            for tile in self._tiles:
                offset = self._starts[tile] + number * self._bytes(tile)
                rows, columns = (slice(STRIDE_PX * s.start, STRIDE_PX * s.stop) for s in tile)
                shape = (STRIDE_PX * tile.rows.size, STRIDE_PX * tile.columns.size, 3)
                whole[0, rows, columns] = self.read(offset, shape, self._dtype)
            yield whole
