"""The guide's gigabytes: where they lie, in which type, and for how long."""

from types import SimpleNamespace

import pytest
import torch

from .common import EULER, SIZES, prompt, proxy_of


@pytest.fixture
def proxy(nodes, wan, plan):
    return proxy_of(nodes, wan, plan)


def tensors(guide):
    return (*guide.get().keys, *guide.get().values)


def test_a_guide_lives_until_sampling_ends_and_comes_back(nodes, stock, wan, plan, empty, proxy):
    guide = nodes.ScaledRoPEAligner(wan, proxy, plan)
    first = [x.clone() for x in tensors(guide)]
    patched = nodes.LocalityPreservingPatch(wan, plan, guide)
    assert guide.held
    want = stock.sample(patched, empty)
    assert not guide.held
    assert torch.equal(stock.sample(patched, empty), want)  # the next job, nothing else run anew
    assert not guide.held
    assert all(torch.equal(a, b) for a, b in zip(first, tensors(guide), strict=True))


def test_a_guide_goes_with_a_cancelled_job_too(nodes, host, wan, plan, proxy):
    import comfy.model_management as management

    guide = nodes.ScaledRoPEAligner(wan, proxy, plan)
    patched = nodes.LocalityPreservingPatch(wan, plan, guide)
    chosen = EULER | {"start": "noise", "denoise": 1.0}
    management.interrupt_current_processing()
    with pytest.raises(management.InterruptProcessingException):
        nodes.DetailJointSampler(patched, plan, prompt(1), **chosen)
    assert not guide.held


def test_on_disk_it_is_the_same_and_leaves_no_file(nodes, stock, wan, plan, empty, proxy):
    from pathlib import Path

    import folder_paths

    temp = Path(folder_paths.get_temp_directory())
    results = []
    for store in ("memory", "disk"):
        guide = nodes.ScaledRoPEAligner(wan, proxy, plan, store=store)
        assert ("on disk" in guide.summary()) == (store == "disk")
        results.append(stock.sample(nodes.LocalityPreservingPatch(wan, plan, guide), empty))
        assert not list(temp.glob("atlasvid_guide_*"))
    assert torch.equal(*results)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_its_type_and_size_are_chosen_and_said(nodes, wan, plan, proxy, dtype):
    guide = nodes.ScaledRoPEAligner(wan, proxy, plan, dtype=dtype)
    assert {x.dtype for x in tensors(guide)} == {getattr(torch, dtype)}
    assert guide.bytes == sum(x.numel() * x.element_size() for x in tensors(guide))
    assert dtype in guide.summary() and f"{guide.proxy_tok.count:,} proxy tokens" in guide.summary()


def test_a_full_disk_is_said_with_the_way_out(pack, tmp_path, monkeypatch):
    from atlasvid_pack.nodes import kept_guide

    part = torch.zeros(1, 4, 1, 128)
    bytes_free = SimpleNamespace(free=part.nbytes)
    monkeypatch.setattr(kept_guide.shutil, "disk_usage", lambda folder: bytes_free)
    assert torch.equal(kept_guide.on_disk(tmp_path, None)(part), part)
    bytes_free.free -= 1
    with pytest.raises(RuntimeError, match="GB are free.*set `store` to memory"):
        kept_guide.on_disk(tmp_path, None)(part)
    assert not list(tmp_path.iterdir())


def test_sizes_are_those_of_the_plan(nodes, wan):
    plan = nodes.Plan(**(SIZES | {"frames": 25}))
    guide = nodes.ScaledRoPEAligner(wan, proxy_of(nodes, wan, plan), plan)
    assert (guide.layers, guide.heads, guide.target_tok) == (2, 1, plan.target_tok)
