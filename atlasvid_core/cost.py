"""What a plan costs: FLOPs, bytes and seconds of a denoising step, before anything runs.

Source: paper section 3.3 (complexity of local attention); DESIGN section 4. Every number follows
from token counts: query-key pairs from `attention.mask.pair_count`, memory of the streamed detail
forward from `budget.peak_bytes`, parameters from `WanDiT` itself. A multiply-add is 2 FLOPs;
normalisation, rotation and other pointwise work is not counted.

Letters in formulas: S tokens, G proxy tokens, L text tokens, I image tokens, C width, F width of
the FFN, N layers, P query-key pairs of one head and layer, e bytes of a value. Axes are (t, h, w).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from math import prod

import torch

from .attention.layout import slabs_of
from .attention.mask import REACHES, align, pair_count, seen_slices
from .budget import Activations, ChunkPlan, default_chunks, peak_bytes
from .calibration import Calibration, calibrate
from .plan import VideoPlan
from .units import PATCH
from .wan.dit import IMAGE_SIZE, TEXT_SIZE, TIME_SIZE, WanConfig, WanDiT

__all__ = [
    "FULL", "Calibration", "Cost", "Flops", "Memory", "attention_pairs", "calibrate",
    "detail_cost", "forward_flops", "guide_cost", "parameters", "proxy_cost",
]  # fmt: skip

FULL = "full"
COUNTS = ("footprint", "density")
TEXT_TOK = 512  # Wan2.1 pads every prompt to this
IMAGE_TOK = 257  # CLIP features of an image-to-video model
STAGE1_PASSES = 2  # classifier-free guidance; stage 2 has none


@dataclass(frozen=True)
class Flops:
    """Floating-point operations by kind. `attention` is QK^T and AV of self-attention."""

    attention: float
    projections: float
    cross_attention: float
    ffn: float
    embeddings: float

    @property
    def total(self) -> float:
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class Memory:
    """Bytes at the peak. `device_bytes` sums what the device holds; the others are in host memory.

    `ring`: K and V of three slabs; `guide`: the piece of one layer's guide behind it; `work`: what
    comes and goes, which holds for a full forward all activations but the hidden state.
    """

    weights: int
    hidden: int
    ring: int
    guide: int
    work: int
    hidden_on_host: int = 0
    guide_on_host: int = 0

    @property
    def device_bytes(self) -> int:
        return self.weights + self.hidden + self.ring + self.guide + self.work


@dataclass(frozen=True)
class Cost:
    """One denoising step of a stage (or, of the guide, its only run)."""

    tokens: int
    flops: Flops
    memory: Memory
    traffic_bytes: int

    def seconds(self, machine: Calibration) -> float:
        """total FLOPs / rate + traffic / rate: no overlap, and every FLOP as quick as a matmul's.

        A lower bound as a rule: attention over small windows and pointwise work run slower.
        """
        compute = self.flops.total / machine.flops_per_second
        return compute + self.traffic_bytes / machine.bytes_per_second


def attention_pairs(plan: VideoPlan, reach: str | None = None, count: str = "footprint") -> float:
    """P of the detail branch with its kept guide; `reach` defaults to the plan's, or is "full".

    "full" is S^2 and has no guide. Proxy tokens count by `footprint` (those each cube really sees)
    or by average `density`: pairs among detail tokens times (1 + G / S). Raises ValueError for
    an unknown reach or count.
    """
    if count not in COUNTS:
        raise ValueError(f"count {count!r} is unknown: choose one of {', '.join(COUNTS)}.")
    reach = _known(plan, reach)
    tokens = plan.target_tok.count
    if reach == FULL:
        return tokens**2
    if count == "density":
        return pair_count(plan.layout, reach) * (1 + plan.proxy_tok.count / tokens)
    return pair_count(plan.layout, reach, align(plan.layout, plan.proxy_axes()))


def forward_flops(
    config: WanConfig, tokens: int, pairs: float, text_tok: int = TEXT_TOK, passes: int = 1
) -> Flops:
    """`passes` forwards of one video; each costs as follows.

    attention 4 N P C; projections (q, k, v, o) 8 N S C^2; FFN 4 N S C F; cross-attention
    N (4 S C^2 + 4 L C^2 + 4 S L C), with an image N (4 I C^2 + 4 S I C) more; embeddings: patches
    in and out, text, time, image.
    """
    width, read = config.width, text_tok + IMAGE_TOK * config.image
    layers = passes * config.layers
    patch = prod(PATCH) * (config.in_channels + config.out_channels)
    image = IMAGE_TOK * IMAGE_SIZE * (IMAGE_SIZE + width) * config.image
    text = text_tok * width * (TEXT_SIZE + width)
    return Flops(
        attention=4 * layers * pairs * width,
        projections=8 * layers * tokens * width**2,
        cross_attention=4 * layers * width * (width * (tokens + read) + tokens * read),
        ffn=4 * layers * tokens * width * config.ffn_width,
        embeddings=2 * passes * (tokens * patch * width + text + image + _time_macs(width)),
    )


def proxy_cost(
    plan: VideoPlan, config: WanConfig, *, value_bytes: int = 2, text_tok: int = TEXT_TOK
) -> Cost:
    """A step of stage 1: full attention over G tokens, STAGE1_PASSES forwards one by one."""
    tokens = plan.proxy_tok.count
    flops = forward_flops(config, tokens, tokens**2, text_tok, STAGE1_PASSES)
    return Cost(tokens, flops, _full_memory(config, tokens, value_bytes), 0)


def guide_cost(plan: VideoPlan, config: WanConfig, *, value_bytes: int = 2) -> Cost:
    """Making the guide, once a video: G tokens, no text; of the last layer K and V alone.

    Traffic: K and V of every layer to host memory, 2 N G C e.
    """
    tokens, width = plan.proxy_tok.count, config.width
    whole = forward_flops(config, tokens, tokens**2, text_tok=0)
    most = (config.layers - 1) / config.layers
    flops = Flops(
        attention=whole.attention * most,
        projections=whole.projections * most + 4 * tokens * width**2,
        cross_attention=0,
        ffn=whole.ffn * most,
        embeddings=2 * (tokens * prod(PATCH) * config.in_channels * width + _time_macs(width)),
    )
    kept = _guide_bytes(plan, config, value_bytes)
    return Cost(tokens, flops, _full_memory(config, tokens, value_bytes, kept), kept)


def detail_cost(
    plan: VideoPlan,
    config: WanConfig,
    reach: str | None = None,
    *,
    chunks: ChunkPlan | None = None,
    value_bytes: int = 2,
    text_tok: int = TEXT_TOK,
) -> Cost:
    """A step of stage 2 at the plan's reach or another; "full": one stage, without a guide.

    FLOPs as `forward_flops`, one pass. Memory: hidden state S C e (in host memory where `chunks`
    puts it), ring 2 C e by the tokens of three slabs, work as `budget.peak_bytes`. Traffic from
    and to host memory: each slab's piece of the guide in each layer, 2 C e a token; a hidden state
    there is read twice and written once a layer, written and read once more at the ends:
    (3 N + 2) S C e. Raises ValueError for an unknown reach.
    """
    reach = _known(plan, reach)
    layout, tokens = plan.layout, plan.target_tok.count
    flops = forward_flops(config, tokens, attention_pairs(plan, reach), text_tok)
    if reach == FULL:
        return Cost(tokens, flops, _full_memory(config, tokens, value_bytes), 0)
    chunks = chunks or default_chunks(layout)
    slabs, aligned = slabs_of(layout, chunks.slab_cubes), align(layout, plan.proxy_axes())
    slice_tok = aligned.grid.h * aligned.grid.w
    seen = (seen_slices(aligned, layout, reach, slab) for slab in slabs)
    pieces = [(end - first) * slice_tok for first, end in seen]
    token_bytes = config.width * value_bytes
    sizes = Activations(config.width, config.ffn_width, max(pieces), element_bytes=value_bytes)
    hidden, here = tokens * token_bytes, not chunks.hidden_on_host
    ring = 2 * max(slab.ring_size for slab in slabs) * token_bytes
    guide = 2 * max(pieces) * token_bytes
    memory = Memory(
        weights=parameters(config) * value_bytes,
        hidden=hidden * here,
        ring=ring,
        guide=guide,
        work=peak_bytes(chunks, layout, sizes) - hidden * here - ring - guide,
        hidden_on_host=hidden * (not here),
        guide_on_host=_guide_bytes(plan, config, value_bytes),
    )
    moved = 2 * config.layers * sum(pieces) * token_bytes
    moved += (3 * config.layers + 2) * memory.hidden_on_host
    return Cost(tokens, flops, memory, moved)


@lru_cache(maxsize=8)
def parameters(config: WanConfig) -> int:
    """Number of weights of a model, of which none is allocated."""
    with torch.device("meta"):
        return sum(p.numel() for p in WanDiT(config).parameters())


def _known(plan: VideoPlan, reach: str | None) -> str:
    reach = reach or plan.reach
    if reach not in (*REACHES, FULL):
        raise ValueError(f"reach {reach!r} is unknown: choose one of {', '.join(REACHES)}, {FULL}.")
    return reach


def _time_macs(width: int) -> int:
    """Multiply-adds of the timestep's embedding and its projection to 6 C."""
    return width * (TIME_SIZE + 7 * width)


def _full_memory(config: WanConfig, tokens: int, value_bytes: int, kept: int = 0) -> Memory:
    """Activations of a plain forward, without a score matrix: hidden state S C e, besides it S e
    times the larger of 7 C (attention) and C + 2 F (FFN)."""
    width, weights = config.width, parameters(config) * value_bytes
    work = tokens * value_bytes * max(7 * width, width + 2 * config.ffn_width)
    return Memory(weights, tokens * width * value_bytes, 0, 0, work, guide_on_host=kept)


def _guide_bytes(plan: VideoPlan, config: WanConfig, value_bytes: int) -> int:
    """K and V of every layer: 2 N G C e."""
    return 2 * config.layers * plan.proxy_tok.count * config.width * value_bytes
