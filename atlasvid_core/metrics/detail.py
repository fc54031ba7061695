"""Fine detail: how much there is, and whether it is the right one.

Bands are cut in the Fourier domain of each frame, under a window that fades to the borders. "Fine"
is what a proxy `ratio` times smaller cannot hold: above its Nyquist frequency along either axis.

Shapes: B videos, T frames, H, W rows and columns, K frequencies. Videos are in -1..1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fine_band(video: Tensor, ratio: float) -> Tensor:
    """The video's part above the Nyquist frequency of a proxy `ratio` times smaller, grey.

    [B, 3, T, H, W] -> [B, T, H, W], faded to 0 at the frame's borders.
    """
    spectrum = torch.fft.rfft2(_windowed(video))
    return torch.fft.irfft2(spectrum * _is_fine(video, ratio), s=video.shape[-2:])


def fine_energy(video: Tensor, ratio: float) -> Tensor:
    """Mean square of the fine band, [B]; compare with that of true renders of the full size."""
    return fine_band(video, ratio).square().mean(dim=(1, 2, 3))


def structure_error(video: Tensor, truth: Tensor, ratio: float) -> Tensor:
    """RMS of the fine band's difference to the truth's, in parts of the truth's own RMS, [B].

    0 is the truth and 1 is no fine detail at all. Noise of the right energy gives 1.4: it adds
    error, whatever its strength.
    """
    right = fine_band(truth, ratio)
    wrong = fine_band(video, ratio) - right
    return (wrong.square().mean((1, 2, 3)) / right.square().mean((1, 2, 3))).sqrt()


def edge_error(video: Tensor, truth: Tensor, cell_px: int = 8) -> Tensor:
    """Error of the local strength and direction of edges, in parts of the truth's own, [B].

    Products of gradients (xx, yy, xy: the structure tensor) are averaged over cells, so a texture
    that is right but lies a pixel aside counts for little. No edges at all give 1.
    """
    seen, right = _structure(video, cell_px), _structure(truth, cell_px)
    return (seen - right).abs().mean((1, 2, 3, 4)) / right.abs().mean((1, 2, 3, 4))


def _structure(video: Tensor, cell_px: int) -> Tensor:
    """-> [B, 3, T, H / cell, W / cell], square roots with the sign kept: energies would let the
    strongest edges speak alone."""
    grey = video.mean(1)
    x, y = grey[..., 1:, 1:] - grey[..., 1:, :-1], grey[..., 1:, 1:] - grey[..., :-1, 1:]
    flat = torch.stack([x * x, y * y, x * y], 1).flatten(0, 2)[:, None]
    cells = F.avg_pool2d(flat, cell_px)[:, 0]
    roots = cells.sign() * cells.abs().sqrt()
    return roots.view(video.shape[0], 3, video.shape[2], *roots.shape[-2:])


def _windowed(video: Tensor) -> Tensor:
    """Grey frames less their mean, under a Hann window along each axis. -> [B, T, H, W]"""
    grey = video.mean(1)
    high, wide = (torch.hann_window(n, periodic=False) for n in video.shape[-2:])
    return (grey - grey.mean((-2, -1), keepdim=True)) * high[:, None] * wide


def _is_fine(video: Tensor, ratio: float) -> Tensor:
    """1 where a frequency of `rfft2` is above the proxy's Nyquist along h or w, [H, K]."""
    if ratio <= 1:
        raise ValueError(f"ratio {ratio:g} leaves nothing finer than the proxy: it must exceed 1.")
    limit = 0.5 / ratio
    along_h = torch.fft.fftfreq(video.shape[-2]).abs()
    along_w = torch.fft.rfftfreq(video.shape[-1]).abs()
    return ((along_h[:, None] > limit) | (along_w > limit)).float()
