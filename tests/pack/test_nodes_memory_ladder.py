"""Out of memory in stage 2: smaller pieces, the same video, and an end that says what was tried."""

import logging

import pytest
import torch

from .common import guide_of


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
