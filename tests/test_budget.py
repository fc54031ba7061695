"""Chunk plans: what they need, which one a budget gets, and the ring they stream behind."""

import pytest
import torch

from atlasvid_core.attention.layout import CubeLayout, parts_of, slabs_of
from atlasvid_core.attention.mask import REACHES, align, aligned_proxy, aligned_with
from atlasvid_core.budget import (
    CHUNKS_TOK,
    GIB,
    Activations,
    ChunkPlan,
    default_chunks,
    peak_bytes,
    resolve,
    smaller,
)
from atlasvid_core.rope import ALIGNMENTS, proxy_axes
from atlasvid_core.stream import CatRing, Ring
from atlasvid_core.units import Grid

FOUR_K = CubeLayout(Grid(81, 135, 240), Grid(4, 15, 15))
WAN_1B = Activations(1536, 8960, guide_tok=21 * 30 * 53, element_bytes=2)


def test_a_smaller_budget_gets_smaller_chunks_then_host_memory_then_words():
    free = resolve(FOUR_K, WAN_1B, None)
    assert free == default_chunks(FOUR_K) == ChunkPlan(1, CHUNKS_TOK[0])
    need = peak_bytes(free, FOUR_K, WAN_1B)
    assert resolve(FOUR_K, WAN_1B, need) == free
    tighter = resolve(FOUR_K, WAN_1B, need - 1)
    assert tighter.chunk_tok < free.chunk_tok or tighter.hidden_on_host
    seen = [resolve(FOUR_K, WAN_1B, int(gib * GIB)) for gib in (16, 8, 6, 4)]
    assert [plan.hidden_on_host for plan in seen] == sorted(plan.hidden_on_host for plan in seen)
    assert seen[-1].hidden_on_host
    for plan, gib in zip(seen, (16, 8, 6, 4), strict=True):
        assert peak_bytes(plan, FOUR_K, WAN_1B) <= gib * GIB
    with pytest.raises(ValueError, match=r"budget of 0.50 GB is too small.*the least is \d"):
        resolve(FOUR_K, WAN_1B, GIB // 2)


def test_memory_beyond_the_hidden_state_does_not_grow_with_time():
    def need(frames_tok: int) -> int:
        layout = CubeLayout(Grid(frames_tok, 135, 240), Grid(4, 15, 15))
        return peak_bytes(ChunkPlan(1, 4096, hidden_on_host=True), layout, WAN_1B)

    assert need(16) == need(80) == need(800)


def test_a_plan_says_what_it_is_and_refuses_nothing_at_all():
    assert str(ChunkPlan(2, 4096, True)) == (
        "slabs 2 cubes deep, chunks of 4,096 tokens, hidden state in host memory"
    )
    with pytest.raises(ValueError, match="chunk_tok is 0"):
        ChunkPlan(1, 0)


@pytest.mark.parametrize("chunk_tok", [1, 30, 64, 10**6])
def test_parts_are_whole_cubes_in_order(chunk_tok):
    layout = CubeLayout(Grid(5, 7, 6), Grid(2, 3, 4))
    starts = [*layout.starts().tolist(), layout.grid.count]
    cube, tok = 0, 0
    for slab in slabs_of(layout, 2):
        for part in parts_of(layout, slab, chunk_tok):
            assert part.cubes[0] == cube and part.tok[0] == tok
            cube, tok = part.cubes[1], part.tok[1]
            assert tok == starts[cube]
            assert tok - part.tok[0] <= chunk_tok or part.cubes[1] - part.cubes[0] == 1
            assert part.ring_tok == slab.ring_tok
    assert cube == layout.n_cubes.count and tok == layout.grid.count


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("alignment", ALIGNMENTS)
def test_a_slab_moves_only_the_proxy_that_it_sees(reach, alignment):
    layout, proxy = CubeLayout(Grid(9, 5, 6), Grid(2, 2, 4)), Grid(4, 2, 3)
    aligned = align(layout, proxy_axes(proxy, layout.grid, alignment))
    for slab in slabs_of(layout, 1):
        part, (first, end) = aligned_with(aligned, layout, reach, slab)
        seen = set()
        for cube in range(*slab.cubes):
            want = aligned_proxy(layout, reach, aligned, cube)
            assert [n + first for n in aligned_proxy(layout, reach, part, cube)] == want
            seen.update(want)
        step = proxy.h * proxy.w
        assert (min(seen) // step * step, (max(seen) // step + 1) * step) == (first, end)
    assert part.grid.t < proxy.t


def test_the_ring_in_buffers_equals_the_ring_by_concatenation():
    generator = torch.Generator().manual_seed(0)
    sizes = [(3, 2), (3, 2), (5,), (4, 1), (2,)]  # parts of each slab, the last slab is smaller
    slabs = [
        [tuple(torch.randn(2, 2, n, 1, 4, generator=generator).unbind(0)) for n in parts]
        for parts in sizes
    ]
    rings = Ring(15 + 3), CatRing(15 + 3)
    for _layer in range(2):
        for i in range(len(slabs)):
            guide = tuple(torch.randn(2, 1, i % 3 + 1, 1, 4, generator=generator).unbind(0))
            got = []
            for ring in rings:
                ring.drop_before(i - 1)
                for j in range(i, min(len(slabs), i + 2)):
                    if j not in ring:
                        ring.append(j, iter(slabs[j]))
                got.append([x.clone() for x in ring.with_guide(guide)])
            assert torch.equal(got[0][0], got[1][0]) and torch.equal(got[0][1], got[1][1])
        for ring in rings:
            ring.drop_before(len(slabs))
            assert not ring.held


def test_every_smaller_plan_needs_less_until_none_is_left():
    layout = CubeLayout(Grid(21, 45, 80), Grid(4, 8, 8))
    sizes = Activations(1536, 8960, guide_tok=1000)
    plan, needs = ChunkPlan(2), []
    while plan is not None:
        needs.append(peak_bytes(plan, layout, sizes))
        plan = smaller(plan)
    assert needs == sorted(needs, reverse=True) and len(needs) == 6
    assert needs[-1] < 0.5 * needs[0]
