"""The way of a decode through groups of tiles and latent frames, from any place on it.

A plan in the order "frames" has one group: all tiles, a latent frame after another. In the order
"tiles" each tile is a group, and before them goes the group -1: the middle block's output of all
frames, parked in `Features`. A place, with what the causal convolutions remember there, is all that
a decode needs to go on from it to the same bits.

Shapes: C channels, T frames of a chunk, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from .causal import Past, run
from .decode_files import Features
from .heap import give_back
from .tiles import STRIDE_PX, Span, Tile, TilePlan, TileWork, upper

OnPart = Callable[[int, int], None]  # (done, total); may raise to cancel


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


class Stop(NamedTuple):
    """The groups before this one are done, and of this one so many latent frames.

    `pasts`: of whole frames (in group -1 and in the order "frames"), then of the group's tiles.
    """

    group: int
    frame: int
    pasts: Sequence[Past] = ()


BEGIN = Stop(-1, 0)


def frames_px(t_lat: int) -> int:
    """Frames of a video of so many latent frames."""
    return max(0, 4 * (t_lat - 1) + 1)


def parts(plan: TilePlan, t_lat: int) -> int:
    """How often a decode reports: once a tile and latent frame, and tile by tile once a whole frame
    before."""
    return (plan.count + (plan.order == "tiles")) * t_lat


def parts_before(plan: TilePlan, t_lat: int, stop: Stop) -> int:
    """How often it has reported by then."""
    if plan.order == "tiles":
        return (stop.group + 1) * t_lat + stop.frame
    return plan.count * (t_lat if stop.group > 0 else stop.frame)


def walk(
    vae: nn.Module,
    latent_16THW: Tensor,
    plan: TilePlan,
    features: Features | None,
    on_part: OnPart | None = None,
    start: Stop = BEGIN,
    on_stop: Callable[[Stop], None] | None = None,
) -> Iterator[Block]:
    """`decode_blocks` from any place: `start` is a stop that `on_stop` was told of.

    It is told once a latent frame and group of tiles, when the caller is done with the blocks up to
    there. `features`: of plans that go tile by tile; what they hold goes with the stop.
    """
    t = latent_16THW.shape[1]
    done = parts_before(plan, t, start)

    def report() -> None:
        nonlocal done
        done += 1
        if on_part is not None:
            on_part(done, parts(plan, t))

    def block(number: int, tile: Tile, work: TileWork, part_TCHW: Tensor) -> Block:
        pixels = work.chunk(part_TCHW, first=number == 0)
        report()
        return Block(frames_px(number), tile, pixels)

    def stop(group: int, number: int, pasts: Sequence[Past]) -> None:
        if on_stop is not None:
            on_stop(Stop(group + 1, 0) if number == t else Stop(group, number, pasts))

    def begin(group: int, pasts: Sequence[Past]) -> int:
        """The first latent frame to do of this group; its pasts are then what they were."""
        if group != start.group or start.frame == 0:
            return 0
        for past, known in zip(pasts, start.pasts, strict=True):
            past.update(known)
        return start.frame

    tiles, lower = list(plan.tiles()), Past()
    if plan.order == "frames":
        works = [_work(vae, tile, plan) for tile in tiles]
        pasts = [lower, *(work.past for work in works)]
        if start.group > 0:
            return
        for number, x_TCHW in _features(vae, latent_16THW, lower, begin(0, pasts)):
            for tile, work in zip(tiles, works, strict=True):
                yield block(number, tile, work, work.cut(x_TCHW))
            stop(0, number + 1, pasts)
        return
    assert features is not None
    if start.group < 0:
        for number, x_TCHW in _features(vae, latent_16THW, lower, begin(-1, [lower])):
            features.put(number, x_TCHW)
            report()
            stop(-1, number + 1, [lower])
    for group in range(max(0, start.group), len(tiles)):
        work = _work(vae, tiles[group], plan)  # the last tile's past is let go of
        for number in range(begin(group, [work.past]), t):
            part_TCHW = features.get(number, *work.slices).to(latent_16THW.device)
            yield block(number, tiles[group], work, part_TCHW)
            stop(group, number + 1, [work.past])
        work.past.clear()
        give_back()


def _work(vae: nn.Module, tile: Tile, plan: TilePlan) -> TileWork:
    rows, columns = (Span(STRIDE_PX * s.start, STRIDE_PX * s.stop) for s in tile)
    return TileWork(upper(vae), (rows, columns), plan.frame_lat)


def _features(
    vae: nn.Module, latent_16THW: Tensor, past: Past, begin: int
) -> Iterator[tuple[int, Tensor]]:
    """Whole frames up to and with the middle block, [1, C, h, w] of each latent frame in turn."""
    layers = [vae.conv2, vae.decoder.conv1, *vae.decoder.middle]
    for number in range(begin, latent_16THW.shape[1]):
        x_TCHW = latent_16THW[:, number : number + 1].transpose(0, 1)
        yield number, run(layers, x_TCHW, past, first=number == 0)
