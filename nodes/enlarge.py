"""The proxy at the target's size: the start of the training-free way.

In pixels where a VAE is at hand: frames in between follow the motion, and edges stay edges. A
latent frame of the proxy holds motion of 4 r_t target frames, so mixing latents leaves ghosts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..atlasvid_core.enlarge import enlarged_frames, times
from ..atlasvid_core.plan import VideoPlan
from ..atlasvid_core.tiles import TilePlan
from ..atlasvid_core.units import tok_from_lat
from . import host, host_vae, refuse
from .decoding import disk_errors, ever_smaller
from .ladder import climb_down

REMEDY = (
    "Close what else uses the device, or leave out the vae input: the proxy is then enlarged in "
    "latents, which needs no VAE."
)
TIME_SCALE = "atlasvid_r_t"  # key of a LATENT: the time scale that its coordinates had


def given(proxy: dict | None) -> dict:
    """The LATENT to start from; raises where there is none."""
    if proxy is None:
        raise ValueError(
            'start is "proxy" but the proxy input is empty; it needs a LATENT. Connect the one '
            'that SemanticProxyGenerator or VideoToProxy gives, or set start to "noise".'
        )
    return proxy


def enlarged(proxy: dict | None, plan: VideoPlan, vae, node: str) -> Tensor:
    """LATENT of a proxy -> samples [1, 16, *plan.target_lat]; by way of pixels if there is a VAE.

    A latent of the target's size comes back as it is.
    """
    proxy = given(proxy)
    lat = refuse.check_latent(proxy["samples"], "The proxy")
    if lat == plan.target_lat:
        return proxy["samples"]
    refuse.check_proxy(tok_from_lat(lat), plan)
    if vae is None:
        return enlarge(proxy, plan)

    host_vae.load_to_encode(vae, plan.target_lat, node)  # refused now, not after the decode
    module, latent, tiles = host_vae.load_vae(vae, proxy["samples"], node)

    def decode(tiles: TilePlan) -> Tensor:
        return host_vae.decode(module, latent, tiles)

    def encode(tiles: TilePlan) -> Tensor:
        large = enlarged_frames(frames, plan, proxy.get(TIME_SCALE))
        return host_vae.encode(vae, large, plan.target_lat, tiles)

    with disk_errors(node, host.temporary_folder(), goes_on=False):
        rungs = ever_smaller(module, tiles)
        frames = climb_down(rungs, decode, f"{node}, decoding the proxy", REMEDY)
        module, tiles = host_vae.load_to_encode(vae, plan.target_lat, node)
        rungs = ever_smaller(module, tiles, encodes=True)
        return climb_down(rungs, encode, f"{node}, encoding the enlarged proxy", REMEDY)


def enlarge(proxy: dict, plan: VideoPlan) -> Tensor:
    """LATENT of a proxy -> samples [1, 16, *plan.target_lat], bicubic in space, linear in time."""
    frames = proxy["samples"][0].float().transpose(0, 1)  # [t, 16, h, w]
    frames = F.interpolate(frames, size=plan.target_lat[1:], mode="bicubic", align_corners=False)
    frames = stretch(frames, plan.target_lat.t, proxy.get(TIME_SCALE))
    return frames.transpose(0, 1)[None].contiguous()


def stretch(frames: Tensor, count: int, time_scale: float | None) -> Tensor:
    """[t, ...] -> [count, ...], linear in between, at the core's `times`."""
    at = times(len(frames), count, time_scale).to(frames.device)
    low = at.long().clamp(max=max(0, len(frames) - 2))
    high = (low + 1).clamp(max=len(frames) - 1)
    part = (at - low).to(frames.dtype).view(-1, *[1] * (frames.ndim - 1))
    return torch.lerp(frames[low], frames[high], part)
