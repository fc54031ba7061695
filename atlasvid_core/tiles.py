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

STRIDE_PX = 8  # pixels a latent, both ways
MIN_SIDE_LAT = 8  # no tile chosen here is smaller
FRAMES_SIDE_LAT = 16  # below this, halos cost more than a scratch file


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
    frames: int  # of a chunk of one latent frame, at its input; decoder only
    doubles_time: bool

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
    """How a decode is cut. `peak_bytes`: most that is held at once beside model and result."""

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
    found, frames = [], 1
    for layer in layers:
        if hasattr(layer, "to_qkv"):
            raise ValueError(
                "This VAE has attention between its resampling stages; only VAEs with attention "
                "in the middle block alone (Wan2.1's) can work in tiles."
            )
        up = down = 1
        doubles_time = False
        convs = [m for m in layer.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
        if hasattr(layer, "residual"):
            convs = [m for m in layer.residual if isinstance(m, nn.Conv3d)]
        before = after = sum(m.kernel_size[-1] // 2 for m in convs)
        if hasattr(layer, "resample"):
            convs = [layer.resample[1]]
            if halves(layer):
                down, before, after = 2, 0, 1
            else:
                up, doubles_time = 2, hasattr(layer, "time_conv")
        c_in = (layer.time_conv if doubles_time else convs[0]).in_channels
        c_out = convs[-1].out_channels
        found.append(Layer(before, after, up, down, c_in, c_out, frames, doubles_time))
        frames *= 2 if doubles_time else 1
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


def plan_tiles(
    vae: nn.Module,
    frame_lat: tuple[int, int],
    budget_bytes: int,
    element_bytes: int = 4,
    side_lat: int = 0,
) -> TilePlan:
    """The quickest plan within the budget; if none is, of those that need least.

    `side_lat` above 0 fixes the side of the tiles. Frames outermost wherever that fits.
    """
    layers = describe(upper(vae))
    cuts = [_cuts(layers, size, side_lat) for size in frame_lat]
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


def smaller(vae: nn.Module, plan: TilePlan, element_bytes: int = 4) -> TilePlan | None:
    """The quickest plan that needs half as much, or of less those that need least; None: no less.

    Another plan's pixels are the same to float rounding.
    """
    less = plan_tiles(vae, plan.frame_lat, plan.peak_bytes // 2, element_bytes)
    return less if less.peak_bytes < plan.peak_bytes else None


class _Cut(NamedTuple):
    """One axis cut into tiles of a side: rows at each layer, of the largest tile and of all."""

    side: int
    largest: list[int]
    total: list[int]


def _cuts(layers: Sequence[Layer], size: int, side_lat: int) -> list[_Cut]:
    most = max(1, size // MIN_SIDE_LAT)
    sides = {-(-size // parts) for parts in range(1, most + 1)}
    if side_lat:
        sides = {min(side_lat, size)}
    found = []
    for side in sorted(sides, reverse=True):
        owns = [Span(*(STRIDE_PX * n for n in own)) for own in spans(size, side)]
        each = [[s.size for s in inputs(layers, own, size)] for own in owns]
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
    t, c, d = layer.frames, layer.c_in, layer.c_out
    if layer.up == 2:
        after = 2 * t if layer.doubles_time else t
        held = after * c + 4 * after * (c + 2 * d)  # input, enlarged input, result and its copy
        kept = 2 * c if layer.doubles_time else 0
        return kept, 4 * after * 9 * c * d + (kept and t * 3 * 2 * c * c), held
    if layer.before == 1:  # the head
        return 2 * c, t * 27 * c * d, 3 * t * c + (t + 2) * c + 2 * t * d
    skip = 0 if c == d else t * d
    first = 2 * t * c + (t + 2) * c + 2 * t * d
    second = t * c + t * d + (t + 2) * d + 2 * t * d
    return 2 * (c + d), t * 27 * (c * d + d * d), skip + max(first, second)


def _frame_elements(vae: nn.Module, frame_lat: tuple[int, int]) -> int:
    """Whole frames at latent size: the middle block's past and attention, and a chunk's pixels."""
    c = vae.decoder.conv1.out_channels
    past, attention, pixels = 8 * c + 32, 10 * c, 4 * 3 * STRIDE_PX**2
    return frame_lat[0] * frame_lat[1] * (past + attention + pixels)
