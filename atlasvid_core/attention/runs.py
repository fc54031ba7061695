"""Runs of tokens: what a cube sees, as pieces of memory; and how they are read.

In cube order every key a cube sees lies in a few runs: one for each cube within reach, one for
each row of proxy tokens.

Shapes: B batch, S tokens, N heads, H head size, Q cubes, R runs of a cube, g grain: tokens that are
moved as one row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .layout import CubeLayout
from .mask import Aligned


@dataclass(frozen=True, eq=False)
class Runs:
    """Tokens of each cube: runs `start`, `length` [Q, R], counted in grains."""

    start: Tensor
    length: Tensor
    grain: int

    @staticmethod
    def of(start: Tensor, length: Tensor, tokens: int) -> Runs:
        """Runs counted in tokens -> runs in the largest grains that all of them and `tokens` are
        whole numbers of."""
        grain = math.gcd(tokens, *start.unique().tolist(), *length.unique().tolist())
        return Runs(start // grain, length // grain, grain)

    def to(self, device: torch.device) -> Runs:
        return Runs(self.start.to(device), self.length.to(device), self.grain)

    def indices(self, cubes: Tensor, tokens: int) -> Tensor:
        """-> int64 [len(cubes) * tokens / g]: the grains of these cubes, `tokens` of each cube."""
        start, length = self.start[cubes].flatten(), self.length[cubes].flatten()
        total = len(cubes) * (tokens // self.grain)
        shift = start - (length.cumsum(0) - length)
        flat = torch.repeat_interleave(shift, length, output_size=total)
        return flat + torch.arange(total, device=flat.device)


class Reader:
    """Tokens of some cubes, one window a cube: where they lie, if in equally spaced pieces; else
    gathered into memory that the next call overwrites (but not where autograd may want it)."""

    def __init__(self, x_BSNH: Tensor, runs: Runs) -> None:
        self.x, self.runs = x_BSNH, runs
        self.rows = x_BSNH.unflatten(1, (-1, runs.grain)).flatten(2)  # [B, S / g, g * N * H]
        self.buffer = x_BSNH.new_empty(0)
        self.found: tuple[Tensor, Tensor] | None = None

    def __call__(
        self, cubes: Tensor, at: tuple[int, ...] | None, tokens: int, part: slice
    ) -> Tensor:
        """`part` of a group's cubes, which begin `at`, if known -> [B * windows, N, tokens, H]."""
        if at is not None and (step := spacing(at[part], tokens)) is not None:
            first, last = at[part][0], at[part][-1]
            windows = self.x[:, first : last + tokens].unfold(1, tokens, step)
            return windows.movedim(-1, -2).flatten(0, 1)
        picked = self._gathered(self._grains(cubes, tokens)[part].flatten())
        b, _, n, h = self.x.shape
        return picked.view(b, -1, tokens, n, h).flatten(0, 1).transpose(1, 2)

    def _grains(self, cubes: Tensor, tokens: int) -> Tensor:
        """-> [cubes, grains of each], made once for a group."""
        if self.found is None or self.found[0] is not cubes:
            self.found = cubes, self.runs.indices(cubes, tokens).view(len(cubes), -1)
        return self.found[1]

    def _gathered(self, at: Tensor) -> Tensor:
        """-> [B, len(at), g * N * H]"""
        if torch.is_grad_enabled():
            return self.rows.index_select(1, at)
        b, _, row = self.rows.shape
        size = b * len(at) * row
        if self.buffer.numel() < size:
            self.buffer = self.rows.new_empty(size)
        picked = self.buffer[:size].view(b, len(at), row)
        return torch.index_select(self.rows, 1, at, out=picked)


def spacing(at: tuple[int, ...], size: int) -> int | None:
    """How far apart pieces of `size` begin, if all are equally far; None otherwise."""
    if len(at) == 1:
        return size
    step = at[1] - at[0]
    even = step > 0 and all(b - a == step for a, b in zip(at[1:], at[2:]))
    return step if even else None


def in_one_piece(start: Tensor, length: Tensor) -> Tensor:
    """Runs [Q, R] -> [Q]: where each cube's keys begin if its runs join up, in order; else -1."""
    begin = length.new_zeros(len(length)) + start.where(length > 0, 2**62).amin(1)
    before = begin[:, None] + length.cumsum(1) - length
    joined = ((start == before) | (length == 0)).all(1)
    return begin.where(joined, -1)


def proxy_runs(
    layout: CubeLayout, reach: str, aligned: Aligned, which: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """-> start, length [Q, R] of the proxy tokens the cubes `which` see, a run a row (t, h).

    Length 0 fills up cubes that see fewer rows than others.
    """
    _, n_h, n_w = layout.n_cubes
    number = torch.arange(*which)
    cubes = torch.stack([number // (n_h * n_w), number // n_w % n_h, number % n_w], dim=1)
    spread = {"own": (), "faces": (0, 1, 2), "plane": (1, 2), "all": (0, 1, 2)}[reach]
    own, wide = [], []  # by axis: [Q, 2] first and one past the last
    for axis in range(3):
        at = cubes[:, axis]
        own.append(torch.tensor(aligned.ranges[axis])[at])
        wide.append(torch.tensor(aligned.wide(axis))[at] if axis in spread else own[axis])
    rows, inside = [], []  # along t and h: coordinate [Q, R'], whether the own cube's
    for axis in (0, 1):
        first, end = wide[axis].unbind(1)
        row = first[:, None] + torch.arange(int((end - first).max()))
        rows.append(row.where(row < end[:, None], -1))
        inside.append((row >= own[axis][:, :1]) & (row < own[axis][:, 1:]))
    t, h = rows[0][:, :, None], rows[1][:, None, :]
    valid = (t >= 0) & (h >= 0)
    at_w = wide[2][:, None, None]
    if reach == "faces":  # own rows see the neighbours along w; a row off on both axes sees none
        in_t, in_h = inside[0][:, :, None], inside[1][:, None, :]
        valid = valid & (in_t | in_h)
        at_w = at_w.where((in_t & in_h)[..., None], own[2][:, None, None])
    start = (t * aligned.grid.h + h) * aligned.grid.w + at_w[..., 0]
    length = (at_w[..., 1] - at_w[..., 0]).where(valid, 0)
    return start.where(valid, 0).flatten(1), length.flatten(1)
