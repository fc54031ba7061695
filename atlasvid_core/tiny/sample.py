"""Videos of the tiny base, or of its stage 1: whole pictures at base size from words and a seed.

Shapes: B scenes; videos [B, 3, 9, 96, 96] in -1..1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .. import flow
from ..rope import Axes, detail_axes
from ..wan.latents import from_model_space
from .make_base import GRID_TOK, SHIFT
from .words import encode_prompt
from .world import Scenes


@torch.no_grad()
def videos_of(
    dit: nn.Module,
    vae: nn.Module,
    scenes: Scenes,
    r_t: int,
    *,
    seed: int = 11,
    steps: int = 40,
    cfg: float = 1.5,
) -> Tensor:
    """What the model makes of the scenes' prompts, one noise each, at a frame stride of `r_t`."""
    count = len(scenes.colour)
    text = torch.cat([encode_prompt(scenes.prompt(i)) for i in range(count)])
    axes = detail_axes(GRID_TOK)
    axes = Axes(axes.t * r_t, axes.h, axes.w)

    def velocity(x: Tensor, sigma: float) -> Tensor:
        timestep = torch.full((2 * count,), sigma * flow.TIMESTEPS)
        both = dit(torch.cat([x, x]), timestep, torch.cat([text, 0 * text]), axes=axes)
        told, empty = both.chunk(2)
        return flow.guided(told, empty, cfg)

    noise = torch.randn(count, 16, 3, 12, 12, generator=torch.Generator().manual_seed(seed))
    latent = flow.euler(velocity, noise, flow.sigmas(steps, shift=SHIFT))
    return vae.decode(from_model_space(latent)).clamp(-1, 1)
