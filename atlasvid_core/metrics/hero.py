"""Judges of the tiny world: one hero, the right one, on its way. What a scene's words promise.

A video is looked at in 64 x 64 cells, where fine texture and noise have averaged out. A cell is
the hero's where its colour is none that sky or hills have in that row; what hangs together is one
object. Nothing is asked of the scene's free phases, so videos of a generator can be judged by
their prompt alone.

Shapes: B videos, C colours, T frames, H, W rows and columns of cells. Videos are in -1..1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from ..tiny.scenery import COLOURS, SCHEMES, SHAPES
from ..tiny.world import CROSSING_FRAMES, PATH_FROM_U, PATH_TO_U, Scenes
from .pixels import scaled_down

CELLS = 64
HILL_TOP_V = 0.52  # no hill reaches higher
HILL_LIGHT = (0.55, 1.3)  # furrows and shade, darkest and brightest
UNLIKE = 0.17  # distance of colours, 0..1 each, from which a cell is no background
HALO = 0.45  # of an object's own strength: where its soft edge ends
SPECK = 0.12  # of the hero's area: smaller pieces are no second object
AREAS = (0.091, 0.082, 0.058)  # of ball, box and diamond, of the picture
SPEED = (PATH_TO_U - PATH_FROM_U) / CROSSING_FRAMES  # picture widths per full-rate frame


@dataclass(frozen=True)
class Sight:
    """What is seen, frame by frame; NaN where there is no object.

    objects [B, T] int64 · u, v, wide, high, area [B, T]: of the largest object, its centre, the
    spread of its cells (standard deviations) and its area, in parts of the picture · cut [B, T]
    bool: it touches the picture's border · votes [B, T, 8]: shares of its cells by colour.
    """

    objects: Tensor
    u: Tensor
    v: Tensor
    wide: Tensor
    high: Tensor
    area: Tensor
    cut: Tensor
    votes: Tensor


def unlike_background(scheme: Tensor, small: Tensor) -> Tensor:
    """How far cells' colours [B, 3, T, H, W] (0..1) are from sky and hills of the scheme [B]."""
    v = (torch.arange(CELLS) + 0.5) / CELLS
    top, low, far, near = torch.tensor(list(SCHEMES.values()))[scheme].unbind(1)  # [B, C]
    sky = top[..., None] + (low - top)[..., None] * (v / 0.7).clamp(0, 1)  # [B, C, H]
    unlike = (small - sky[:, :, None, :, None]).square().sum(1)
    first = int((v < HILL_TOP_V).sum())
    ground = small[:, :, :, first:]
    for hill in (far, near):
        for share in (0.0, 0.3, 0.6):  # the hill itself, and its soft border before the sky
            mist = share * (low - hill)
            away = _from_segment(ground, hill * HILL_LIGHT[0] + mist, hill * HILL_LIGHT[1] + mist)
            unlike[:, :, first:] = torch.minimum(unlike[:, :, first:], away)
    return unlike.sqrt()


def _from_segment(x: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Squared distance of colours x [B, 3, T, H, W] from segments between colours [B, 3]."""
    start, way = (c[:, :, None, None, None] for c in (start, end - start))
    along = ((x - start) * way).sum(1, keepdim=True) / way.square().sum(1, keepdim=True)
    return (x - start - along.clamp(0, 1) * way).square().sum(1)


def look(scenes: Scenes, video: Tensor) -> Sight:
    """Find the objects before sky and hills of the scenes' schemes in videos [B, 3, T, H, W]."""
    small = (scaled_down(video.clamp(-1, 1), CELLS, CELLS) + 1) / 2
    unlike = unlike_background(scenes.scheme, small)
    seen = [
        _largest(unlike[b, t].numpy(), small[b, :, t])
        for b in range(unlike.shape[0])
        for t in range(unlike.shape[1])
    ]
    shape = unlike.shape[:2]
    columns = [torch.tensor(x, dtype=torch.float32).view(shape) for x in list(zip(*seen))[:-1]]
    objects, u, v, wide, high, area, cut = columns
    votes = torch.stack([row[-1] for row in seen]).view(*shape, -1)
    return Sight(objects.long(), u, v, wide, high, area, cut > 0, votes)


def judge(scenes: Scenes, video: Tensor, stride: float = 1.0) -> dict[str, Tensor]:
    """Videos against their prompts -> truths [B] by name.

    one_hero: exactly one object in nearly all frames, whole and of a hero's size · object: one
    hero, and its shape is the prompt's · colour, direction: as the prompt has them · speed: its
    path is within 10 % of the world's speed, in its direction · sky: the scheme's. `stride`:
    frames of full rate between two frames.
    """
    sight = look(scenes, video)
    hero = _one_hero(scenes, sight)
    speed = speed_seen(sight, stride)
    told = torch.where(scenes.direction == 0, 1.0, -1.0)
    return {
        "one_hero": hero,
        "object": hero & (shape_seen(sight) == scenes.shape),
        "colour": hero & (colour_seen(sight) == scenes.colour),
        "direction": hero & (speed_seen(sight, stride, cut_too=True) * told > 0),
        "speed": hero & ((speed * told / SPEED - 1).abs() <= 0.1),
        "sky": sky_error(scenes, video) < 0.15,
    }


def speed_seen(sight: Sight, stride: float = 1.0, cut_too: bool = False) -> Tensor:
    """Slope of the hero's way to the right by least squares, widths per full-rate frame, [B].

    Frames in which the picture's border cuts the hero are left out, since they move its centre
    (towards where it goes: `cut_too` is good for the sign). NaN with fewer than three frames left.
    """
    known = ~sight.u.isnan() & (cut_too | ~sight.cut)
    count = known.sum(1)
    t = (torch.arange(sight.u.shape[1]) * stride).expand_as(sight.u)
    u = sight.u.nan_to_num()
    t0 = (t * known).sum(1) / count
    u0 = (u * known).sum(1) / count
    dt = (t - t0[:, None]) * known
    slope = (dt * (u - u0[:, None])).sum(1) / dt.square().sum(1)
    return torch.where(count >= 3, slope, torch.nan)


def shape_seen(sight: Sight) -> Tensor:
    """The index of the shape that the hero looks like, [B]: a box is wide, a diamond tall.

    Sides of the picture take from a hero's width: one that they cut in every frame is still a
    box where it is seen to be very wide.
    """
    ratio = sight.wide / sight.high
    whole = torch.where(sight.cut, torch.nan, ratio).nanmedian(dim=1).values
    box = (whole > 1.35) | (whole.isnan() & (ratio.nan_to_num().amax(dim=1) > 1.5))
    return torch.where(box, 1, torch.where(whole < 0.92, 2, 0))


def colour_seen(sight: Sight) -> Tensor:
    """The index of the colour that most of the hero's cells have, over all frames, [B]."""
    return sight.votes.nansum(1).argmax(1)


def sky_error(scenes: Scenes, video: Tensor) -> Tensor:
    """Distance (colours 0..1) of the top tenth's mean colour from the scheme's, [B]."""
    rows = max(1, video.shape[-2] // 10)
    seen = (video[..., :rows, :].clamp(-1, 1).mean((2, 3, 4)) + 1) / 2
    top, low = torch.tensor(list(SCHEMES.values()))[scenes.scheme][:, :2].unbind(1)
    return (seen - (top + (low - top) * 0.05 / 0.7)).norm(dim=1)


def _one_hero(scenes: Scenes, sight: Sight) -> Tensor:
    """Nine frames of ten show one object; those that are not cut are as large as a hero is."""
    one = sight.objects == 1
    size = sight.area / torch.tensor(AREAS)[scenes.shape][:, None]
    fits = one & ((size > 0.4) & (size < 1.6) | sight.cut & (size > 0.25) & (size < 1.6))
    return fits.float().mean(1) >= 0.89


def _votes(pixels_C3: Tensor) -> Tensor:
    """Cells' colours [cells, 3] -> shares by hero colour, each at the light that suits it, [8]."""
    light = torch.linspace(0.55, 1.4, 12)[:, None]
    lit = torch.stack(
        [(torch.tensor(c) * light).clamp(0, 1) for c in COLOURS.values()]
    )  # [8, 12, 3]
    away = torch.cdist(pixels_C3, lit.flatten(0, 1)).view(-1, *lit.shape[:2]).amin(2)
    return torch.bincount(away.argmin(1), minlength=len(COLOURS)) / len(pixels_C3)


def _largest(unlike: np.ndarray, small: Tensor) -> tuple:
    """Objects of a frame [H, W], [3, H, W] -> (count, u, v, wide, high, area, cut, votes)."""
    strong = unlike[unlike > UNLIKE]
    edge = max(UNLIKE, HALO * float(np.quantile(strong, 0.75))) if strong.size else UNLIKE
    cells = (unlike > edge).astype(np.uint8)
    count, label, stats, _ = cv2.connectedComponentsWithStats(cells, connectivity=4)
    sizes = stats[1:, cv2.CC_STAT_AREA] / cells.size
    objects = int((sizes >= SPECK * min(AREAS)).sum())
    if not objects:
        return (0, *[float("nan")] * 5, False, torch.full((len(COLOURS),), torch.nan))
    best = 1 + int(sizes.argmax())
    mask = label == best
    rows, columns = np.nonzero(mask)
    cut = bool(columns.min() == 0 or columns.max() == CELLS - 1 or rows.min() == 0)
    return (
        objects,
        (columns.mean() + 0.5) / CELLS,
        (rows.mean() + 0.5) / CELLS,
        columns.std() / CELLS,
        rows.std() / CELLS,
        mask.mean(),
        cut,
        _votes(small[:, torch.from_numpy(mask)].T),
    )


assert len(AREAS) == len(SHAPES)
