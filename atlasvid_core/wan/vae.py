"""Wan2.1's video VAE: causal in time, strides (4, 8, 8), 16 latent channels.

State-dict names and shapes are those of the public file, so it loads here and in ComfyUI.
Both directions run over the whole clip at once; `atlasvid_core.decode` streams the decoder.

Shapes: B batch, C channels, T frames (px or lat), H, W rows and columns.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LATENT_CHANNELS = 16
WIDTHS = (1, 2, 4, 4)
BLOCKS_PER_LEVEL = 2
HALVES_TIME = (False, True, True)


class CausalConv3d(nn.Conv3d):
    """A 3-D convolution that sees the past only: all time padding is in front, with zeros."""

    def __init__(self, c_in: int, c_out: int, kernel, stride=1, space_padding: int = 0) -> None:
        super().__init__(c_in, c_out, kernel, stride, padding=(0, space_padding, space_padding))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        past = self.kernel_size[0] - 1 if self.stride[0] == 1 else 0
        return super().forward(F.pad(x_BCTHW, (0, 0, 0, 0, past, 0)) if past else x_BCTHW)


class ChannelNorm(nn.Module):
    """RMS norm over channels; `gamma` broadcasts over `space_dims` trailing axes."""

    def __init__(self, channels: int, space_dims: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *([1] * space_dims)))

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1) * self.gamma.shape[0] ** 0.5 * self.gamma


class ResidualBlock(nn.Module):
    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            ChannelNorm(c_in, 3),
            nn.SiLU(),
            CausalConv3d(c_in, c_out, 3, space_padding=1),
            ChannelNorm(c_out, 3),
            nn.SiLU(),
            nn.Dropout(0.0),
            CausalConv3d(c_out, c_out, 3, space_padding=1),
        )
        self.shortcut = CausalConv3d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(x) + self.shortcut(x)


class FrameAttention(nn.Module):
    """One head over all positions of a frame; frames do not see each other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, 2)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, t, h, w = x.shape
        frames = x.transpose(1, 2).reshape(b * t, c, h, w)
        qkv = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2).chunk(3, dim=-1)
        seen = F.scaled_dot_product_attention(*qkv).transpose(1, 2).reshape(b * t, c, h, w)
        return x + self.proj(seen).reshape(b, t, c, h, w).transpose(1, 2)


def _per_frame(module: nn.Module, x: Tensor) -> Tensor:
    b, c, t, h, w = x.shape
    y = module(x.transpose(1, 2).reshape(b * t, c, h, w))
    return y.reshape(b, t, *y.shape[1:]).transpose(1, 2)


class Downsample(nn.Module):
    """Halve space; with `time`, halve every frame but the first: 1 + 2n -> 1 + n."""

    def __init__(self, channels: int, time: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(
            nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(channels, channels, 3, stride=2)
        )
        if time:
            self.time_conv = CausalConv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        x = _per_frame(self.resample, x)
        if not hasattr(self, "time_conv") or x.shape[2] == 1:
            return x
        return torch.cat([x[:, :, :1], self.time_conv(x)], dim=2)


class Upsample(nn.Module):
    """Double space and halve channels; with `time`, double every frame but the first."""

    def __init__(self, channels: int, time: bool) -> None:
        super().__init__()
        self.resample = nn.Sequential(
            nn.Upsample(scale_factor=2.0, mode="nearest-exact"),
            nn.Conv2d(channels, channels // 2, 3, padding=1),
        )
        if time:
            self.time_conv = CausalConv3d(channels, 2 * channels, (3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if hasattr(self, "time_conv") and x.shape[2] > 1:
            pair = self.time_conv(x[:, :, 1:]).unflatten(1, (2, -1))
            later = pair.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
            x = torch.cat([x[:, :, :1], later], dim=2)
        return _per_frame(self.resample, x)


def _middle(channels: int) -> nn.Sequential:
    return nn.Sequential(
        ResidualBlock(channels, channels),
        FrameAttention(channels),
        ResidualBlock(channels, channels),
    )


def _head(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(
        ChannelNorm(c_in, 3), nn.SiLU(), CausalConv3d(c_in, c_out, 3, space_padding=1)
    )


class Encoder(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv1 = CausalConv3d(3, dim, 3, space_padding=1)
        layers: list[nn.Module] = []
        c_in = dim
        for level, width in enumerate(WIDTHS):
            for _ in range(BLOCKS_PER_LEVEL):
                layers.append(ResidualBlock(c_in, dim * width))
                c_in = dim * width
            if level < len(WIDTHS) - 1:
                layers.append(Downsample(c_in, time=HALVES_TIME[level]))
        self.downsamples = nn.Sequential(*layers)
        self.middle = _middle(c_in)
        self.head = _head(c_in, 2 * LATENT_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.middle(self.downsamples(self.conv1(x))))


class Decoder(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        c_in = dim * WIDTHS[-1]
        self.conv1 = CausalConv3d(LATENT_CHANNELS, c_in, 3, space_padding=1)
        self.middle = _middle(c_in)
        layers: list[nn.Module] = []
        for level, width in enumerate(reversed(WIDTHS)):
            for _ in range(BLOCKS_PER_LEVEL + 1):
                layers.append(ResidualBlock(c_in, dim * width))
                c_in = dim * width
            if level < len(WIDTHS) - 1:
                layers.append(Upsample(c_in, time=HALVES_TIME[::-1][level]))
                c_in //= 2
        self.upsamples = nn.Sequential(*layers)
        self.head = _head(c_in, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.upsamples(self.middle(self.conv1(x))))


class WanVAE(nn.Module):
    """Wan2.1's VAE; `dim` is 96 in the public file.

    Latents here are raw, as the file's weights give them; `wan.latents` maps them to what the
    DiT sees. Source: the public checkpoint's names and shapes.
    """

    def __init__(self, dim: int = 96) -> None:
        super().__init__()
        self.encoder = Encoder(dim)
        self.conv1 = CausalConv3d(2 * LATENT_CHANNELS, 2 * LATENT_CHANNELS, 1)
        self.conv2 = CausalConv3d(LATENT_CHANNELS, LATENT_CHANNELS, 1)
        self.decoder = Decoder(dim)

    def encode(self, video_B3THW: Tensor) -> Tensor:
        """Pixels -1..1, T = 4k + 1, H and W multiples of 8 -> latent means [B, 16, k + 1, ..]."""
        frames, height, width = video_B3THW.shape[2:]
        if frames % 4 != 1 or height % 8 or width % 8:
            raise ValueError(
                f"A video of {frames} x {height} x {width} (frames, height, width) cannot be "
                "encoded: frames must be 4k + 1, height and width multiples of 8."
            )
        return self.conv1(self.encoder(video_B3THW)).chunk(2, dim=1)[0]

    def decode(self, latent_B16THW: Tensor) -> Tensor:
        """Raw latents [B, 16, t, h, w] -> pixels [B, 3, 4(t - 1) + 1, 8h, 8w], about -1..1."""
        return self.decoder(self.conv2(latent_B16THW))
