"""Pixels, latents and tokens of Wan2.1: one frozen grid, axes always (t, h, w).

Wan2.1's VAE has strides (4, 8, 8) with the first frame alone; its DiT has patches of (1, 2, 2)
latents. One token is therefore (4, 16, 16) px.
"""

from __future__ import annotations

from typing import NamedTuple


class Grid(NamedTuple):
    """A box of latents, tokens or cubes, by axis."""

    t: int
    h: int
    w: int

    @property
    def count(self) -> int:  # type: ignore[override]  # a tuple counts values; a grid, places
        return self.t * self.h * self.w

    def __str__(self) -> str:
        return f"{self.t} x {self.h} x {self.w}"


VAE_STRIDE = Grid(4, 8, 8)
PATCH = Grid(1, 2, 2)
LATENT_CHANNELS = 16
HEAD_SIZE = 128
PX_MULTIPLE = 16  # height and width: VAE stride times patch


def lat_from_px(frames_px: int, height_px: int, width_px: int) -> Grid:
    """Frames, height and width in pixels -> the latent grid.

    Raises ValueError naming the nearest sizes that fit, when frames are not 4k + 1 or a side is
    no multiple of 16.
    """
    if frames_px < 1 or frames_px % VAE_STRIDE.t != 1:
        below = max(1, (frames_px - 1) // 4 * 4 + 1)
        raise ValueError(
            f"frames {frames_px} cannot be encoded: Wan2.1 takes 4k + 1 frames. "
            f"Use {below} or {below + 4}."
        )
    for name, side_px in (("height", height_px), ("width", width_px)):
        if side_px < PX_MULTIPLE or side_px % PX_MULTIPLE:
            below = max(PX_MULTIPLE, side_px // PX_MULTIPLE * PX_MULTIPLE)
            raise ValueError(
                f"{name} {side_px} px is no multiple of {PX_MULTIPLE}. "
                f"Use {below} or {below + PX_MULTIPLE}."
            )
    return Grid(
        1 + (frames_px - 1) // VAE_STRIDE.t, height_px // VAE_STRIDE.h, width_px // VAE_STRIDE.w
    )


def tok_from_lat(lat: Grid) -> Grid:
    """Latents -> tokens; an odd side counts its padded half patch as a token."""
    return Grid(*(-(-n // p) for n, p in zip(lat, PATCH, strict=True)))
