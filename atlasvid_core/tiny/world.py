"""The procedural world that AtlasVid-Tiny learns: one hero crosses two hills under a sky.

Few degrees of freedom, large smooth shapes, and a fine texture that follows from place, so that
a small model can learn it in an hour and a judge can tell a right scene from a wrong one.
Everything is a closed form of (scene, time, place): any window at any resolution can be rendered.

Place: u to the right and v down, both 0..1 over the whole picture; lengths are in picture
heights for v and widths for u (pictures are square here). Time: frames at full rate.
Shapes: B scenes, T frames, H, W rows and columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .scenery import COLOURS, DIRECTIONS, SCHEMES, SHAPES

CROSSING_FRAMES = 56  # a crossing at full rate; then the hero turns back
HERO_RADIUS = 0.17
PATH_FROM_U, PATH_TO_U = 0.15, 0.85


@dataclass(frozen=True)
class Scenes:
    """B scenes: word indices (int64 [B]) and free phases in 0..1 (float32 [B])."""

    colour: Tensor
    shape: Tensor
    direction: Tensor
    scheme: Tensor
    far_phase: Tensor
    near_phase: Tensor
    path_height: Tensor

    def prompt(self, i: int) -> str:
        return (
            f"a {list(COLOURS)[self.colour[i]]} {SHAPES[self.shape[i]]} crosses "
            f"{DIRECTIONS[self.direction[i]]} under a {list(SCHEMES)[self.scheme[i]]} sky"
        )


@dataclass(frozen=True)
class Window:
    """What part of place and time is rendered; each float32 [B]; `size` 1 is all of the picture."""

    u: Tensor
    v: Tensor
    size: Tensor
    start: Tensor
    stride: Tensor


def random_scenes(count: int, generator: torch.Generator) -> Scenes:
    def pick(n: int) -> Tensor:
        return torch.randint(n, (count,), generator=generator)

    def phase() -> Tensor:
        return torch.rand(count, generator=generator)

    return Scenes(
        pick(len(COLOURS)),
        pick(len(SHAPES)),
        pick(len(DIRECTIONS)),
        pick(len(SCHEMES)),
        phase(),
        phase(),
        phase(),
    )


def whole_picture(count: int, stride: float = 1.0) -> Window:
    zero, one = torch.zeros(count), torch.ones(count)
    return Window(zero, zero, one, zero, one * stride)


def hero_position(scenes: Scenes, frame: Tensor) -> tuple[Tensor, Tensor]:
    """Centre (u, v), each [B, T], at full-rate `frame` [B, T]: to and fro, on a gentle arc."""
    turn = (frame / CROSSING_FRAMES) % 2
    phase = torch.where(turn > 1, 2 - turn, turn)
    phase = torch.where(scenes.direction[:, None] == 1, 1 - phase, phase)
    u = PATH_FROM_U + (PATH_TO_U - PATH_FROM_U) * phase
    v = 0.40 + 0.14 * scenes.path_height[:, None] - 0.10 * torch.sin(math.pi * phase)
    return u, v


def render(scenes: Scenes, window: Window, frames: int, height_px: int, width_px: int) -> Tensor:
    """-> video [B, 3, T, H, W] in -1..1, anti-aliased over about one pixel."""
    place = _Place.of(window, height_px, width_px)
    ground = _background(scenes, place)[:, :, None].expand(-1, -1, frames, -1, -1)
    frame = window.start[:, None] + window.stride[:, None] * torch.arange(frames)
    cover, shade = _hero(scenes, place, *hero_position(scenes, frame))
    colour = torch.tensor(list(COLOURS.values()))[scenes.colour][:, :, None, None, None]
    hero = (colour * shade[:, None]).clamp(0, 1)
    return (ground + (hero - ground) * cover[:, None]) * 2 - 1


@dataclass(frozen=True)
class _Place:
    u: Tensor  # [B, 1, W]
    v: Tensor  # [B, H, 1]
    pixel: Tensor  # [B, 1, 1] side of a pixel

    @staticmethod
    def of(window: Window, height_px: int, width_px: int) -> _Place:
        size = window.size[:, None, None]
        u = window.u[:, None, None] + size * ((torch.arange(width_px) + 0.5) / width_px)
        v = window.v[:, None, None] + size * ((torch.arange(height_px) + 0.5) / height_px)[:, None]
        return _Place(u, v, size / height_px)

    def inside(self, distance: Tensor, pixel: Tensor) -> Tensor:
        """1 where the signed distance is negative, 0 outside, smooth over a pixel and a half."""
        return torch.sigmoid(-distance / (0.4 * pixel))


def _background(scenes: Scenes, place: _Place) -> Tensor:
    top, low, far, near = torch.tensor(list(SCHEMES.values()))[scenes.scheme][
        ..., None, None
    ].unbind(1)
    picture = top + (low - top) * (place.v[:, None] / 0.7).clamp(0, 1)
    ridges = (
        (far, 0.62 + 0.06 * torch.sin(math.tau * (place.u + scenes.far_phase[:, None, None]))),
        (
            near,
            0.80 + 0.05 * torch.sin(math.tau * (1.5 * place.u + scenes.near_phase[:, None, None])),
        ),
    )
    for colour, ridge in ridges:
        below = place.v - ridge
        cover = place.inside(-below, place.pixel)[:, None]
        picture = picture + (_furrows(colour, below, place) - picture) * cover
    return picture


def _furrows(colour: Tensor, below: Tensor, place: _Place) -> Tensor:
    """Rows that follow the ridge, crossed by finer ones: the texture tells where one is."""
    rows = torch.sin(math.tau * 12 * below) * torch.exp(-((place.pixel * 12) ** 2) * 8)
    fine = torch.sin(math.tau * 30 * (place.u + 0.5 * below))
    fine = fine * torch.exp(-((place.pixel * 30) ** 2) * 8)
    return colour * (1 + 0.16 * rows + 0.12 * fine - 0.5 * below)[:, None]


def _hero(scenes: Scenes, place: _Place, u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Cover and brightness of the hero, each [B, T, H, W]."""
    du = place.u[:, None] - u[..., None, None]
    dv = place.v[:, None] - v[..., None, None]
    kind = scenes.shape[:, None, None, None]
    ball = torch.sqrt(du**2 + dv**2) - HERO_RADIUS
    box = torch.maximum(0.75 * du.abs(), 1.35 * dv.abs()) - 0.85 * HERO_RADIUS  # wide
    diamond = (1.3 * du.abs() + 0.8 * dv.abs()) / 1.2 - 0.85 * HERO_RADIUS  # tall
    distance = torch.where(kind == 0, ball, torch.where(kind == 1, box, diamond))
    shade = 1.0 - 1.6 * (du + dv) - 0.12 * torch.sin(math.tau * 22 * (du - dv))
    return place.inside(distance, place.pixel[:, None]), shade
