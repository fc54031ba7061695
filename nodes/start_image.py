"""A start image in a conditioning, at the length of the video that is sampled.

WanImageToVideo encodes the image with grey frames after it, as many as the video has: at 4K and 321
frames an IMAGE of 32 GB. After the image these latents soon are all alike, and the mask says that
they mean nothing: so a short conditioning, or one that was made for the other stage, serves every
length.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

IMAGE, MASK = "concat_latent_image", "concat_mask"  # the host's names; the mask is 1 where free


def of_length(conditioning: list, frames_lat: int, node: str) -> list:
    """The host's conditioning, its start images [B, 16, t, h, w] with masks [B, 1 or 4, t, h, w]
    `frames_lat` long: the last latent frame repeated, or what is too much cut off.

    ValueError where frames of the end are given, too: they have no place in another length.
    """
    return [[text, _of_length(rest, frames_lat, node)] for text, rest in conditioning]


def _of_length(rest: dict[str, Any], frames_lat: int, node: str) -> dict[str, Any]:
    image, mask = rest.get(IMAGE), rest.get(MASK)
    if image is None or image.shape[2] == frames_lat:
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
