"""Attention by columns of keys against the oracle: ragged grids, guide, parts of a slab."""

import pytest
import torch

from atlasvid_core.attention import columns, dense, windowed
from atlasvid_core.attention.layout import CubeLayout, parts_of, slabs_of, whole
from atlasvid_core.attention.mask import align
from atlasvid_core.rope import proxy_axes
from atlasvid_core.units import Grid

GRIDS = [Grid(5, 9, 26), Grid(4, 17, 24), Grid(9, 8, 30)]
CUBE, PROXY = Grid(4, 8, 8), Grid(2, 3, 5)
REACHES = tuple(columns.STEPS)


@pytest.fixture(autouse=True)
def no_grad():
    with torch.no_grad():
        yield


def tokens(count, seed, batch=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, count, 2, 8, generator=generator, dtype=torch.float64)


def case(grid):
    layout = CubeLayout(grid, CUBE)
    q, k, v = (tokens(grid.count, seed) * 1.3 for seed in range(3))
    guide = tuple(tokens(PROXY.count, seed, batch=1) for seed in (3, 4))
    return layout, (q, k, v), guide, align(layout, proxy_axes(PROXY, grid, "ratio"))


@pytest.fixture
def used(monkeypatch):
    """How often columns were really taken."""
    calls = []
    attend = columns.attend
    monkeypatch.setattr(columns, "attend", lambda *args: calls.append(1) or attend(*args))
    return calls


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("grid", GRIDS)
def test_columns_equal_the_oracle(grid, reach, guided, used):
    layout, qkv, guide, aligned = case(grid)
    extra = (guide, aligned) if guided else (None, None)
    want = dense.attend(*qkv, layout, reach, *extra)
    assert torch.allclose(windowed.attend(*qkv, layout, reach, *extra), want, rtol=0, atol=1e-12)
    assert used


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("chunk_tok", [1, 600, 10**6])
def test_parts_that_cut_rows_of_cubes_anywhere_make_the_whole(reach, chunk_tok, used):
    layout, (q, k, v), guide, aligned = case(GRIDS[0])
    want = dense.attend(q, k, v, layout, reach, guide, aligned)
    for slab in slabs_of(layout, 1):
        for part in parts_of(layout, slab, chunk_tok):
            ring = slice(*slab.ring_tok)
            queries = q[:, slice(*part.tok)]
            got = windowed.attend(
                queries, k[:, ring], v[:, ring], layout, reach, guide, aligned, part
            )
            assert torch.allclose(got, want[:, slice(*part.tok)], rtol=0, atol=1e-12)
    assert used


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("reach", ["own", "faces", *REACHES])
def test_the_result_may_be_written_over_the_queries(reach, heads):
    """With one head, as AtlasVid-Tiny's, too: its queries are contiguous either way round."""
    layout, qkv, guide, aligned = case(GRIDS[1])
    q, k, v = (x[:1, :, :heads].contiguous() for x in qkv)
    guide = tuple(x[:, :, :heads] for x in guide)
    want = dense.attend(q, k, v, layout, reach, guide, aligned)
    got = windowed.attend(q, k, v, layout, reach, guide, aligned, spare=q)
    assert got.data_ptr() == q.data_ptr()
    assert torch.allclose(got, want, rtol=0, atol=1e-12)


def test_columns_serve_large_cubes_without_gradients_in_full_precision_only():
    layout, (q, _, _), _, _ = case(GRIDS[0])
    assert columns.pay(q, layout, "all")
    assert not columns.pay(q, layout, "faces")
    assert not columns.pay(q.bfloat16(), layout, "all")
    assert not columns.pay(q, CubeLayout(GRIDS[0], Grid(2, 4, 4)), "all")
    with torch.enable_grad():
        assert not columns.pay(q, layout, "all")


def test_softmaxes_put_together_equal_one_over_all_keys():
    layout = CubeLayout(Grid(4, 8, 24), CUBE)
    assert whole(layout).ring_size == 768
    scores, values = tokens(6, 5)[..., 0, 0], tokens(6, 6)[0, :, 0]
    want = scores.softmax(-1) @ values
    out, logs = torch.zeros(2, 8, dtype=torch.float64), scores.new_full((2,), -torch.inf)
    for keys in (slice(0, 1), slice(1, 4), slice(4, 6)):
        part = scores[:, keys]
        columns.merge(out, logs, part.softmax(-1) @ values[keys], part.logsumexp(-1))
    assert torch.allclose(out, want, rtol=0, atol=1e-14)
    assert torch.allclose(logs, scores.logsumexp(-1), rtol=0, atol=1e-14)
