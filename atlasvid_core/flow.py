"""Rectified flow as Wan2.1 has it: x_sigma = (1 - sigma) x0 + sigma noise, velocity noise - x0.

Source: paper B.1 (flow matching consistent with Wan2.1) and B.2 (Euler).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

TIMESTEPS = 1000.0  # a timestep is sigma * TIMESTEPS


def shifted(sigma: Tensor, shift: float) -> Tensor:
    """Spend more of the way at high noise: shift > 1 suits large latents (Wan2.1 uses 5 to 8)."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sigmas(steps: int, shift: float = 8.0, denoise: float = 1.0) -> Tensor:
    """Noise levels [steps + 1] from `denoise` (1 = pure noise) down to 0, after the shift."""
    if steps < 1 or shift <= 0 or not 0 < denoise <= 1:
        raise ValueError(
            f"steps {steps}, shift {shift}, denoise {denoise} make no schedule: steps must be at "
            "least 1, shift above 0 and denoise above 0 and at most 1."
        )
    return shifted(torch.linspace(denoise, 0, steps + 1, dtype=torch.float64), shift).float()


def noised(x0: Tensor, noise: Tensor, sigma_B: Tensor) -> Tensor:
    """The point at noise level `sigma_B` [B] between data and noise, both [B, ...]."""
    sigma = sigma_B.view(-1, *([1] * (x0.ndim - 1))).to(x0.dtype)
    return (1 - sigma) * x0 + sigma * noise


def velocity_target(x0: Tensor, noise: Tensor) -> Tensor:
    """What the network is trained to give: d x_sigma / d sigma."""
    return noise - x0


def guided(velocity_cond: Tensor, velocity_uncond: Tensor, cfg: float) -> Tensor:
    """Classifier-free guidance."""
    return velocity_uncond + cfg * (velocity_cond - velocity_uncond)


def euler(
    velocity: Callable[[Tensor, float], Tensor],
    x: Tensor,
    sigmas: Tensor,
    on_step: Callable[[int, Tensor], None] | None = None,
) -> Tensor:
    """Integrate `velocity(x, sigma)` along `sigmas` [n + 1]; `on_step(i, x)` after each step.

    An exception from `on_step` ends the run: that is how a caller cancels.
    """
    levels = sigmas.tolist()
    for i, (now, then) in enumerate(zip(levels[:-1], levels[1:], strict=True)):
        x = x + (then - now) * velocity(x, now)
        if on_step is not None:
            on_step(i, x)
    return x
