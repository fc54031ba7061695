"""Where a frame is cut for decoding or encoding: tiles that are exactly those of the whole frame.

Each layer between the middle block and the pixels is given the rows and columns that the tile's own
part of the result depends on, read off the module: in the decoder 13 latents of halo at the first
layer, one pixel at the last. What a tile computes twice therefore shrinks with every stage, and
borders of the frame stay borders. Source: DESIGN section 6.

Units: latents (_lat), bytes. Order of work: "frames" takes the tiles of one latent frame after
another and remembers the past of every tile; "tiles" takes the frames of one tile after another and
remembers one tile's past, but wants the finished pixels kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from .causal import Past, apply, halves
from .heap import held_bytes

STRIDE_PX = 8  # pixels a latent, both ways


class Span(NamedTuple):
    """Rows (or columns) [start, stop) of a frame."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


class Tile(NamedTuple):
    """A tile's own latents."""

    rows: Span
    columns: Span


class Layer(NamedTuple):
    """What geometry and memory need to know of a layer."""

    before: int  # rows that its convolutions reach back beyond a pixel, at their own size
    after: int
    up: int  # 2: it doubles rows and columns before it convolves
    down: int  # 2: it keeps every other
    c_in: int
    c_out: int
    frames: int  # of a chunk of one latent frame, at its input
    frames_out: int

    def needed(self, out: Span, size: int) -> Span:
        """The rows of its input, of `size`, that these rows of its output depend on."""
        start = max(0, out.start * self.down - self.before)
        stop = min(size * self.up, out.stop * self.down + self.after)
        return Span(start // self.up, -(-stop // self.up))

    def kept(self, given: Span, out: Span) -> slice:
        """Where these rows of its output lie, if it was given those of its input."""
        start = given.start * self.up // self.down
        return slice(out.start - start, out.stop - start)


@dataclass(frozen=True)
class TilePlan:
    """How a decode is cut. `peak_bytes`: most that tensors take at once beside model and result."""

    frame_lat: tuple[int, int]
    tile_lat: tuple[int, int]  # the last row and column of tiles may be smaller
    order: str  # "frames" or "tiles"
    peak_bytes: int

    def tiles(self) -> Iterator[Tile]:
        for rows in spans(self.frame_lat[0], self.tile_lat[0]):
            for columns in spans(self.frame_lat[1], self.tile_lat[1]):
                yield Tile(rows, columns)

    @property
    def count(self) -> int:
        return len(list(self.tiles()))

    def held_bytes(self, on_cpu: bool) -> int:
        """What this takes of the device's memory; on a CPU with the holes of its heap."""
        return held_bytes(self.peak_bytes, self.order) if on_cpu else self.peak_bytes

    def __str__(self) -> str:
        high, wide = (STRIDE_PX * side for side in self.tile_lat)
        return f"{self.count} tiles of {wide} x {high} px, {self.order} outermost"


def spans(size: int, side: int) -> list[Span]:
    return [Span(start, min(start + side, size)) for start in range(0, size, side)]


def upper(vae: nn.Module) -> list[nn.Module]:
    """The decoder's layers above its middle block: those that work in tiles."""
    return [*vae.decoder.upsamples, vae.decoder.head]


def lower(vae: nn.Module) -> list[nn.Module]:
    """The encoder's layers below its middle block: those that work in tiles."""
    return [vae.encoder.conv1, *vae.encoder.downsamples]


def describe(layers: Sequence[nn.Module]) -> list[Layer]:
    """The geometry of the decoder's upper or the encoder's lower layers, read off the modules."""
    shrinks = any(hasattr(layer, "resample") and halves(layer) for layer in layers)
    found, frames = [], 4 if shrinks else 1
    for layer in layers:
        if hasattr(layer, "to_qkv"):
            raise ValueError(
                "This VAE has attention between its resampling stages; only VAEs with attention "
                "in the middle block alone (Wan2.1's) can work in tiles."
            )
        up = down = 1
        frames_out = frames
        convs = [m for m in layer.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
        if hasattr(layer, "residual"):
            convs = [m for m in layer.residual if isinstance(m, nn.Conv3d)]
        before = after = sum(m.kernel_size[-1] // 2 for m in convs)
        if hasattr(layer, "resample"):
            convs = [layer.resample[1]]
            if halves(layer):
                down, before, after = 2, 0, 1
            else:
                up = 2
            if hasattr(layer, "time_conv"):
                convs = [layer.time_conv, *convs] if up == 2 else convs
                frames_out = frames * up // down
        c_in, c_out = convs[0].in_channels, convs[-1].out_channels
        found.append(Layer(before, after, up, down, c_in, c_out, frames, frames_out))
        frames = frames_out
    return found


def inputs(layers: Sequence[Layer], own: Span, size: int) -> list[Span]:
    """The rows of each layer's input that `own` rows of the last output depend on, then those.

    `size`: rows of the first input.
    """
    sizes = [size]
    for layer in layers:
        sizes.append(sizes[-1] * layer.up // layer.down)
    found = [own]
    for layer, rows in zip(reversed(layers), sizes[-2::-1], strict=True):
        found.append(layer.needed(found[-1], rows))
    return found[::-1]


class TileWork:
    """One tile through these layers, chunk by chunk, with its past.

    `own` and `size` (of the first input) are rows, then columns.
    """

    def __init__(
        self, layers: Sequence[nn.Module], own: tuple[Span, Span], size: tuple[int, int]
    ) -> None:
        self._layers, self.past = layers, Past()
        known = describe(layers)
        axes = [inputs(known, span, rows) for span, rows in zip(own, size, strict=True)]
        self.slices = tuple(slice(*axis[0]) for axis in axes)  # of the first input
        self._kept = [
            tuple(layer.kept(axis[i], axis[i + 1]) for axis in axes)
            for i, layer in enumerate(known)
        ]

    def cut(self, whole_TCHW: Tensor) -> Tensor:
        """The part of a whole first input that this tile needs."""
        rows, columns = self.slices
        return whole_TCHW[..., rows, columns]

    def chunk(self, x_TCHW: Tensor, first: bool) -> Tensor:
        """`x_TCHW`: the first input, cut; chunks come in order."""
        x_TCHW = x_TCHW.contiguous()  # the same bits in either order of work
        for layer, (rows, columns) in zip(self._layers, self._kept, strict=True):
            x_TCHW = apply(layer, x_TCHW, self.past, first)[..., rows, columns]
        return x_TCHW
