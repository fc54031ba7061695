"""What is shown of a video while it is sampled: a few of its moments, small, in one picture."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

ACROSS = 2  # moments side by side; as many below one another


def sheet(x0_BCTHW: Tensor, most: int) -> Tensor:
    """-> latents [1, C, 1, h', w'] of the batch's first video, h' and w' at most `most`.

    First frame, last frame and two in between, row by row, so that motion can be told from it; of
    fewer than four frames the first alone. Its cost does not grow with the video's.
    """
    t, h, w = x0_BCTHW.shape[2:]
    across = ACROSS if t >= ACROSS**2 else 1
    at = [i * (t - 1) // max(1, across**2 - 1) for i in range(across**2)]
    scale = min(1.0, most / (across * max(h, w)))
    size = (max(1, int(h * scale)), max(1, int(w * scale)))
    frames_MCHW = F.interpolate(x0_BCTHW[0, :, at].movedim(1, 0).float(), size, mode="area")
    rows = frames_MCHW.unflatten(0, (across, across)).permute(2, 0, 3, 1, 4)  # [C, row, h, col, w]
    return rows.flatten(3).flatten(1, 2)[None, :, None].to(x0_BCTHW.dtype)
