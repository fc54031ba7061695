"""Which piece of a video becomes a training clip, and which its proxies: pure geometry.

Without crops a clip is the whole picture and its proxies are that, smaller and with fewer frames.
With crops it is a box, in place and time, of a larger picture, whose whole the proxies show: what
stage 2 meets at its target size. The clip's tokens then begin at `offset_tok` of the picture.
Source: paper section 3.3 and appendix B.1; DESIGN sections 4 and 8.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from ..rope import Axes, proxy_axes
from ..units import PX_MULTIPLE, VAE_STRIDE, Grid, lat_from_px, tok_from_lat
from .config import DataConfig


@dataclass(frozen=True)
class View:
    """Frames start, start + stride, ... of a picture scaled to whole (h, w), box (top, left, h, w).

    `aspect` is width over height of what the picture is cut to before it is scaled.
    """

    start: int
    stride: int
    frames: int
    whole_px: tuple[int, int]
    box_px: tuple[int, int, int, int]
    aspect: float

    @property
    def last(self) -> int:
        return self.start + (self.frames - 1) * self.stride

    @property
    def lat(self) -> Grid:
        return lat_from_px(self.frames, *self.box_px[2:])


@dataclass(frozen=True)
class Cut:
    """A clip and its proxies; `whole_tok` is what the proxies show, in tokens of the clip's scale.

    `r_t`: frames of the clip's rate to one of the proxies' (in stage 1, of the clip itself).
    """

    clip: View
    proxies: tuple[View, ...]
    r_t: int
    whole_tok: Grid
    offset_tok: Grid


def snapped(side_px: float) -> int:
    return max(PX_MULTIPLE, PX_MULTIPLE * round(side_px / PX_MULTIPLE))


def cut(stage: str, data: DataConfig, length: int, geometry: random.Random, place: random.Random):
    """A Cut of a video of `length` frames at the training rate; None where it is too short.

    `geometry` decides sizes and offsets, `place` the first frame: clips that share the first can
    share a batch.
    """
    if stage == "stage1":
        return _stage1_cut(data, length, place)
    r_t = geometry.choice(data.r_t)
    aspect, frames = data.width / data.height, data.frames
    if data.crops:
        height = PX_MULTIPLE * geometry.randint(
            -(-data.render_height[0] // PX_MULTIPLE), data.render_height[1] // PX_MULTIPLE
        )
        whole_px = (height, snapped(height * aspect))
        proxy_frames = data.proxy_frames or frames
        whole_frames = max(frames, 1 + (proxy_frames - 1) * r_t)
    else:
        whole_px, whole_frames = (data.height, data.width), frames
        proxy_frames = 1 + VAE_STRIDE.t * ((data.lat.t - 1) // r_t)
    whole_tok = tok_from_lat(lat_from_px(whole_frames, *whole_px))
    clip_tok = tok_from_lat(data.lat)
    spare = [n - m for n, m in zip(whole_tok, clip_tok, strict=True)]
    offset = Grid(*(geometry.randint(0, n) for n in spare))
    heights = sorted({geometry.choice(_heights(data)) for _ in range(data.proxies)})
    if length < whole_frames:
        return None
    start = place.randint(0, length - whole_frames)
    box = (PX_MULTIPLE * offset.h, PX_MULTIPLE * offset.w, data.height, data.width)
    clip = View(start + VAE_STRIDE.t * offset.t, 1, frames, whole_px, box, aspect)
    proxies = tuple(
        _whole(start, r_t, proxy_frames, (h, snapped(h * aspect)), aspect) for h in heights
    )
    return Cut(clip, proxies, r_t, whole_tok, offset)


def _stage1_cut(data: DataConfig, length: int, place: random.Random) -> Cut | None:
    r_t, size_px = data.r_t[0], (data.height, data.width)
    spare = length - 1 - (data.frames - 1) * r_t
    if spare < 0:
        return None
    clip = _whole(place.randint(0, spare), r_t, data.frames, size_px, data.width / data.height)
    return Cut(clip, (), r_t, tok_from_lat(data.lat), Grid(0, 0, 0))


def _heights(data: DataConfig) -> list[int]:
    low, high = data.proxy_height
    return list(range(snapped(low), snapped(high) + 1, PX_MULTIPLE))


def _whole(start: int, stride: int, frames: int, px: tuple[int, int], aspect: float) -> View:
    return View(start, stride, frames, px, (0, 0, *px), aspect)


def seen_axes(
    proxy_tok: Grid, whole_tok: Grid, offset_tok: Grid, alignment: str, r_t: float
) -> Axes:
    """Where a proxy of the whole picture sits among the tokens of a crop that begins at an offset.

    The crop counts its tokens from 0, so the proxy moves by minus the offset: RoPE and alignment
    depend on differences alone.
    """
    axes = proxy_axes(proxy_tok, whole_tok, alignment, r_t)
    return Axes(axes.t - offset_tok.t, axes.h - offset_tok.h, axes.w - offset_tok.w)
