"""Local attention by compiled FlexAttention: one kernel that skips every block it can.

Queries, keys and values go in as they are, in cube order; a block mask made in closed form
(blocks.py) says which blocks of keys a block of queries works on, and which of those need a look
at every pair. All that differs between sizes, reaches and alignments is data, so one compilation
serves them all. Where it can't run, `windowed` does, and a warning says why, once.

Source: paper section 3.3; DESIGN sections 4 ("No dense mask") and 5.

Shapes: B batch, S query tokens, G proxy tokens, L keys, N heads, H head size.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental import _config as fx_config
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.utils._triton import has_triton

from ..units import Grid
from . import windowed
from .blocks import (
    BLOCK,
    LIMITS,
    Pairs,
    View,
    block_lists,
    key_extremes,
    key_table,
    view_of,
)
from .dense import with_guide
from .layout import CubeLayout, Slab, whole
from .mask import Aligned

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
COMPILERS = ("g++", "clang++", "c++", "cl")
SMALLEST_HEAD = 16  # of the kernel on CUDA

PROOF = CubeLayout(Grid(5, 10, 18), Grid(4, 8, 8))  # ragged, some blocks full and some masked
PROOF_TOLERANCE = 0.05  # what half types and TF32 round away is less; a wrong kernel's error is 1

_failed: dict[tuple, str] = {}  # what could not be used, and why
_proved: set[tuple] = set()  # what was seen to be right


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
    """As `dense.attend`, whose docstring holds for all backends -> [B, S, N, H]."""
    try:
        reason = unavailable(q_BSNH.device) or _unfit(q_BSNH, k_BSNH, v_BSNH, *(guide_kv or ()))
        if reason is not None:
            raise Unusable(reason)
        _prove(q_BSNH)
        k, v = (k_BSNH, v_BSNH) if guide_kv is None else with_guide(k_BSNH, v_BSNH, guide_kv)
        return _computed(q_BSNH, k, v, view_of(layout, reach, aligned, slab or whole(layout)))
    except Unusable as why:
        warn_once(str(why))
    return windowed.attend(q_BSNH, k_BSNH, v_BSNH, layout, reach, guide_kv, aligned, slab, spare)


class Unusable(RuntimeError):
    """Why flex can't serve a call."""


def _computed(q_BSNH: Tensor, k_BLNH: Tensor, v_BLNH: Tensor, view: View) -> Tensor:
    """-> [B, S, N, H], S the queries of the view. Raises Unusable where it can't be compiled."""
    mask = block_mask(view, q_BSNH.device)
    try:
        # Grad mode is part of what is compiled for; so is, with duck shapes, which sizes are equal.
        with torch.no_grad(), fx_config.patch(use_duck_shape=False):
            return _compiled()(*map(_heads_first, (q_BSNH, k_BLNH, v_BLNH)), mask).transpose(1, 2)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # a compiler fails in many ways; none of them may stop a render
        first_line = str(error).strip().partition("\n")[0]
        reason = f"compiling it failed ({type(error).__name__}: {first_line})"
        _failed[_kind(q_BSNH)] = reason
        raise Unusable(reason) from None


def _prove(like_BSNH: Tensor) -> None:
    """Once for each kind of tensors, a small case against `windowed`: some releases of PyTorch
    compile a kernel whose results are wrong (2.7 does, on a CPU). Raises Unusable."""
    kind = _kind(like_BSNH)
    if kind in _proved:
        return
    tokens = torch.Generator().manual_seed(0)
    shape = (1, PROOF.grid.count, *like_BSNH.shape[2:])
    q, k, v = (torch.randn(shape, generator=tokens).to(like_BSNH) for _ in range(3))
    want = windowed.attend(q, k, v, PROOF, "faces")
    got = _computed(q, k, v, view_of(PROOF, "faces", None, whole(PROOF)))
    if not (got - want).abs().max() < PROOF_TOLERANCE * want.abs().max():
        _failed[kind] = f"torch {torch.__version__} computes it wrong on {kind[0]}"
        raise Unusable(_failed[kind])
    _proved.add(kind)


def unavailable(device: torch.device | str) -> str | None:
    """Why flex can't run on this device; None where it can."""
    kind = torch.device(device).type
    if kind == "cuda":
        return None if has_triton() else "it needs Triton, and a card that Triton supports"
    if kind == "cpu":
        found = any(shutil.which(name) for name in COMPILERS)
        return None if found else f"on a CPU it needs a C++ compiler ({', '.join(COMPILERS)})"
    return f"it does not run on {kind}"


def _kind(x_BSNH: Tensor) -> tuple:
    """What is compiled anew for each."""
    return x_BSNH.device.type, x_BSNH.dtype, *x_BSNH.shape[2:]


def _unfit(*tensors: Tensor) -> str | None:
    """Why flex can't take these queries, keys and values; None where it can."""
    q = tensors[0]
    if _kind(q) in _failed:
        return _failed[_kind(q)]
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return "it has no gradients here"
    if q.dtype not in DTYPES:
        return f"it does not compute in {str(q.dtype).removeprefix('torch.')}"
    if q.device.type == "cuda" and q.shape[-1] < SMALLEST_HEAD:
        return f"heads of {q.shape[-1]} are too small for it (at least {SMALLEST_HEAD})"
    return None


@lru_cache(maxsize=64)
def warn_once(reason: str) -> None:
    logging.warning("AtlasVid: attention backend windowed instead of flex: %s.", reason)


def _heads_first(x_BSNH: Tensor) -> Tensor:
    """-> a view [B, N, S, H]; of a batch of one, its strides don't tell whether it is a slice."""
    x_BNSH = x_BSNH.transpose(1, 2)
    return x_BNSH[0][None] if len(x_BNSH) == 1 else x_BNSH


@lru_cache(maxsize=1)
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(_flex, dynamic=True, fullgraph=True)


def _flex(q_BNSH: Tensor, k_BNLH: Tensor, v_BNLH: Tensor, mask: BlockMask) -> Tensor:
    if not torch.compiler.is_compiling():  # torch.compile is switched off
        raise RuntimeError("torch.compile is off, and without it flex scores every pair")
    options = {"FORCE_USE_FLEX_ATTENTION": True}  # short queries have another kernel on CUDA
    return flex_attention(q_BNSH, k_BNLH, v_BNLH, block_mask=mask, kernel_options=options)


@lru_cache(maxsize=2048)
def block_mask(view: View, device: torch.device) -> BlockMask:
    """The mask of a view, made once for each; its tables are linear in the tokens of the view."""
    lists = block_lists(view)
    rows, keys = max(2, lists.rows), view.keys  # of size 1 would be compiled anew
    masked, full = (_table(pairs, rows, keys, device) for pairs in (lists.masked, lists.full))
    first, last = _key_tensors(view.ring, view.aligned, device)  # by axis
    with torch.inference_mode(False):
        limits = torch.tensor(LIMITS[view.reach], dtype=torch.int16, device=device)
        begin = torch.tensor(view.tok[0], device=device)
        # Tables by key serve gradients, never asked for here; but torch 2.7 insists on some.
        no_queries = [torch.zeros([1] * d, dtype=torch.int32, device=device) for d in (3, 4)]

    def sees(batch: Tensor, head: Tensor, q: Tensor, key: Tensor) -> Tensor:
        far = []
        for axis in range(3):
            cube = first[axis][begin + q]
            far.append(torch.maximum(first[axis][key] - cube, cube - last[axis][key]))
        far = [torch.clamp(x, min=0) for x in far]
        near = [x <= limits[axis] for axis, x in enumerate(far)]
        return near[0] & near[1] & near[2] & (far[0] + far[1] + far[2] <= limits[3])

    return BlockMask(
        seq_lengths=(view.tok[1] - view.tok[0], keys),
        kv_num_blocks=masked[0],
        kv_indices=masked[1],
        full_kv_num_blocks=full[0],
        full_kv_indices=full[1],
        q_num_blocks=no_queries[0],
        q_indices=no_queries[1],
        full_q_num_blocks=no_queries[0],
        full_q_indices=no_queries[1],
        BLOCK_SIZE=(BLOCK, BLOCK),
        mask_mod=sees,
    )


def table_bytes(masks: Iterable[BlockMask]) -> int:
    """Bytes of all that these masks hold, counting once what they share."""
    held = {}
    for mask in masks:
        own = (mask.kv_num_blocks, mask.kv_indices, mask.full_kv_num_blocks, mask.full_kv_indices)
        read = [cell.cell_contents for cell in mask.mask_mod.__closure__]
        more = chain.from_iterable(x if isinstance(x, tuple) else (x,) for x in read)
        for x in (*own, *more):
            held[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
    return sum(held.values())


def forget() -> None:
    """Let go of every mask and table."""
    for cached in (block_mask, _key_tensors, key_table, key_extremes):
        cached.cache_clear()


@lru_cache(maxsize=64)
def _key_tensors(
    ring: CubeLayout, aligned: Aligned | None, device: torch.device
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """First and last cube of every key, by axis; apart, as torch 2.7 traces no mixed indices."""
    with torch.inference_mode(False):
        table = torch.from_numpy(key_table(ring, aligned)).to(device)
        return table[:3].unbind(0), table[3:].unbind(0)


def _table(pairs: Pairs, rows: int, keys: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pairs of blocks -> int32 how many [1, 1, I] and which [1, 1, I, columns].

    The kernel reads as many entries of a row as it counts, but asks for as many columns as there
    are blocks of keys. So rows overlap: each is as long as asked for, and begins after the most
    entries that any row needs.
    """
    row, column = pairs
    count = np.bincount(row, minlength=rows)
    pitch = max(2, int(count.max()))
    width = max(-(-keys // BLOCK), pitch + 1)  # whether rows overlap is compiled for, so they do
    flat = np.zeros(rows * pitch + width, dtype=np.int32)
    flat[row * pitch + np.arange(len(row)) - (count.cumsum() - count)[row]] = column
    with torch.inference_mode(False):
        which = torch.from_numpy(flat).to(device)
        which = which.as_strided((1, 1, rows, width), (rows * pitch, rows * pitch, pitch, 1))
        return torch.from_numpy(count.astype(np.int32)).to(device)[None, None], which
