"""The pieces of a Wan2.1 forward, each by calling a loaded model's submodules.

`model` is anything with Wan2.1's submodule names: the host's WanModel or ours. Modules are
called, raw weights never read, so that casting, offloading, fp8 and LoRA patches of a host keep
working; the raw `modulation` parameters go through `cast(parameter, like)`. Source: Wan2.1's
public weights and architecture; DESIGN section 6.

Shapes: B batch, S tokens, N heads, H head size, C width, L text tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..rope import rotate
from ..units import HEAD_SIZE, PATCH, Grid
from .dit import attend_full, time_features

Cast = Callable[[Tensor, Tensor], Tensor]
Resident = Callable[[nn.Module, torch.device], AbstractContextManager[None]]


def plain_cast(param: Tensor, like: Tensor) -> Tensor:
    return param.to(like)


def not_resident(block: nn.Module, device: torch.device) -> AbstractContextManager[None]:
    """Weights stay where they are: they are on the device already, or each call moves them."""
    return nullcontext()


def pad_to_patch(latent: Tensor) -> Tensor:
    """Odd h or w wraps around to the patch's multiple, as the host pads."""
    missing = [-n % p for n, p in zip(latent.shape[2:], PATCH, strict=True)]
    if not any(missing):
        return latent
    t, h, w = missing
    return F.pad(latent, (0, w, 0, h, 0, t), mode="circular")


def embed_patches(model: nn.Module, latent: Tensor) -> Tensor:
    """[B, C_in, t, h, w] (whole patches) -> [B, S, C] row-major; the convolution is float32."""
    patches = model.patch_embedding(latent.float()).to(latent.dtype)
    return patches.flatten(2).transpose(1, 2)


@dataclass(frozen=True)
class Time:
    """A timestep as the network reads it: `features` [B, 1, C], `projected` [B, 1, 6, C]."""

    features: Tensor
    projected: Tensor


def embed_time(model: nn.Module, timestep: Tensor, dtype: torch.dtype) -> Time:
    """Timesteps [B] or [B, 1] in 0..1000."""
    if timestep.numel() != timestep.shape[0]:
        raise ValueError(
            f"timesteps of the shape {list(timestep.shape)} differ within a video; Wan2.1 has one "
            "timestep for a video. Use a sampler that denoises all frames alike."
        )
    features = model.time_embedding(time_features(timestep.flatten()).to(dtype))[:, None]
    return Time(features, model.time_projection(features).unflatten(2, (6, -1)))


@dataclass(frozen=True)
class Context:
    """What detail tokens read by cross-attention: text [B, L, C], image [B, I, C] or None."""

    text: Tensor
    image: Tensor | None


def embed_context(model: nn.Module, text: Tensor, clip_fea: Tensor | None) -> Context:
    embedder = getattr(model, "img_emb", None)
    image = None if clip_fea is None or embedder is None else embedder(clip_fea)
    return Context(model.text_embedding(text), image)


def modulation(block: nn.Module, time: Time, like: Tensor, cast: Cast) -> tuple[Tensor, ...]:
    """-> shift, scale, gate of self-attention, then of the FFN; each [B, 1, C]."""
    return (cast(block.modulation, like).unsqueeze(0) + time.projected).unbind(2)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, x, 1 + scale)


def split_heads(x_BSC: Tensor) -> Tensor:
    return x_BSC.unflatten(-1, (-1, HEAD_SIZE))


def queries(attention: nn.Module, x_BSC: Tensor, rotation: Tensor) -> Tensor:
    return rotate(split_heads(attention.norm_q(attention.q(x_BSC))), rotation)


def keys_values(attention: nn.Module, x_BSC: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    keys = rotate(split_heads(attention.norm_k(attention.k(x_BSC))), rotation)
    return keys, split_heads(attention.v(x_BSC))


def context_keys_values(attention: nn.Module, context: Context) -> list[tuple[Tensor, Tensor]]:
    """Keys and values [B, L, N, H] of the text and, on image-to-video models, of the image."""
    text = context.text
    k = split_heads(attention.norm_k(attention.k(text)))
    pairs = [(k, split_heads(attention.v(text)))]
    if hasattr(attention, "k_img"):
        # without CLIP features the host lets the image's keys and values read the text
        image = text if context.image is None else context.image
        k = split_heads(attention.norm_k_img(attention.k_img(image)))
        pairs.append((k, split_heads(attention.v_img(image))))
    return pairs


def cross_attention(
    attention: nn.Module, x_BSC: Tensor, pairs: list[tuple[Tensor, Tensor]]
) -> Tensor:
    """What every token reads of `context_keys_values` -> [B, S, C]."""
    q = split_heads(attention.norm_q(attention.q(x_BSC)))
    seen = attend_full(q, *pairs[0])
    for k, v in pairs[1:]:
        seen = seen + attend_full(q, k, v)
    return attention.o(seen)


def head(model: nn.Module, x_BSC: Tensor, time: Time, cast: Cast) -> Tensor:
    """-> patches [B, S, 4 * C_out]."""
    pair = cast(model.head.modulation, x_BSC).unsqueeze(0) + time.features.unsqueeze(2)
    shift, scale = pair.unbind(2)
    return model.head.head(modulated(model.head.norm(x_BSC), shift, scale))


def crop(latent: Tensor, lat: Grid) -> Tensor:
    """Take away what `pad_to_patch` added."""
    return latent[:, :, : lat.t, : lat.h, : lat.w]
