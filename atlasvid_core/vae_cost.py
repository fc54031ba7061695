"""What encoding and decoding cost: FLOPs as torch counts them, memory and scratch as planned.

Convolutions are counted on a small frame without memory (meta tensors) and scaled by its area;
attention of the middle block, which grows with the area's square, by formula. What neighbouring
tiles compute twice is not counted. A multiply-add is 2 FLOPs.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from .tile_plan import plan_tiles
from .tiles import STRIDE_PX, TilePlan
from .units import Grid
from .walk import frames_px
from .wan.vae import WanVAE

VAE_DIM = 96  # of wan_2.1_vae.safetensors
SMALL_LAT = 8  # side of the frame that is counted


@lru_cache(maxsize=4)
def empty_vae(dim: int = VAE_DIM) -> WanVAE:
    """A VAE whose weights have shapes but no memory."""
    with torch.device("meta"):
        return WanVAE(dim)


@lru_cache(maxsize=4)
def vae_parameters(dim: int = VAE_DIM) -> int:
    return sum(p.numel() for p in empty_vae(dim).parameters())


def decode_flops(lat: Grid, dim: int = VAE_DIM) -> float:
    """Latents -> frames, of a video of `lat` latents."""
    return _flops("decode", lat, dim)


def encode_flops(lat: Grid, dim: int = VAE_DIM) -> float:
    """Frames -> latents, of a video of `lat` latents."""
    return _flops("encode", lat, dim)


@lru_cache(maxsize=32)
def vae_plan(
    frame_lat: tuple[int, int], budget_bytes: int, value_bytes: int, dim: int = VAE_DIM,
    encodes: bool = False,
) -> TilePlan:  # fmt: skip
    """How a decode, or an encode, would be cut."""
    return plan_tiles(empty_vae(dim), frame_lat, budget_bytes, value_bytes, encodes=encodes)


def scratch_bytes(
    plan: TilePlan, lat: Grid, pixel_bytes: int, value_bytes: int, dim: int = VAE_DIM
) -> int:
    """Disk that a decode parks its work on. None where tiles go frame by frame: that one parks
    pixels to be able to go on, but does without where the disk has no room for them.

    The middle block's output of every latent frame, and the finished pixels, `pixel_bytes` each
    (0: they go straight to memory).
    """
    if plan.order == "frames":
        return 0
    pixels = frames_px(lat.t) * lat.h * lat.w * STRIDE_PX**2 * pixel_bytes
    return lat.count * middle_width(dim) * value_bytes + pixels


def encode_scratch_bytes(plan: TilePlan, lat: Grid, value_bytes: int, dim: int = VAE_DIM) -> int:
    """Disk that an encode tile by tile parks its frames on, as bytes, and what the middle block is
    to take."""
    if plan.order == "frames":
        return 0
    pixels = 3 * frames_px(lat.t) * lat.h * lat.w * STRIDE_PX**2
    return pixels + lat.count * middle_width(dim) * value_bytes


def middle_width(dim: int = VAE_DIM) -> int:
    return empty_vae(dim).decoder.conv1.out_channels


def _flops(way: str, lat: Grid, dim: int) -> float:
    first, later = _counted(way, dim)
    width, area = middle_width(dim), lat.h * lat.w
    convolutions = (first + (lat.t - 1) * later) * area / SMALL_LAT**2
    return convolutions + lat.t * 4 * area**2 * width


@lru_cache(maxsize=8)
def _counted(way: str, dim: int) -> tuple[int, int]:
    """FLOPs without attention: of the first latent frame, of each later one, SMALL_LAT wide."""
    one, two = (_count(way, dim, t) for t in (1, 2))
    return one, two - one


def _count(way: str, dim: int, t_lat: int) -> int:
    side_px = STRIDE_PX * SMALL_LAT
    shapes = {
        "decode": (1, 16, t_lat, SMALL_LAT, SMALL_LAT),
        "encode": (1, 3, 4 * (t_lat - 1) + 1, side_px, side_px),
    }
    x = torch.empty(shapes[way], device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        getattr(empty_vae(dim), way)(x)
    return counter.get_flop_counts()["Global"][torch.ops.aten.convolution]
