"""What an encode tile by tile parks on disk: its frames, and the tiles' results.

Shapes: C channels, T frames of a chunk, H, W rows and columns of pixels, h, w of latents.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from .scratch import Scratch
from .tiles import Tile, TilePlan


class Frames:
    """`count` frames of `size` (h, w) pixels, in the type of the first that is put."""

    def __init__(self, folder: Path | str, count: int, size: tuple[int, int]) -> None:
        self._folder, self._count, self._size = folder, count, size
        self._file: Scratch | None = None

    def __enter__(self) -> Frames:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.__exit__()

    def put(self, number: int, frames_THW3: Tensor) -> None:
        """From this number on. ValueError for frames of another size, or too many."""
        t, *shape = frames_THW3.shape
        if shape != [*self._size, 3] or number + t > self._count:
            h, w = self._size
            raise ValueError(
                f"Frame {number} is of the shape {shape}; {self._count} frames of {[h, w, 3]} were "
                "to be encoded."
            )
        if self._file is None:
            self._dtype = frames_THW3.dtype
            self._row = 3 * self._size[1] * self._dtype.itemsize  # bytes
            self._file = Scratch(self._folder, self._count * self._size[0] * self._row)
        self._file.write(number * self._size[0] * self._row, frames_THW3)

    def get(self, start: int, stop: int, rows: slice, columns: slice) -> Tensor:
        """These frames' rows and columns, [T, H, W, 3]."""
        assert self._file is not None
        shape, found = (rows.stop - rows.start, self._size[1], 3), []
        for number in range(start, stop):
            offset = (number * self._size[0] + rows.start) * self._row
            found.append(self._file.read(offset, shape, self._dtype)[:, columns])
        return torch.stack(found)


class Parts(Scratch):
    """A latent frame's features of each tile: every tile's frames one after another."""

    def __init__(
        self, folder: Path | str, plan: TilePlan, t_lat: int, channels: int, dtype: torch.dtype
    ) -> None:
        self._plan, self._c, self._dtype = plan, channels, dtype
        self._starts, end = {}, 0
        for tile in plan.tiles():
            self._starts[tile] = end
            end += t_lat * self._bytes(tile)
        super().__init__(folder, end)

    def _bytes(self, tile: Tile) -> int:
        """A latent frame's, of this tile."""
        return self._c * tile.rows.size * tile.columns.size * self._dtype.itemsize

    def put(self, number: int, tile: Tile, x_1Chw: Tensor) -> None:
        self.write(self._starts[tile] + number * self._bytes(tile), x_1Chw)

    def get(self, number: int) -> Tensor:
        """-> [1, C, h, w] of the whole frame."""
        whole = torch.empty(1, self._c, *self._plan.frame_lat, dtype=self._dtype)
        for tile, start in self._starts.items():
            rows, columns = (slice(*span) for span in tile)
            shape = (self._c, tile.rows.size, tile.columns.size)
            offset = start + number * self._bytes(tile)
            whole[0, :, rows, columns] = self.read(offset, shape, self._dtype)
        return whole
