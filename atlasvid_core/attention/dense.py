"""The oracle: a masked softmax over every token, as the paper writes it (section 3.3).

Shapes: B batch, S detail tokens, G proxy tokens, N heads, H head size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .layout import CubeLayout, Slab, whole
from .mask import Aligned, detail_mask, guide_mask

MAX_SCORES = 2**26  # entries of one head's score matrix


def attend(
    q_BSNH: Tensor,
    k_BSNH: Tensor,
    v_BSNH: Tensor,
    layout: CubeLayout,
    reach: str,
    guide_kv: tuple[Tensor, Tensor] | None = None,
    aligned: Aligned | None = None,
    slab: Slab | None = None,
    spare: Tensor | None = None,
) -> Tensor:
    """Local attention with a guide, tokens in cube order and already rotated -> [B, S, N, H].

    `guide_kv`: keys and values of the proxy [B or 1, G, N, H]; `aligned` says who sees which.
    With `aligned` alone, `k_BSNH` and `v_BSNH` already end with the proxy's.
    With `slab`, queries are its tokens only, keys and values those of its ring.
    `spare`: memory of the queries' shape, possibly theirs, that a backend may write the result to
    where no gradients are wanted; read what is returned.
    Raises ValueError where the score matrix would be too large to hold.
    """
    tokens, proxies = layout.grid.count, 0 if aligned is None else aligned.grid.count
    if tokens * (tokens + proxies) > MAX_SCORES:
        raise ValueError(
            f"backend dense would score {tokens:,} tokens against {tokens + proxies:,}; its limit "
            f"is {MAX_SCORES:,} pairs. Choose backend auto or windowed."
        )
    slab = slab or whole(layout)
    rows, columns = slice(*slab.tok), slice(*slab.ring_tok)
    mask = detail_mask(layout, reach)[rows, columns]
    if aligned is not None:
        mask = torch.cat([mask, guide_mask(layout, reach, aligned)[rows]], dim=1)
    if guide_kv is not None:
        k_BSNH, v_BSNH = with_guide(k_BSNH, v_BSNH, guide_kv)
    return masked_softmax(q_BSNH, k_BSNH, v_BSNH, mask.to(q_BSNH.device))


def with_guide(
    k_BSNH: Tensor, v_BSNH: Tensor, guide_kv: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Keys and values with the proxy's behind them; one proxy serves a whole batch."""
    k, v = (extra.expand(len(k_BSNH), -1, -1, -1) for extra in guide_kv)
    return torch.cat([k_BSNH, k], dim=1), torch.cat([v_BSNH, v], dim=1)


def masked_softmax(q_BSNH: Tensor, k_BLNH: Tensor, v_BLNH: Tensor, mask_SL: Tensor) -> Tensor:
    """Attention where `mask_SL` is True, softmax in float32 or better -> [B, S, N, H]."""
    scores = torch.einsum("bsnh,blnh->bnsl", q_BSNH, k_BLNH) * q_BSNH.shape[-1] ** -0.5
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    weights = scores.masked_fill(~mask_SL, float("-inf")).softmax(dim=-1)
    return torch.einsum("bnsl,blnh->bsnh", weights.to(v_BLNH.dtype), v_BLNH)
