"""Fidelity and calm: PSNR, PSNR to the proxy after scaling down, flicker in time.

Shapes: B videos, C colours, T frames, H, W rows and columns. Videos are in -1..1; all that is
measured in pixels counts them as 0..1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def psnr_db(video: Tensor, truth: Tensor) -> Tensor:
    """Two videos [B, 3, T, H, W] -> PSNR in dB [B]; infinite where they are equal."""
    error = ((video.clamp(-1, 1) - truth.clamp(-1, 1)) / 2).square()
    return -10 * torch.log10(error.mean(dim=(1, 2, 3, 4)))


def scaled_down(video: Tensor, height_px: int, width_px: int) -> Tensor:
    """Every frame averaged over the area of each new pixel."""
    flat = video.transpose(1, 2).flatten(0, 1)
    small = F.adaptive_avg_pool2d(flat, (height_px, width_px))
    return small.view(video.shape[0], video.shape[2], *small.shape[1:]).transpose(1, 2)


def enlarged(proxy: Tensor, frames: int, height_px: int, width_px: int) -> Tensor:
    """The rival "generate, then enlarge": bicubic in space, in-between frames mixed in time."""
    flat = proxy.transpose(1, 2).flatten(0, 1)
    large = F.interpolate(flat, (height_px, width_px), mode="bicubic", align_corners=False)
    large = large.view(proxy.shape[0], proxy.shape[2], 3, height_px, width_px).transpose(1, 2)
    at = torch.linspace(0, proxy.shape[2] - 1, frames)
    low = at.long().clamp(max=proxy.shape[2] - 2) if proxy.shape[2] > 1 else at.long()
    part = (at - low).view(-1, 1, 1)
    high = (low + 1).clamp(max=proxy.shape[2] - 1)
    return ((1 - part) * large[:, :, low] + part * large[:, :, high]).clamp(-1, 1)


def psnr_to_proxy_db(video: Tensor, proxy: Tensor) -> Tensor:
    """How well a video [B, 3, T, H, W] keeps its proxy [B, 3, t, h, w], in dB, [B].

    Frames are picked (T - 1 must be a multiple of t - 1) and pixels averaged down to the proxy's.
    """
    frames, kept = video.shape[2], proxy.shape[2]
    step, rest = divmod(frames - 1, max(1, kept - 1))
    if rest:
        raise ValueError(
            f"A video of {frames} frames and a proxy of {kept} share no frames: frames - 1 must "
            "be a multiple of the proxy's frames - 1."
        )
    picked = video[:, :, :: step or 1][:, :, :kept]
    return psnr_db(scaled_down(picked, *proxy.shape[-2:]), proxy)


def flicker(video: Tensor) -> Tensor:
    """How restless the calm part of a video is, [B], pixels 0..1: 0 where nothing moves there.

    The mean size of the second difference in time, over the 60 % of the places that have least of
    it. Those that an object passes, with edges and texture of its own, are not among them, as long
    as it sweeps less than the rest.
    """
    x = video / 2
    restless = (x[:, :, 2:] - 2 * x[:, :, 1:-1] + x[:, :, :-2]).abs().mean(dim=(1, 2)).flatten(1)
    calm = restless.shape[1] * 6 // 10
    return restless.sort(1).values[:, :calm].mean(1)
