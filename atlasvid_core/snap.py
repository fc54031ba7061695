"""Sizes as people ask for them -> sizes that Wan2.1 takes, and a word on each that changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .units import PX_MULTIPLE, VAE_STRIDE

WHY_SIDE = f"Wan works in steps of {PX_MULTIPLE} px"
WHY_FRAMES = f"Wan takes {VAE_STRIDE.t}k + 1 frames"


@dataclass(frozen=True)
class Snap:
    """An input that was moved to the nearest value that fits."""

    name: str
    given: float
    used: int
    why: str


def snapped(asked: Mapping[str, float]) -> tuple[dict[str, int], tuple[Snap, ...]]:
    """width, height, frames, proxy_height -> the nearest that Wan takes; the proxy fits inside."""
    limits = {
        name: (_nearest(asked[name], PX_MULTIPLE, PX_MULTIPLE), WHY_SIDE)
        for name in ("width", "height", "proxy_height")
    }
    limits["frames"] = (_nearest(asked["frames"], VAE_STRIDE.t, 1), WHY_FRAMES)
    height = limits["height"][0]
    if limits["proxy_height"][0] > height:
        limits["proxy_height"] = (height, "the proxy is no larger than the video")
    used = {name: value for name, (value, _) in limits.items()}
    moved = (Snap(n, asked[n], v, why) for n, (v, why) in limits.items() if v != asked[n])
    return used, tuple(moved)


def _nearest(value: float, step: int, first: int) -> int:
    """The nearest of first, first + step, ...; the larger of two that are as near."""
    return first + step * max(0, int((value - first) / step + 0.5))
