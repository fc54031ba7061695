"""A way and a case -> the video's latent: plan, guide, joint denoising.

Latents are [1, 16, t, h, w] in model space, videos [1, 3, T, H, W] in -1..1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor

from atlasvid_core import flow
from atlasvid_core.attention.mask import steps_of
from atlasvid_core.decode import decode_frames
from atlasvid_core.encode import encode_frames
from atlasvid_core.enlarge import BICUBIC, enlarged_frames
from atlasvid_core.guide import Guide, make_guide
from atlasvid_core.joint import detail_forward
from atlasvid_core.plan import VideoPlan
from atlasvid_core.rope import detail_axes
from atlasvid_core.wan.latents import from_model_space, to_model_space

from .kit import Case
from .masked import flat_mask, masked_forward
from .ways import Enlarged, FullAttention, Stage2, Truth, Way

Forward = Callable[[Tensor, Tensor, Tensor], Tensor]  # latent, timestep, text -> velocity


def latent_of(way: Way, case: Case) -> Tensor | None:
    """What the way makes of the case; None where its pixels come without a latent."""
    if isinstance(way, Stage2):
        return stage2(way, case)
    if isinstance(way, FullAttention):
        return denoised(case.kit.dit(), case, "full", way.cfg, *from_noise(case))
    return encoded(case, case.truth[0].movedim(0, -1)) if isinstance(way, Truth) else None


def video_of(way: Way, case: Case, latent: Tensor | None) -> Tensor:
    """The pixels to judge."""
    if latent is None:
        assert isinstance(way, Enlarged)
        frames = torch.stack(list(enlarged(way.proxy, case, BICUBIC)))
        return frames.movedim(-1, 0)[None] / 127.5 - 1
    frames = decode_frames(case.kit.vae, from_model_space(latent.float()))
    return frames.movedim(-1, 1).clamp(-1, 1)


def stage2(way: Stage2, case: Case) -> Tensor:
    plan = case.setting.plan(way.reach, way.alignment)
    guide = guide_of(way, case, plan) if way.guided else None
    model = case.kit.dit(*(role for role in way.loras if role == "detail"))
    forward: Forward
    if way.flat_windows:
        assert guide is not None
        mask = _flat_mask(plan)

        def forward(latent: Tensor, timestep: Tensor, text: Tensor) -> Tensor:
            return masked_forward(model, latent, timestep, text, guide, mask)

    else:
        forward = partial(
            detail_forward, model, cube_tok=plan.cube_tok, reach=plan.reach, guide=guide
        )
    start = from_noise(case) if way.denoise == 1 else from_proxy(way, case)
    return denoised(forward, case, "closeup", way.cfg, *start)


def guide_of(way: Stage2, case: Case, plan: VideoPlan) -> Guide:
    """Without scaled RoPE the proxy's keys are turned as if it counted its own tokens; which cube
    sees which of its tokens stays."""
    model = case.kit.dit(*(role for role in way.loras if role == "proxy"))
    axes = plan.proxy_axes()
    turned_by = axes if way.scaled_rope else detail_axes(plan.proxy_tok)
    guide = make_guide(model, case.proxy(way.proxy), turned_by, plan.target_tok)
    return dataclasses.replace(guide, axes=axes)


@lru_cache(maxsize=1)
def _flat_mask(plan: VideoPlan) -> Tensor:
    return flat_mask(plan, len(steps_of(plan.reach)) * plan.cube_tok.count)


def from_noise(case: Case) -> tuple[Tensor, Tensor]:
    """-> where sampling starts, and the noise levels [steps + 1]."""
    setting = case.setting
    return case.noise(setting.plan().target_lat), flow.sigmas(setting.steps, setting.shift)


def from_proxy(way: Stage2, case: Case) -> tuple[Tensor, Tensor]:
    """The training-free start: the enlarged proxy, noised to where `denoise` begins."""
    noise, _ = from_noise(case)
    levels = flow.sigmas(case.setting.steps, case.setting.shift, way.denoise)
    start = encoded(case, torch.stack(list(enlarged(way.proxy, case))))
    return flow.noised(start, noise, levels[:1]), levels


def enlarged(source: str, case: Case, *kernel: int):
    """Frames [H, W, 3] of the case's proxy at the target's size, as bytes."""
    plan = case.setting.plan()
    small = case.proxy_video(source)[0].movedim(0, -1)
    return enlarged_frames(small, plan, plan.r_t, *kernel)


def encoded(case: Case, frames_THW3: Tensor) -> Tensor:
    return to_model_space(encode_frames(case.kit.vae, frames_THW3))


def denoised(
    forward: Forward, case: Case, view: str, cfg: float, start: Tensor, levels: Tensor
) -> Tensor:
    """Euler from `start` along the noise levels, against empty words where cfg is not 1."""
    text = case.text(view)

    def velocity(x: Tensor, sigma: float) -> Tensor:
        timestep = torch.tensor([sigma * flow.TIMESTEPS])
        seen = forward(x, timestep, text)
        if cfg == 1:
            return seen
        return flow.guided(seen, forward(x, timestep, torch.zeros_like(text)), cfg)

    return flow.euler(velocity, start, levels)
