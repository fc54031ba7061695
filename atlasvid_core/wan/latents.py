"""Between a Wan VAE's raw latents and the normalised latents its DiT was trained on.

Figures: the per-channel statistics published with Wan2.1 (its VAE's `mean` and `std`).
"""

from __future__ import annotations

import torch
from torch import Tensor

# fmt: off
LATENT_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)
LATENT_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)
# fmt: on


def _per_channel(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, -1, 1, 1, 1)


def to_model_space(raw_B16THW: Tensor) -> Tensor:
    """Raw VAE latents -> latents of mean 0 and deviation 1, as the DiT sees them."""
    return (raw_B16THW - _per_channel(LATENT_MEAN, raw_B16THW)) / _per_channel(
        LATENT_STD, raw_B16THW
    )


def from_model_space(latent_B16THW: Tensor) -> Tensor:
    """The inverse of `to_model_space`."""
    return latent_B16THW * _per_channel(LATENT_STD, latent_B16THW) + _per_channel(
        LATENT_MEAN, latent_B16THW
    )
