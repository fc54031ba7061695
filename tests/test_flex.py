"""`flex` and its block lists against the oracle, and what they may cost."""

import logging
import time

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch.nn.attention.flex_attention import create_block_mask

from atlasvid_core.attention import dense, flex, pick, windowed
from atlasvid_core.attention.blocks import BLOCK, block_lists, key_table, view_of, within
from atlasvid_core.attention.layout import CubeLayout, parts_of, slabs_of, whole
from atlasvid_core.attention.mask import REACHES, align, aligned_with, detail_mask, guide_mask
from atlasvid_core.rope import ALIGNMENTS, proxy_axes
from atlasvid_core.units import Grid

GRID, PROXY = Grid(5, 17, 18), Grid(3, 5, 7)
CUBES = [Grid(4, 8, 8), Grid(2, 2, 2), Grid(1, 3, 5)]
needs_compiler = pytest.mark.skipif(
    flex.unavailable("cpu") is not None, reason=f"no C++ compiler: {', '.join(flex.COMPILERS)}"
)


def tokens(count, seed, heads=2, batch=1):
    return torch.randn(batch, count, heads, 16, generator=torch.manual_seed(seed))


def qkv(count):
    return [tokens(count, seed) for seed in (1, 2, 3)]


def guided(layout, proxy=PROXY, alignment="ratio", time_scale=None):
    axes = proxy_axes(proxy, layout.grid, alignment, time_scale)
    return tuple(tokens(proxy.count, seed) for seed in (4, 5)), align(layout, axes)


def assert_equal(got, want):
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


def compiled():
    """How often anything was compiled in this process so far."""
    return counters["stats"]["unique_graphs"]


@pytest.fixture
def never_falls_back(monkeypatch):
    def refuse(reason):
        raise AssertionError(reason)

    monkeypatch.setattr(flex, "warn_once", refuse)


def views(layout, reach, aligned, depth, chunk_tok):
    """Every part of every slab: its view and, from the oracle, who sees whom."""
    mask = detail_mask(layout, reach)
    guide = None if aligned is None else guide_mask(layout, reach, aligned)
    for slab in slabs_of(layout, depth):
        local, (low, high) = (
            (None, (0, 0)) if aligned is None else aligned_with(aligned, layout, reach, slab)
        )
        for part in parts_of(layout, slab, chunk_tok):
            rows = slice(*part.tok)
            seen = mask[rows, slice(*part.ring_tok)]
            if guide is not None:
                seen = torch.cat([seen, guide[rows, low:high]], dim=1)
            yield view_of(layout, reach, local, part), seen


@pytest.mark.parametrize("alignment", [None, *ALIGNMENTS])
@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("cube", CUBES)
def test_block_lists_hold_every_pair_that_the_oracle_sees(cube, reach, alignment):
    layout = CubeLayout(GRID, cube)
    aligned = alignment and guided(layout, alignment=alignment, time_scale=4.0)[1]
    for view, seen in (
        *views(layout, reach, aligned, 1, 500),
        *views(layout, reach, aligned, 5, 1e9),
    ):
        some, every = blockwise(seen, False).any(-1), blockwise(seen, True).all(-1)
        lists = block_lists(view)
        masked, full = np.zeros_like(some, dtype=int), np.zeros_like(some, dtype=int)
        np.add.at(masked, lists.masked, 1)
        np.add.at(full, lists.full, 1)
        assert (masked + full).max() == 1  # nothing is listed twice
        assert (masked + full)[some].all()
        assert every[full == 1].all()
        assert lists.rows == len(some)


def blockwise(seen, filler):
    """bool [S, L] -> [rows, columns, pairs of a block]."""
    rows, columns = (-(-n // BLOCK) for n in seen.shape)
    padded = np.full((rows * BLOCK, columns * BLOCK), filler)
    padded[: seen.shape[0], : seen.shape[1]] = seen
    return padded.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(rows, columns, -1)


def test_whole_cubes_need_no_look_at_their_pairs():
    view = view_of(layout := CubeLayout(Grid(4, 24, 24), Grid(4, 8, 8)), "all", None, whole(layout))
    assert len(block_lists(view).masked[0]) == 0
    assert len(block_lists(view).full[0]) == sum(4 * n for n in (4, 6, 4, 6, 9, 6, 4, 6, 4))


@pytest.mark.parametrize("reach", REACHES)
def test_distances_in_cubes_say_what_the_oracle_says(reach):
    layout = CubeLayout(GRID, Grid(2, 3, 4))
    for view, seen in views(layout, reach, guided(layout)[1], 1, 200):
        table = key_table(view.ring, view.aligned).astype(int)
        own = table[:3, slice(*view.tok), None]
        far = (table[:3, None] - own).clip(0) + (own - table[3:, None]).clip(0)
        assert torch.equal(torch.from_numpy(within(far, reach)), seen)


def test_block_lists_agree_with_torchs_own():
    layout = CubeLayout(GRID, Grid(4, 8, 8))
    view = view_of(layout, "faces", guided(layout)[1], whole(layout))
    mask = flex.block_mask(view, torch.device("cpu"))
    sizes = (view.tok[1], view.keys)
    want = create_block_mask(mask.mask_mod, None, None, *sizes, device="cpu").to_dense()
    lists = block_lists(view)
    got = torch.zeros_like(want)
    for row, column in (lists.masked, lists.full):
        got[0, 0, row, column] = 1
    assert (got >= want).all()
    assert got.sum() <= 1.1 * want.sum()


@needs_compiler
@pytest.mark.parametrize("cube", CUBES)
@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("guide", [False, True])
def test_flex_equals_dense(cube, reach, guide, never_falls_back):
    layout = CubeLayout(GRID, cube)
    extra, aligned = guided(layout) if guide else (None, None)
    given = (*qkv(GRID.count), layout, reach, extra, aligned)
    assert_equal(flex.attend(*given), dense.attend(*given))


@needs_compiler
@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize(("depth", "chunk_tok"), [(1, 200), (2, 10_000)])
def test_flex_equals_dense_part_by_part(reach, depth, chunk_tok, never_falls_back):
    layout = CubeLayout(GRID, Grid(2, 8, 8))
    (guide_k, guide_v), aligned = guided(layout, time_scale=4.0)
    q, k, v = qkv(GRID.count)
    want = dense.attend(q, k, v, layout, reach, (guide_k, guide_v), aligned)
    done = []
    for slab in slabs_of(layout, depth):
        local, seen = aligned_with(aligned, layout, reach, slab)
        ring, behind = slice(*slab.ring_tok), slice(*seen)
        ring_k = torch.cat([k[:, ring], guide_k[:, behind]], dim=1)
        ring_v = torch.cat([v[:, ring], guide_v[:, behind]], dim=1)
        for part in parts_of(layout, slab, chunk_tok):
            queries = q[:, slice(*part.tok)]
            done.append(flex.attend(queries, ring_k, ring_v, layout, reach, None, local, part))
    assert_equal(torch.cat(done, dim=1), want)


@needs_compiler
def test_one_compilation_serves_every_size_length_and_reach(never_falls_back):
    grids = [
        (1, 2, 3), (5, 9, 10), (5, 17, 18), (9, 8, 16), (3, 30, 52), (8, 16, 16), (13, 11, 7),
        (2, 45, 20), (4, 32, 32),
    ]  # fmt: skip
    before = None
    for number, grid in enumerate(Grid(*g) for g in grids):
        layout = CubeLayout(grid, CUBES[number % 2])
        for reach in REACHES:
            extra, aligned = guided(layout, Grid(2, 3 + number, 4)) if number % 3 else (None, None)
            flex.attend(*qkv(grid.count), layout, reach, extra, aligned)
        if number == 1:
            before = compiled()
    assert compiled() == before > 0


@needs_compiler
def test_neither_grad_mode_nor_a_buffer_behind_the_keys_is_compiled_anew(never_falls_back):
    layout = CubeLayout(GRID, CUBES[0])
    q, k, v = qkv(GRID.count)
    want = flex.attend(q, k, v, layout, "all")
    before = compiled()
    with torch.no_grad():
        assert torch.equal(flex.attend(q, k, v, layout, "all"), want)
    k, v = (torch.cat([x, x], dim=1)[:, : GRID.count] for x in (k, v))
    assert torch.equal(flex.attend(q, k, v, layout, "all"), want)
    assert compiled() == before


@needs_compiler
def test_masks_made_in_inference_mode_serve_outside(never_falls_back):
    flex.forget()
    layout = CubeLayout(GRID, CUBES[0])
    given = (*qkv(GRID.count), layout, "own")
    with torch.inference_mode():
        want = flex.attend(*given)
    before = compiled()
    assert torch.equal(flex.attend(*given), want)
    assert compiled() == before


def test_masks_of_4k_and_321_frames_are_small_and_soon_made():
    layout = CubeLayout(Grid(81, 135, 240), Grid(4, 8, 8))
    aligned = align(layout, proxy_axes(Grid(21, 30, 52), layout.grid, "ratio", 4.0))
    flex.forget()
    began = time.process_time()
    masks = []
    for slab in slabs_of(layout, 1):
        local, _ = aligned_with(aligned, layout, "all", slab)
        for part in parts_of(layout, slab, 8192):
            masks.append(flex.block_mask(view_of(layout, "all", local, part), torch.device("cpu")))
    assert time.process_time() - began <= 5
    assert flex.table_bytes(masks) <= 300e6
    assert len(set(map(id, masks))) < len(masks) / 3  # interior slabs share theirs
    # No table passes the six 16-bit numbers a key of the longest ring, proxy included.
    assert max(flex.table_bytes([mask]) for mask in masks) <= 1.1 * 12 * (3 * 129_600 + 6 * 1560)


def test_what_flex_cannot_do_windowed_does_and_says_why(caplog):
    layout = CubeLayout(GRID, CUBES[0])
    q, k, v = qkv(GRID.count)
    flex.warn_once.cache_clear()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            double = [x.double() for x in (q, k, v)]
            got = flex.attend(*double, layout, "own")
            assert torch.equal(got, windowed.attend(*double, layout, "own"))
    assert [r.getMessage() for r in caplog.records] == [
        "AtlasVid: attention backend windowed instead of flex: it does not compute in float64."
    ]
    leaf = q.clone().requires_grad_()
    flex.attend(leaf, k, v, layout, "own").sum().backward()
    assert leaf.grad is not None


@needs_compiler
def test_a_failing_compiler_costs_a_warning_not_the_render(monkeypatch, caplog):
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    layout = CubeLayout(GRID, CUBES[0])
    given = [torch.randn(1, GRID.count, 3, 16) for _ in range(3)]  # 3 heads: compiled anew
    monkeypatch.setattr(flex, "_failed", {})
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert torch.equal(
                flex.attend(*given, layout, "own"), windowed.attend(*given, layout, "own")
            )
    said = [r.getMessage() for r in caplog.records if r.name == "root"]
    assert len(said) == 1 and "compiling it failed" in said[0]


def test_flex_is_never_run_uncompiled(monkeypatch):
    layout = CubeLayout(GRID, CUBES[0])
    given = (*qkv(GRID.count), layout, "own")
    monkeypatch.setattr(flex, "_failed", {})
    monkeypatch.setattr(flex, "_compiled", lambda: flex._flex)  # as with TORCH_COMPILE_DISABLE=1
    assert torch.equal(flex.attend(*given), windowed.attend(*given))
    assert "torch.compile is off" in str(flex._failed)


def test_a_kernel_whose_results_are_wrong_is_found_out_before_it_is_used(monkeypatch, caplog):
    monkeypatch.setattr(flex, "_failed", {})
    monkeypatch.setattr(flex, "_proved", set())
    monkeypatch.setattr(flex, "_compiled", lambda: lambda q, k, v, mask: v[:, :, : q.shape[2]])
    layout = CubeLayout(GRID, CUBES[0])
    given = (*qkv(GRID.count), layout, "own")
    with caplog.at_level(logging.WARNING):
        assert torch.equal(flex.attend(*given), windowed.attend(*given))
    assert "computes it wrong on cpu" in str(flex._failed)
    assert not flex._proved


def test_pick(monkeypatch):
    monkeypatch.setattr(flex, "has_triton", lambda: True)
    assert pick("auto", "cuda") == (flex.attend, None)
    monkeypatch.setattr(flex, "has_triton", lambda: False)
    attend, reason = pick("auto", "cuda")
    assert attend is windowed.attend and "Triton" in reason
    monkeypatch.setattr(flex.shutil, "which", lambda name: None)
    attend, reason = pick("flex", "cpu")
    assert attend is windowed.attend and "C++ compiler" in reason
    assert pick("flex", "mps")[0] is windowed.attend
