"""The guide kept for all steps, held to the joint form that computes everything at once."""

import pytest
import torch

from atlasvid_core.budget import ChunkPlan
from atlasvid_core.guide import make_guide, to_host
from atlasvid_core.joint import detail_forward
from atlasvid_core.plan import REACHES
from atlasvid_core.rope import ALIGNMENTS, proxy_axes
from atlasvid_core.units import Grid
from atlasvid_core.wan.dit import WanConfig, WanDiT

from . import joint_oracle as oracle

TARGET_TOK, PROXY_TOK, CUBE = Grid(5, 5, 6), Grid(2, 2, 3), Grid(2, 2, 4)


def model(seed: int, layers: int = 3) -> WanDiT:
    torch.manual_seed(seed)
    return WanDiT(WanConfig(256, 512, layers)).eval().requires_grad_(False)


def inputs(batch: int = 2):
    torch.manual_seed(7)
    latent = torch.randn(batch, 16, *(TARGET_TOK.t, 2 * TARGET_TOK.h, 2 * TARGET_TOK.w))
    proxy = torch.randn(1, 16, PROXY_TOK.t, 2 * PROXY_TOK.h, 2 * PROXY_TOK.w)
    timestep, text = torch.tensor([900.0, 300.0])[:batch], torch.randn(batch, 4, 4096)
    return latent, proxy, timestep, text


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("alignment", ALIGNMENTS)
@pytest.mark.parametrize("backend", ["dense", "windowed"])
def test_the_kept_guide_equals_the_joint_forward(reach, alignment, backend):
    detail, proxy_model = model(1), model(2)  # two LoRAs on one base, as far as weights go
    latent, proxy, timestep, text = inputs()
    axes = proxy_axes(PROXY_TOK, TARGET_TOK, alignment, 2.0)
    guide = make_guide(proxy_model, proxy, axes, TARGET_TOK)
    got = detail_forward(
        detail, latent, timestep, text,
        cube_tok=CUBE, reach=reach, guide=guide, backend=backend,
    )  # fmt: skip
    want = oracle.joint_forward(
        detail, proxy_model, latent, proxy.expand(2, -1, -1, -1, -1), timestep, text, axes, CUBE,
        reach,
    )  # fmt: skip
    assert (got - want).abs().max() < 1e-5 * want.abs().max()


@pytest.mark.parametrize("reach", REACHES)
@pytest.mark.parametrize("backend", ["dense", "windowed"])
@pytest.mark.parametrize(
    "chunks",
    [ChunkPlan(1), ChunkPlan(2), ChunkPlan(1, 20), ChunkPlan(2, 1), ChunkPlan(2, 17, True)],
    ids=str,
)
@pytest.mark.parametrize("grad", [False, True])
def test_no_chunk_plan_changes_anything_but_rounding(reach, backend, chunks, grad):
    detail = model(1)
    latent, proxy, timestep, text = inputs()
    axes = proxy_axes(PROXY_TOK, TARGET_TOK, "ratio", 2.0)
    how = {
        "cube_tok": Grid(1, 2, 4), "reach": reach, "backend": backend,
        "guide": make_guide(detail, proxy, axes, TARGET_TOK),
    }  # fmt: skip
    calls = []
    with torch.set_grad_enabled(grad):
        got = detail_forward(
            detail, latent, timestep, text, chunks=chunks,
            progress=lambda done, total: calls.append((done, total)), **how,
        )  # fmt: skip
        want = detail_forward(detail, latent, timestep, text, chunks=ChunkPlan(5), **how)
    assert (got - want).abs().max() < 1e-5 * want.abs().max()
    assert calls == [(i + 1, len(calls)) for i in range(len(calls))]
    slabs = -(-TARGET_TOK.t // chunks.slab_cubes)
    assert len(calls) == 3 * slabs if chunks.chunk_tok > 100 else len(calls) > 3 * slabs


def test_the_guide_matters_and_a_far_part_of_it_does_not():
    detail = model(1)
    latent, proxy, timestep, text = inputs(1)
    axes = proxy_axes(PROXY_TOK, TARGET_TOK, "ratio", None)

    def out(proxy_latent):
        guide = make_guide(detail, proxy_latent, axes, TARGET_TOK)
        return detail_forward(
            detail, latent, timestep, text, cube_tok=CUBE, reach="own", guide=guide
        )

    assert not torch.allclose(out(proxy), out(-proxy))
    bare = detail_forward(detail, latent, timestep, text, cube_tok=CUBE, reach="own")
    assert not torch.allclose(out(proxy), bare)


def test_windowed_passes_the_gradients_of_dense():
    detail = model(1, layers=2)
    latent, proxy, timestep, text = inputs(1)
    axes = proxy_axes(PROXY_TOK, TARGET_TOK, "ratio", None)
    guide = make_guide(detail, proxy, axes, TARGET_TOK)
    grads = []
    for backend in ("dense", "windowed"):
        x = latent.clone().requires_grad_()
        out = detail_forward(
            detail, x, timestep, text, cube_tok=CUBE, reach="faces", guide=guide, backend=backend
        )
        out.square().sum().backward()
        grads.append(x.grad)
    assert (grads[0] - grads[1]).abs().max() < 1e-5 * grads[0].abs().max()


def test_progress_counts_layers_and_may_cancel():
    detail, seen = model(1), []
    latent, _, timestep, text = inputs(1)

    def stop(done, total):
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        detail_forward(detail, latent, timestep, text, cube_tok=CUBE, reach="own", progress=stop)
    assert seen == [(1, 3), (2, 3)]  # one slab: this video is small


def test_what_does_not_fit_is_refused_in_words():
    detail = model(1)
    latent, proxy, timestep, text = inputs(1)
    axes = proxy_axes(PROXY_TOK, TARGET_TOK, "ratio", None)
    with pytest.raises(ValueError, match="not finite"):
        make_guide(detail, proxy * float("nan"), axes, TARGET_TOK)
    with pytest.raises(ValueError, match="coordinates are for 2 x 2 x 3"):
        make_guide(detail, proxy[..., :-2], axes, TARGET_TOK)
    other = make_guide(detail, proxy, axes, Grid(5, 5, 8))
    with pytest.raises(ValueError, match="5 x 5 x 8.*5 x 5 x 6"):
        detail_forward(detail, latent, timestep, text, cube_tok=CUBE, reach="own", guide=other)
    short = make_guide(model(1, layers=2), proxy, axes, TARGET_TOK)
    with pytest.raises(ValueError, match="2 layers, this model has 3"):
        detail_forward(detail, latent, timestep, text, cube_tok=CUBE, reach="own", guide=short)
    with pytest.raises(ValueError, match="timesteps"):
        detail_forward(detail, latent, torch.zeros(1, 5), text, cube_tok=CUBE, reach="own")


def test_the_guide_is_kept_in_the_dtype_asked_for():
    axes = proxy_axes(PROXY_TOK, TARGET_TOK, "ratio", None)
    proxy = inputs(1)[1]
    whole = make_guide(model(1), proxy, axes, TARGET_TOK)
    half = make_guide(model(1), proxy, axes, TARGET_TOK, keep=to_host(torch.bfloat16))
    assert whole.bytes == 2 * 3 * PROXY_TOK.count * 256 * 4
    assert half.bytes == whole.bytes // 2


@pytest.mark.parametrize("chunk_tok", [1, 7, 1000])
def test_a_guide_in_chunks_is_the_whole_one(chunk_tok):
    torch.manual_seed(5)
    proxy, axes = torch.randn(1, 16, 3, 8, 6), proxy_axes(Grid(3, 4, 3), TARGET_TOK, "ratio")
    whole = make_guide(model(1), proxy, axes, TARGET_TOK)
    parts = make_guide(model(1), proxy, axes, TARGET_TOK, chunk_tok=chunk_tok)
    for got, want in zip((*parts.keys, *parts.values), (*whole.keys, *whole.values), strict=True):
        assert (got - want).abs().max() < 1e-5 * want.abs().max()
