"""The proxy's latent at the target's size: the start of the training-free way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..atlasvid_core.plan import VideoPlan
from ..atlasvid_core.units import tok_from_lat
from . import refuse

TIME_SCALE = "atlasvid_r_t"  # key of a LATENT: the time scale that its coordinates had


def enlarge(proxy: dict | None, plan: VideoPlan) -> Tensor:
    """LATENT of a proxy -> samples [1, 16, *plan.target_lat], bicubic in space, linear in time."""
    if proxy is None:
        raise ValueError(
            'start is "proxy" but the proxy input is empty; it needs a LATENT. Connect the one '
            'that SemanticProxyGenerator or VAE Encode gives, or set start to "noise".'
        )
    samples = proxy["samples"]
    lat = refuse.check_latent(samples, "The proxy")
    if lat == plan.target_lat:
        return samples
    refuse.check_proxy(tok_from_lat(lat), plan)
    frames = samples[0].float().transpose(0, 1)  # [t, 16, h, w]
    frames = F.interpolate(frames, size=plan.target_lat[1:], mode="bicubic", align_corners=False)
    frames = stretch(frames, plan.target_lat.t, proxy.get(TIME_SCALE))
    return frames.transpose(0, 1)[None].contiguous()


def stretch(frames: Tensor, count: int, time_scale: float | None) -> Tensor:
    """[t, ...] -> [count, ...], linear in between.

    Frame j lands at j * `time_scale`, where stage 1 made it, and the last one is held; without a
    time scale (any other video) first and last frames land on first and last.
    """
    at = torch.linspace(0, len(frames) - 1, count, dtype=torch.float64, device=frames.device)
    if time_scale is not None:
        at = (torch.arange(count).to(at) / time_scale).clamp(max=len(frames) - 1)
    low = at.long().clamp(max=max(0, len(frames) - 2))
    high = (low + 1).clamp(max=len(frames) - 1)
    part = (at - low).to(frames.dtype).view(-1, *[1] * (frames.ndim - 1))
    return torch.lerp(frames[low], frames[high], part)
