"""Random clips of the world, as the tiny networks see them in training.

Shapes: B clips, T frames, H, W rows and columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .world import Scenes, Window, random_scenes, render

BASE_FRAMES_PX, BASE_SIDE_PX = 9, 96
STRIDES = (1, 2, 4)  # frames of full rate between two frames of a clip


def full_views(count: int, generator: torch.Generator) -> Window:
    """The whole picture from frame 0 on, at a random frame stride; half of them at the widest."""
    choices = torch.tensor([*STRIDES, STRIDES[-1]])
    stride = choices[torch.randint(len(choices), (count,), generator=generator)]
    zero = torch.zeros(count)
    return Window(zero, zero, torch.ones(count), zero, stride.float())


def closeups(
    count: int, generator: torch.Generator, smallest: float = 0.4, largest: float = 1.0
) -> Window:
    """Windows of `smallest` to `largest` of the picture, anywhere in place and time, full rate."""
    size = smallest + (largest - smallest) * torch.rand(count, generator=generator)
    u = (1 - size) * torch.rand(count, generator=generator)
    v = (1 - size) * torch.rand(count, generator=generator)
    start = 56 * torch.rand(count, generator=generator)
    return Window(u, v, size, start, torch.ones(count))


def joined(a: Window, b: Window) -> Window:
    return Window(*(torch.cat([getattr(a, n), getattr(b, n)]) for n in a.__dataclass_fields__))


def mixed_clips(
    count: int, frames: int, side_px: int, generator: torch.Generator
) -> tuple[Tensor, Scenes, Window]:
    """Half whole pictures, half closeups -> (video [B, 3, T, H, W] in -1..1, scenes, windows)."""
    scenes = random_scenes(count, generator)
    half = count // 2
    window = joined(full_views(half, generator), closeups(count - half, generator))
    return render(scenes, window, frames, side_px, side_px), scenes, window
