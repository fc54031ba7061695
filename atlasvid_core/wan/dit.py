"""Wan2.1's diffusion transformer with full attention, under the public file's weight names.

The readable whole of the network: what training of the tiny base uses and what the slab-wise
detail forward is held to. Shapes: B batch, S tokens, N heads, H head size, C channels, L text
tokens; latents are [B, C, t, h, w].
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..rope import Axes, detail_axes, rotate, rotations
from ..units import PATCH, Grid, tok_from_lat

TEXT_SIZE = 4096
TIME_SIZE = 256
IMAGE_SIZE = 1280


@dataclass(frozen=True)
class WanConfig:
    """Sizes of a Wan2.1 DiT; the defaults are those of T2V-1.3B. `in_channels` 36 is i2v."""

    width: int = 1536
    ffn_width: int = 8960
    layers: int = 30
    in_channels: int = 16
    out_channels: int = 16
    image: bool = False

    @property
    def heads(self) -> int:
        return self.width // 128


class SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.norm_q = nn.RMSNorm(width, eps=1e-6)
        self.norm_k = nn.RMSNorm(width, eps=1e-6)

    def split(self, x_BSC: Tensor) -> Tensor:
        return x_BSC.unflatten(-1, (self.heads, -1))

    def forward(self, x_BSC: Tensor, rotation: Tensor) -> Tensor:
        q = rotate(self.split(self.norm_q(self.q(x_BSC))), rotation)
        k = rotate(self.split(self.norm_k(self.k(x_BSC))), rotation)
        return self.o(attend_full(q, k, self.split(self.v(x_BSC))))


class CrossAttention(SelfAttention):
    """Attention to text, and with `image` to CLIP features in front of it."""

    def __init__(self, width: int, heads: int, image: bool) -> None:
        super().__init__(width, heads)
        if image:
            self.k_img, self.v_img = nn.Linear(width, width), nn.Linear(width, width)
            self.norm_k_img = nn.RMSNorm(width, eps=1e-6)

    def forward(self, x_BSC: Tensor, text_BLC: Tensor, image_BLC: Tensor | None = None) -> Tensor:
        q = self.split(self.norm_q(self.q(x_BSC)))
        k = self.split(self.norm_k(self.k(text_BLC)))
        seen = attend_full(q, k, self.split(self.v(text_BLC)))
        if image_BLC is not None:
            k = self.split(self.norm_k_img(self.k_img(image_BLC)))
            seen = seen + attend_full(q, k, self.split(self.v_img(image_BLC)))
        return self.o(seen)


def attend_full(q_BSNH: Tensor, k_BLNH: Tensor, v_BLNH: Tensor) -> Tensor:
    """Full attention -> [B, S, N * H]."""
    q, k, v = (x.transpose(1, 2) for x in (q_BSNH, k_BLNH, v_BLNH))
    seen = F.scaled_dot_product_attention(q, k, v)
    return seen.transpose(1, 2).flatten(2)


class Block(nn.Module):
    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        width = config.width
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.self_attn = SelfAttention(width, config.heads)
        self.norm3 = nn.LayerNorm(width, eps=1e-6)
        self.cross_attn = CrossAttention(width, config.heads, config.image)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.ffn = nn.Sequential(
            nn.Linear(width, config.ffn_width),
            nn.GELU(approximate="tanh"),
            nn.Linear(config.ffn_width, width),
        )
        self.modulation = nn.Parameter(torch.randn(1, 6, width) / width**0.5)

    def forward(self, x: Tensor, time_B6C: Tensor, rotation: Tensor, text, image=None) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = (self.modulation + time_B6C).split(1, dim=1)
        x = x + gate1 * self.self_attn(self.norm1(x) * (1 + scale1) + shift1, rotation)
        x = x + self.cross_attn(self.norm3(x), text, image)
        return x + gate2 * self.ffn(self.norm2(x) * (1 + scale2) + shift2)


class Head(nn.Module):
    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width, eps=1e-6, elementwise_affine=False)
        self.head = nn.Linear(config.width, math.prod(PATCH) * config.out_channels)
        self.modulation = nn.Parameter(torch.randn(1, 2, config.width) / config.width**0.5)

    def forward(self, x_BSC: Tensor, time_B1C: Tensor) -> Tensor:
        shift, scale = (self.modulation + time_B1C).split(1, dim=1)
        return self.head(self.norm(x_BSC) * (1 + scale) + shift)


class ImageEmbedding(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.LayerNorm(IMAGE_SIZE),
            nn.Linear(IMAGE_SIZE, IMAGE_SIZE),
            nn.GELU(),
            nn.Linear(IMAGE_SIZE, width),
            nn.LayerNorm(width),
        )

    def forward(self, x_BLC: Tensor) -> Tensor:
        return self.proj(x_BLC)


class WanDiT(nn.Module):
    """A Wan2.1 text- or image-to-video DiT. Source: the public checkpoints' names and shapes."""

    def __init__(self, config: WanConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.patch_embedding = nn.Conv3d(config.in_channels, width, PATCH, PATCH)
        self.text_embedding = nn.Sequential(
            nn.Linear(TEXT_SIZE, width), nn.GELU(approximate="tanh"), nn.Linear(width, width)
        )
        self.time_embedding = nn.Sequential(
            nn.Linear(TIME_SIZE, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.time_projection = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.head = Head(config)
        if config.image:
            self.img_emb = ImageEmbedding(width)

    def forward(
        self,
        latent: Tensor,
        timestep: Tensor,
        text: Tensor,
        image: Tensor | None = None,
        axes: Axes | None = None,
    ) -> Tensor:
        """Latents [B, C, t, h, w] (h, w even), timesteps [B] in 0..1000, text [B, L, 4096].

        `image`: CLIP features [B, 257, 1280] for i2v. `axes`: RoPE coordinates, by default the
        grid's own. -> velocity [B, 16, t, h, w].
        """
        grid = tok_from_lat(Grid(*latent.shape[2:]))
        rotation = rotations(axes or detail_axes(grid)).to(latent.device)
        return self.tokens_forward(latent, grid, timestep, text, image, rotation)

    def tokens_forward(
        self, latent, grid: Grid, timestep, text, image, rotation, run_block=None
    ) -> Tensor:
        """`run_block(block, *inputs)`, where given, runs each block: checkpointing goes there."""
        x = self.patch_embedding(latent.float()).to(latent.dtype).flatten(2).transpose(1, 2)
        time_B1C = self.time_embedding(time_features(timestep).to(x.dtype))[:, None]
        time_B6C = self.time_projection(time_B1C[:, 0]).unflatten(1, (6, -1))
        text = self.text_embedding(text)
        image = None if image is None else self.img_emb(image)
        for block in self.blocks:
            inputs = (x, time_B6C, rotation, text, image)
            x = block(*inputs) if run_block is None else run_block(block, *inputs)
        return unpatchify(self.head(x, time_B1C), grid)


def time_features(timestep_B: Tensor) -> Tensor:
    """Sinusoids [B, 256] (cosines first) of timesteps in 0..1000, as Wan2.1 has them."""
    half = TIME_SIZE // 2
    rates = 10000.0 ** (-torch.arange(half, device=timestep_B.device, dtype=torch.float32) / half)
    angle = timestep_B.float()[:, None] * rates
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def unpatchify(x_BSC: Tensor, grid: Grid) -> Tensor:
    """Tokens [B, t*h*w, 1*2*2*C] -> latents [B, C, t, 2h, 2w]."""
    x = x_BSC.unflatten(1, tuple(grid)).unflatten(-1, (*PATCH, -1))
    x = x.permute(0, 7, 1, 4, 2, 5, 3, 6)
    return x.flatten(6, 7).flatten(4, 5).flatten(2, 3)
