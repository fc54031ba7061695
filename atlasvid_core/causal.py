"""The layers of Wan2.1's VAE on a chunk of frames, with what each remembers of the frames before.

Both halves of the VAE are causal in time: a convolution needs the last two frames of its input and
nothing else of the past. Those are carried in an explicit dictionary, one for each part of the
picture that is worked on alone, so memory does not grow with the number of frames and no seam in
time exists. Works on any module with Wan2.1's names: the host's (whose own cache differs between
versions and is not used) or ours. Source: DESIGN section 6.

Shapes: T frames of a chunk, C channels, H, W rows and columns; one video, so no batch axis.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Past = dict[nn.Module, Tensor]  # the last input frames of each causal convolution
TINY = 1e-24  # keeps a norm of all zeros finite


def run(layers: Iterable[nn.Module], x_TCHW: Tensor, past: Past, first: bool) -> Tensor:
    """A chunk through these layers; `first`: it holds the video's first frame, and only that."""
    for layer in layers:
        x_TCHW = apply(layer, x_TCHW, past, first)
    return x_TCHW


def apply(layer: nn.Module, x_TCHW: Tensor, past: Past, first: bool) -> Tensor:
    """Any layer by what it carries: the names of its parts are those of the public weights."""
    if isinstance(layer, nn.Conv3d):
        return conv(layer, x_TCHW, past)
    if isinstance(layer, nn.Sequential):
        return run(layer, x_TCHW, past, first)
    if hasattr(layer, "gamma"):
        return norm(layer, x_TCHW)
    if hasattr(layer, "residual"):
        skip = layer.shortcut
        kept = x_TCHW if isinstance(skip, nn.Identity) else conv(skip, x_TCHW, past)
        return run(layer.residual, x_TCHW, past, first).add_(kept)
    if hasattr(layer, "to_qkv"):
        return frame_attention(layer, x_TCHW)
    if hasattr(layer, "resample"):
        return halve(layer, x_TCHW, past) if halves(layer) else double(layer, x_TCHW, past, first)
    return layer(x_TCHW)  # SiLU, dropout


def conv(layer: nn.Conv3d, x_TCHW: Tensor, past: Past) -> Tensor:
    """A causal convolution over this chunk and the frames it carries; nothing before the first."""
    need = layer.kernel_size[0] - 1
    weight, bias = layer.weight.to(x_TCHW), layer.bias.to(x_TCHW)
    frames, seen = x_TCHW.shape[0], x_TCHW
    if need:
        if layer in past:
            seen = torch.cat([past[layer], x_TCHW])
        past[layer] = seen[-need:].clone()
    pad = (layer.kernel_size[1] // 2, layer.kernel_size[2] // 2)
    if seen.is_cuda or seen.dtype != torch.float32:  # one sum, rounded once
        missing = need - (seen.shape[0] - frames)
        h, w = (p - own for p, own in zip(pad, layer.padding[1:], strict=True))
        whole = F.pad(seen.transpose(0, 1)[None], (w, w, h, h, missing, 0))  # what it does not pad
        return layer._conv_forward(whole, weight, bias)[0].transpose(0, 1)
    # On CPUs a plane of the kernel at a time is 2 to 10 times as fast as conv3d.
    total = F.conv2d(x_TCHW, weight[:, :, need], bias, padding=pad)
    for back in range(1, need + 1):
        earlier = seen[max(0, seen.shape[0] - frames - back) : seen.shape[0] - back]
        if earlier.shape[0]:
            plane = weight[:, :, need - back]
            total[-earlier.shape[0] :] += F.conv2d(earlier, plane, padding=pad)
    return total


def norm(layer: nn.Module, x_TCHW: Tensor) -> Tensor:
    """RMS over channels."""
    gamma = layer.gamma.to(x_TCHW).flatten()
    x_THWC = F.rms_norm(x_TCHW.movedim(1, -1), gamma.shape, gamma, TINY)
    return x_THWC.movedim(-1, 1)


def frame_attention(layer: nn.Module, x_TCHW: Tensor) -> Tensor:
    """Attention over the whole of each frame, on the block's own projections.

    One head, channels contiguous: what torch's fused CPU and CUDA kernels ask for. Otherwise a
    matrix of (H W)^2 would be made.
    """
    h, w = x_TCHW.shape[2:]
    qkv_TNC = layer.to_qkv(layer.norm(x_TCHW)).flatten(2).transpose(1, 2).contiguous()
    q, k, v = (part.unsqueeze(1) for part in qkv_TNC.chunk(3, dim=-1))
    seen_TNC = F.scaled_dot_product_attention(q, k, v).squeeze(1)
    return x_TCHW + layer.proj(seen_TNC.transpose(1, 2).unflatten(2, (h, w)))


def halves(layer: nn.Module) -> bool:
    """Whether a resampling layer shrinks the picture (encoder) or enlarges it (decoder)."""
    return layer.resample[1].stride[0] == 2


def double(layer: nn.Module, x_TCHW: Tensor, past: Past, first: bool) -> Tensor:
    """Space doubles; time doubles too where the layer says so, but for the very first frame."""
    if hasattr(layer, "time_conv") and not first:
        x_TCHW = conv(layer.time_conv, x_TCHW, past).unflatten(1, (2, -1)).flatten(0, 1)
    return layer.resample(x_TCHW)


def halve(layer: nn.Module, x_TCHW: Tensor, past: Past) -> Tensor:
    """Space halves; time halves too where the layer says so, but for the very first frame."""
    x_TCHW = layer.resample(x_TCHW)
    if not hasattr(layer, "time_conv"):
        return x_TCHW
    step, before = layer.time_conv, past.get(layer.time_conv)
    past[step] = x_TCHW[-1:].clone()
    if before is None:
        return x_TCHW
    whole = torch.cat([before, x_TCHW]).transpose(0, 1)[None]
    weight, bias = step.weight.to(whole), step.bias.to(whole)
    return step._conv_forward(whole, weight, bias)[0].transpose(0, 1)
