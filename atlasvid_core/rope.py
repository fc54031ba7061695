"""Rotary positions: coordinates of detail and proxy tokens, and the rotations made of them.

Coordinates are float64 and angles are computed from them before rounding to float32: a bfloat16
coordinate cannot tell 256 from 257. Source: paper section 3.2 (temporal scaling) and 3.3 (scaled
spatio-temporal RoPE); DESIGN sections 3 and 4.

Shapes: B batch, S tokens, N heads, H head size; T, Hh, Ww tokens along t, h, w.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .units import HEAD_SIZE, Grid

THETA = 10000.0
ALIGNMENTS = ("ratio", "endpoints")


@dataclass(frozen=True, eq=False)
class Axes:
    """Coordinates along each axis in units of detail tokens: float64 [T], [Hh], [Ww]."""

    t: Tensor
    h: Tensor
    w: Tensor

    @property
    def grid(self) -> Grid:
        return Grid(len(self.t), len(self.h), len(self.w))


def detail_axes(target_tok: Grid) -> Axes:
    """The detail branch counts its own tokens: 0, 1, 2, ... on every axis."""
    return Axes(*(torch.arange(n, dtype=torch.float64) for n in target_tok))


def proxy_axes(
    proxy_tok: Grid, target_tok: Grid, alignment: str, time_scale: float | None = None
) -> Axes:
    """Where proxy tokens sit among the detail tokens.

    `ratio` puts token i at i * (target / proxy), the paper's r; `endpoints` matches first and
    last on the time axis and token centres on the space axes. `time_scale` is r_t for a proxy
    made by stage 1, which overrides either on the time axis; None for any other video.
    """
    if alignment not in ALIGNMENTS:
        raise ValueError(
            f"alignment {alignment!r} is unknown: choose one of {', '.join(ALIGNMENTS)}."
        )
    index = [torch.arange(n, dtype=torch.float64) for n in proxy_tok]
    ratio = [big / small for big, small in zip(target_tok, proxy_tok, strict=True)]
    if alignment == "ratio":
        t, h, w = (i * r for i, r in zip(index, ratio, strict=True))
    else:
        t = index[0] * ((target_tok.t - 1) / max(1, proxy_tok.t - 1))
        h, w = ((i + 0.5) * r - 0.5 for i, r in zip(index[1:], ratio[1:], strict=True))
    if time_scale is not None:
        t = index[0] * time_scale
    return Axes(t, h, w)


def split_of(head_size: int) -> tuple[int, int, int]:
    """How many of a head's channels turn with t, h and w: (44, 42, 42) of 128."""
    sixth = head_size // 6
    return head_size - 4 * sixth, 2 * sixth, 2 * sixth


def axis_rotations(
    axes: Axes, head_size: int = HEAD_SIZE, theta: float = THETA
) -> tuple[Tensor, Tensor, Tensor]:
    """-> float32 [n, channels / 2, 2] for t, h and w: cosine and sine of every pair of channels.

    Sines are taken in float64, then rounded.
    """
    tables = []
    for at, channels in zip((axes.t, axes.h, axes.w), split_of(head_size), strict=True):
        powers = torch.arange(0, channels, 2, dtype=torch.float64) / channels
        angle = torch.outer(at.cpu(), theta**-powers)
        tables.append(torch.stack([angle.cos(), angle.sin()], dim=-1).float())
    return tables[0], tables[1], tables[2]


def rotations(axes: Axes, head_size: int = HEAD_SIZE, theta: float = THETA) -> Tensor:
    """-> float32 [T * Hh * Ww, H / 2, 2], cosine and sine of every pair, in (t, h, w) order."""
    everywhere = torch.arange(axes.grid.count)
    return rotations_at(axis_rotations(axes, head_size, theta), everywhere)


def rotations_at(tables: tuple[Tensor, Tensor, Tensor], token_S: Tensor) -> Tensor:
    """Rotations [S, H / 2, 2] of some tokens, given by their row-major (t, h, w) numbers [S]."""
    t, h, w = tables
    place = (
        token_S // (len(h) * len(w)),
        token_S // len(w) % len(h),
        token_S % len(w),
    )
    return torch.cat([table[at] for table, at in zip(tables, place, strict=True)], dim=1)


def rotate(x_BSNH: Tensor, rotation: Tensor) -> Tensor:
    """Turn each channel pair (2i, 2i + 1) by its angle, in float32; keeps shape and dtype.

    `rotation`: [S, H / 2, 2] or [B, S, H / 2, 2].
    """
    even, odd = x_BSNH.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = rotation.unsqueeze(-3).unbind(-1)
    turned = torch.stack([even * cos - odd * sin, even * sin + odd * cos], dim=-1)
    return turned.flatten(-2).to(x_BSNH.dtype)
