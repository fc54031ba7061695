"""Out of memory in stage 2: smaller pieces, the same video, and an end that says what was tried."""

import logging
from itertools import chain

import pytest
import torch

from .common import SIZES, guide_of


@pytest.fixture
def short_of_memory(pack, monkeypatch):
    """Forwards whose chunk plan `fits` turns down run out of memory; -> the plans asked for."""
    from atlasvid_pack.nodes import detail as module

    forward, asked = module.detail_forward, []

    def install(fits):
        def limited(*args, chunks, **options):
            asked.append(chunks)
            if not fits(chunks):
                raise torch.OutOfMemoryError("allocation on device")
            return forward(*args, chunks=chunks, **options)

        monkeypatch.setattr(module, "detail_forward", limited)
        return asked

    return install


def test_a_job_goes_on_in_smaller_pieces(nodes, stock, wan, plan, empty, short_of_memory, caplog):
    def patched():
        return nodes.LocalityPreservingPatch(wan, plan, guide_of(nodes, wan, plan))

    want = stock.sample(patched(), empty)
    asked = short_of_memory(lambda chunks: chunks.hidden_on_host)
    with caplog.at_level(logging.WARNING):
        got = stock.sample(patched(), empty)
    assert (got - want).abs().max() < 1e-5 * want.abs().max()
    assert [c.chunk_tok for c in asked[:4]] == [8192, 4096, 2048, 1024]
    assert [c.hidden_on_host for c in asked[3:]] == [False, True, True, True]  # 3 steps, one fall
    assert caplog.text.count("going on with") == 4


def test_the_end_of_the_ladder_says_what_was_tried(nodes, stock, wan, plan, empty, short_of_memory):
    patched = nodes.LocalityPreservingPatch(wan, plan)
    short_of_memory(lambda chunks: False)
    with pytest.raises(RuntimeError, match="8,192 tokens.*host memory.*smaller target.*lowvram"):
        stock.sample(patched, empty)


def test_a_cancel_is_no_lack_of_memory(nodes, stock, wan, plan, empty, short_of_memory):
    import comfy.model_management as management

    patched = nodes.LocalityPreservingPatch(wan, plan)
    asked = short_of_memory(lambda chunks: management.interrupt_current_processing() or True)
    with pytest.raises(management.InterruptProcessingException):
        stock.sample(patched, empty)
    assert len(asked) == 1


def test_a_guide_is_read_in_smaller_pieces(nodes, wan, plan, monkeypatch, caplog):
    from atlasvid_pack.nodes import guide as module

    want = guide_of(nodes, wan, plan).get()
    make, asked = module.make_guide, []

    def limited(*args, chunk_tok, **options):
        asked.append(chunk_tok)
        if chunk_tok > fits:
            raise torch.OutOfMemoryError("allocation on device")
        return make(*args, chunk_tok=3, **options)

    monkeypatch.setattr(module, "make_guide", limited)
    fits = 2048
    with caplog.at_level(logging.WARNING):
        got = guide_of(nodes, wan, plan).get()
    assert asked == [8192, 4096, 2048]
    assert "out of memory with chunks of 4,096 tokens; trying chunks of 2,048" in caplog.text
    for kept, whole in zip((*got.keys, *got.values), (*want.keys, *want.values), strict=True):
        assert (kept - whole).abs().max() < 1e-5 * whole.abs().max()
    fits = 0
    with pytest.raises(
        RuntimeError, match="ScaledRoPEAligner.*8,192 .*1,024 tokens.*smaller proxy"
    ):
        guide_of(nodes, wan, plan)


def test_a_proxy_is_enlarged_in_smaller_tiles(nodes, tiny_vae, monkeypatch, caplog):
    from atlasvid_pack.nodes import host_vae as adapter
    from atlasvid_pack.nodes.enlarge import enlarged

    plan = nodes.Plan(**(SIZES | {"width": 128, "height": 128, "frames": 9, "proxy_height": 64}))
    proxy = {"samples": torch.randn(1, 16, 2, 8, 8, generator=torch.Generator().manual_seed(1))}
    want = enlarged(proxy, plan, tiny_vae, "DetailJointSampler")
    encode, asked, fits = adapter.encode, [], 0

    def limited(vae, frames, lat, plan):
        asked.append(plan)
        frames = iter(frames)
        first = next(frames)  # it has begun when memory runs out
        if plan.peak_bytes > fits:
            raise torch.OutOfMemoryError("allocation on device")
        return encode(vae, chain([first], frames), lat, plan)

    monkeypatch.setattr(adapter, "encode", limited)
    words = "encoding the enlarged proxy.*128 x 128 px.*tiles outermost.*leave out the vae"
    with pytest.raises(RuntimeError, match=words):
        enlarged(proxy, plan, tiny_vae, "DetailJointSampler")
    needs = [plan.peak_bytes for plan in asked]
    assert len(needs) > 1 and needs == sorted(set(needs), reverse=True)
    fits = needs[-1]
    with caplog.at_level(logging.WARNING):
        got = enlarged(proxy, plan, tiny_vae, "DetailJointSampler")
    assert (got - want).abs().max() < 1e-4
    assert "with 1 tiles of 128 x 128 px, frames outermost; trying" in caplog.text
