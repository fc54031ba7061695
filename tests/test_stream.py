"""The hidden state in host memory: parts that are moved ahead of time are never out of date."""

import pytest
import torch

from atlasvid_core import joint
from atlasvid_core.budget import ChunkPlan
from atlasvid_core.stream import Hidden, _say_not_pinned, host_buffer

from .test_joint import CUBE, inputs, model

CPU = torch.device("cpu")


class Mover:
    """Copies at the moment a move begins: the earliest that a device may read the source."""

    def __init__(self):
        self.begun, self.used = 0, 0

    def __call__(self, source):
        self.begun += 1
        copy = source.clone()

        def finish():
            self.used += 1
            return copy

        return finish


def hidden(mover, parts=4):
    out = Hidden(CPU, on_host=True, tokens=2 * parts, start=mover)
    out.append(torch.arange(2.0 * parts).view(1, -1, 1).split(2, dim=1))
    return out


def test_parts_in_a_row_are_each_moved_once_and_ahead():
    mover = Mover()
    state = hidden(mover)
    for part in range(4):
        assert torch.equal(state.read(0, part).flatten(), torch.tensor([2.0, 3.0]) + 2 * part - 2)
        assert mover.begun == min(part + 2, 4)
    assert mover.used == 4


def test_a_part_that_was_moved_and_then_written_is_moved_again():
    state = hidden(Mover())
    state.read(0, 0)
    state.write(0, 1, torch.full((1, 2, 1), 9.0))
    assert torch.equal(state.read(0, 1).flatten(), torch.tensor([9.0, 9.0]))


@pytest.mark.parametrize("chunks", [ChunkPlan(1, 1, True), ChunkPlan(2, 17, True)], ids=str)
def test_a_forward_with_moves_ahead_equals_one_without(chunks, monkeypatch):
    latent, _, timestep, text = inputs()
    how = {"cube_tok": CUBE, "reach": "all", "chunks": chunks}
    mover = Mover()

    def moving(device, on_host, tokens=None, pin=True):
        return Hidden(device, on_host, tokens, mover)

    with torch.no_grad():
        want = joint.detail_forward(model(1), latent, timestep, text, **how)
        monkeypatch.setattr(joint, "Hidden", moving)
        got = joint.detail_forward(model(1), latent, timestep, text, **how)
    assert torch.equal(got, want)
    assert mover.begun == mover.used > 0  # nothing is moved in vain


def test_where_memory_cannot_be_pinned_other_memory_serves(caplog):
    """Without a GPU none can; with one, a container may forbid it."""
    _say_not_pinned.cache_clear()
    buffers = [host_buffer((2, 3), torch.bfloat16, pin=True) for _ in range(2)]
    assert all(b.shape == (2, 3) and b.dtype == torch.bfloat16 for b in buffers)
    pinned = torch.cuda.is_available()
    assert all(b.is_pinned() == pinned for b in buffers)
    assert len(caplog.records) == (0 if pinned else 1)  # not at every step
    assert pinned or "not in pinned memory" in caplog.text
