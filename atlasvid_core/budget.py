"""How a detail forward is cut so that it fits: slabs, chunks, and where the hidden state lives.

A `ChunkPlan` changes results by float rounding only. `resolve` picks one for a memory budget; it
depends on nothing but its arguments, so a job that records them can be repeated.
Source: DESIGN section 4, "Memory is bounded by slabs".
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

from .attention.layout import CubeLayout, slabs_of
from .attention.windowed import BATCH_BYTES

SLAB_TOK = 8192  # slabs of small videos are several cubes deep, to be worth a call
CHUNKS_TOK = (8192, 4096, 2048, 1024)
GIB = 2**30


@dataclass(frozen=True)
class ChunkPlan:
    """Slabs `slab_cubes` deep along t, worked on in chunks of at most `chunk_tok` tokens.

    A chunk is a run of whole cubes, so it is one cube where cubes are larger than `chunk_tok`.
    """

    slab_cubes: int
    chunk_tok: int = CHUNKS_TOK[0]
    hidden_on_host: bool = False

    def __post_init__(self) -> None:
        for name in ("slab_cubes", "chunk_tok"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be at least 1.")

    def __str__(self) -> str:
        where = "host memory" if self.hidden_on_host else "device memory"
        return (
            f"slabs {self.slab_cubes} cubes deep, chunks of {self.chunk_tok:,} tokens, "
            f"hidden state in {where}"
        )


@dataclass(frozen=True)
class Activations:
    """What the bytes depend on besides the layout: a model's sizes, a job's, the dtype's."""

    width: int
    ffn_width: int
    guide_tok: int = 0
    batch: int = 1
    element_bytes: int = 4


def default_chunks(layout: CubeLayout) -> ChunkPlan:
    """Slabs as shallow as they can be, but of SLAB_TOK tokens where the video has so few."""
    deep = SLAB_TOK // (layout.cube.t * layout.grid.h * layout.grid.w)
    return ChunkPlan(min(max(1, deep), layout.n_cubes.t))


def smaller(chunks: ChunkPlan) -> ChunkPlan | None:
    """The next plan that needs less device memory, for when this one ran out; None: there is none.

    In the order of `resolve`: smaller chunks, the hidden state in host memory, shallower slabs.
    """
    below = [tok for tok in CHUNKS_TOK if tok < chunks.chunk_tok]
    if below:
        return replace(chunks, chunk_tok=below[0])
    if not chunks.hidden_on_host:
        return replace(chunks, hidden_on_host=True)
    return replace(chunks, slab_cubes=1) if chunks.slab_cubes > 1 else None


def peak_bytes(chunks: ChunkPlan, layout: CubeLayout, sizes: Activations) -> int:
    """Device memory of a detail forward above the weights, an upper estimate.

    The hidden state (when it is there), K and V of three slabs and the whole guide, one slab
    being embedded in float32, and a chunk's work: two FFN inner activations, twelve of width C,
    the gathered windows of one attention call.
    """
    slabs = slabs_of(layout, chunks.slab_cubes)
    width_bytes = sizes.batch * sizes.width * sizes.element_bytes
    slab_tok = max(s.tok[1] - s.tok[0] for s in slabs)
    hidden = 0 if chunks.hidden_on_host else layout.grid.count * width_bytes
    ring = 2 * (max(s.ring_size for s in slabs) + sizes.guide_tok) * width_bytes
    embedded = slab_tok * (width_bytes + 4 * sizes.batch * sizes.width)
    ffn_bytes = sizes.batch * sizes.ffn_width * sizes.element_bytes
    chunk_tok = min(slab_tok, max(chunks.chunk_tok, layout.cube.count))
    work = chunk_tok * (2 * ffn_bytes + 12 * width_bytes) + BATCH_BYTES
    return hidden + ring + max(embedded, work)


def resolve(layout: CubeLayout, sizes: Activations, budget_bytes: int | None) -> ChunkPlan:
    """The fastest chunk plan within `budget_bytes`; None takes the default one.

    Smaller chunks come first, then the hidden state goes to host memory, then slabs get shallower.
    Raises ValueError with the smallest need where nothing fits.
    """
    default = default_chunks(layout)
    if budget_bytes is None:
        return default
    depths = sorted({default.slab_cubes, 1}, reverse=True)
    plans = [ChunkPlan(d, c, host) for d, host, c in product(depths, (False, True), CHUNKS_TOK)]
    for plan in plans:
        if peak_bytes(plan, layout, sizes) <= budget_bytes:
            return plan
    least = min(peak_bytes(plan, layout, sizes) for plan in plans)
    raise ValueError(
        f"A memory budget of {budget_bytes / GIB:.2f} GB is too small for {layout.grid} tokens in "
        f"cubes of {layout.cube} (t x h x w): the least is {least / GIB:.2f} GB. Raise the budget, "
        "set it to 0 (automatic), or take cubes that are shorter in t."
    )
