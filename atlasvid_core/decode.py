"""Decode a Wan2.1 latent video one latent frame at a time, exactly.

Wan's decoder is causal in time: each convolution needs the last two frames of its input and
nothing else of the past. Those are carried here in an explicit dictionary, so memory does not grow
with the number of frames and no seam in time exists. Works on any module with Wan2.1's names: the
host's (whose own cache differs between versions and is not used) or ours. Source: DESIGN section 6.

Shapes: B batch, C channels, T frames of a chunk, H, W rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Past = dict[nn.Module, Tensor]  # the last input frames of each causal convolution


def decode_frames(
    vae: nn.Module, latent: Tensor, on_frame: Callable[[int, int], None] | None = None
) -> Tensor:
    """Raw latents [B, 16, t, h, w] -> frames [B, 4(t - 1) + 1, 8h, 8w, 3], about -1..1.

    `on_frame(done, total)` is called once a latent frame and may raise to cancel.
    """
    b, _, t, h, w = latent.shape
    frames = latent.new_empty(b, 4 * (t - 1) + 1, 8 * h, 8 * w, 3)
    done = 0
    for number, chunk in enumerate(decode_chunks(vae, latent)):
        frames[:, done : done + chunk.shape[2]] = chunk.permute(0, 2, 3, 4, 1)
        done += chunk.shape[2]
        if on_frame is not None:
            on_frame(number + 1, t)
    return frames


def decode_chunks(vae: nn.Module, latent: Tensor) -> Iterator[Tensor]:
    """-> pixels [B, 3, T, 8h, 8w] of each latent frame in turn: one frame, then four at a time."""
    past: Past = {}
    decoder = vae.decoder
    for number in range(latent.shape[2]):
        x = causal(vae.conv2, latent[:, :, number : number + 1], past)
        x = causal(decoder.conv1, x, past)
        for layer in (*decoder.middle, *decoder.upsamples):
            x = _layer(layer, x, past, first=number == 0)
        yield _sequence(decoder.head, x, past)


def causal(conv: nn.Module, x: Tensor, past: Past) -> Tensor:
    """A causal convolution over this chunk and the frames it carries; zeros before the first."""
    need = conv.kernel_size[0] - 1
    if need:
        before = past.get(conv)
        if before is None:
            before = x.new_zeros(*x.shape[:2], need, *x.shape[3:])
        x = torch.cat([before, x], dim=2)
        past[conv] = x[:, :, -need:].clone()
    pad_h, pad_w = conv.kernel_size[1] // 2, conv.kernel_size[2] // 2
    return F.conv3d(x, conv.weight.to(x), conv.bias.to(x), padding=(0, pad_h, pad_w))


def _layer(layer: nn.Module, x: Tensor, past: Past, first: bool) -> Tensor:
    if hasattr(layer, "residual"):
        skip = layer.shortcut
        kept = x if isinstance(skip, nn.Identity) else causal(skip, x, past)
        return kept + _sequence(layer.residual, x, past)
    if hasattr(layer, "to_qkv"):
        return _frame_attention(layer, x)
    return _upsample(layer, x, past, first)


def _sequence(layers: nn.Module, x: Tensor, past: Past) -> Tensor:
    for layer in layers:
        x = causal(layer, x, past) if isinstance(layer, nn.Conv3d) else layer(x)
    return x


def _frame_attention(layer: nn.Module, x: Tensor) -> Tensor:
    """Attention over the whole of each frame, on the block's own projections."""
    b, c, t, h, w = x.shape
    frames = x.transpose(1, 2).reshape(b * t, c, h, w)
    q, k, v = layer.to_qkv(layer.norm(frames)).flatten(2).transpose(1, 2).chunk(3, dim=-1)
    seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b * t, c, h, w)
    return x + layer.proj(seen).unflatten(0, (b, t)).transpose(1, 2)


def _upsample(layer: nn.Module, x: Tensor, past: Past, first: bool) -> Tensor:
    """Space doubles; time doubles too where the layer says so, but for the very first frame."""
    if hasattr(layer, "time_conv") and not first:
        pair = causal(layer.time_conv, x, past).unflatten(1, (2, -1))
        x = pair.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
    b, _, t = x.shape[:3]
    frames = layer.resample(x.transpose(1, 2).flatten(0, 1))
    return frames.unflatten(0, (b, t)).transpose(1, 2)
