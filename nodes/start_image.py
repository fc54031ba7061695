"""A start image in a conditioning: of the size, and at the length, of the video that is sampled.

WanImageToVideo encodes the image with grey frames after it, as many as the video has: at 4K and 321
frames an IMAGE of 32 GB. After the image these latents soon are all alike, and the mask says that
they mean nothing: so a short conditioning, or a long one, serves every length. It serves one size
alone: the host would stretch another one's latents, and with them the picture.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..atlasvid_core.units import VAE_STRIDE, Grid

IMAGE, MASK = "concat_latent_image", "concat_mask"  # the host's names; the mask is 1 where free


def for_video(conditioning: list, lat: Grid, node: str) -> list:
    """The host's conditioning, its start images [B, 16, t, h, w] with masks [B, 1 or 4, t, h, w]
    as long as `lat`: the last latent frame repeated, or what is too much cut off.

    ValueError where they are of another size, or where frames of the end are given, too: they have
    no place in another length.
    """
    return [[text, _for_video(rest, lat, node)] for text, rest in conditioning]


def _for_video(rest: dict[str, Any], lat: Grid, node: str) -> dict[str, Any]:
    image = rest.get(IMAGE)
    if image is None:
        return rest
    if tuple(image.shape[-2:]) != (lat.h, lat.w):
        given, wanted = _size_px(*image.shape[-2:]), _size_px(lat.h, lat.w)
        raise ValueError(
            f"{node}: the start image in the conditioning is encoded for {given[0]} x {given[1]} "
            f"px, the video of this stage has {wanted[0]} x {wanted[1]}: it would be stretched. "
            "Each stage takes a WanImageToVideo of its own: set "
            f"width {wanted[0]} and height {wanted[1]} in the one that leads here."
        )
    return _of_length(rest, lat.t, node)


def _size_px(h_lat: int, w_lat: int) -> tuple[int, int]:
    """-> width, height."""
    return VAE_STRIDE.w * w_lat, VAE_STRIDE.h * h_lat


def _of_length(rest: dict[str, Any], frames_lat: int, node: str) -> dict[str, Any]:
    image, mask = rest[IMAGE], rest.get(MASK)
    if image.shape[2] == frames_lat:
        return rest
    given = image.shape[2]
    if mask is not None and mask.ndim == 5 and mask.shape[2] == given:
        ends = mask[:, :, min(given - 1, frames_lat) :]
        if bool((ends < 1).any()):
            raise ValueError(
                f"{node}: the conditioning gives frames of the end of a video of "
                f"{4 * given - 3} frames, this one has {4 * frames_lat - 3}. Make it for this "
                f"length (length {4 * frames_lat - 3} in the node that encodes the images), or "
                "give a start image only, at a length of 33, which serves any video."
            )
        rest = rest | {MASK: _fitted(mask, frames_lat, torch.ones_like(mask[:, :, :1]))}
    return rest | {IMAGE: _fitted(image, frames_lat, image[:, :, -1:])}


def _fitted(x: Tensor, frames_lat: int, more: Tensor) -> Tensor:
    missing = frames_lat - x.shape[2]
    if missing <= 0:
        return x[:, :, :frames_lat]
    return torch.cat([x, more.expand(-1, -1, missing, -1, -1)], dim=2)
