"""A peer: the sequence flattened in row-major order, windows along it, in blocks.

What local attention costs when it doesn't know that tokens lie in a grid. Every block of queries
sees the blocks around its own; at the ends the windows stay whole and move inwards. Windows are
views into the keys: nothing is gathered.

Shapes: B batch, S tokens, N heads, H head size.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def attend(q_BSNH: Tensor, k_BSNH: Tensor, v_BSNH: Tensor, block: int, blocks: int) -> Tensor:
    """Each block of `block` tokens sees `blocks` (odd) of them -> [B, S, N, H]. B is 1."""
    count, side = q_BSNH.shape[1] // block, blocks // 2
    assert q_BSNH.shape[0] == 1 and q_BSNH.shape[1] == count * block and count >= blocks
    q = q_BSNH[0].unflatten(0, (count, block)).transpose(1, 2)  # [blocks, N, block, H]
    k, v = (
        x[0].unfold(0, block * blocks, block).permute(0, 1, 3, 2)  # [count - 2 side, N, window, H]
        for x in (k_BSNH, v_BSNH)
    )
    first, last = slice(0, side), slice(count - side, count)
    parts = [
        _seen(q[first], k[:1], v[:1]),
        _seen(q[side : count - side], k, v),
        _seen(q[last], k[-1:], v[-1:]),
    ]
    return torch.cat(parts).flatten(0, 1)[None]


def _seen(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = (x.expand(len(q), -1, -1, -1) for x in (k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2)  # [blocks, block, N, H]


def pairs(tokens: int, block: int, blocks: int) -> int:
    """Query-key pairs of one head."""
    return tokens * block * blocks
