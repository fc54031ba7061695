"""How far, and how long still: what a phase says, and that a cancel ends it at the next part."""

import logging

import pytest
import torch

from .common import EULER, guide_of, prompt, proxy_of


class Screen:
    """What a user sees, and a clock that the test moves."""

    def __init__(self):
        self.now, self.bars, self.texts, self.cancelled = 0.0, [], [], False

    def phase(self, name, total):
        from atlasvid_pack.nodes.progress import Phase, Shown

        shown = Shown(self.check, lambda *bar: self.bars.append(bar), self.texts.append)
        return Phase(name, total, shown, lambda: self.now)

    def check(self):
        if self.cancelled:
            raise KeyboardInterrupt


@pytest.fixture
def screen(pack):
    return Screen()


def test_a_phase_says_what_is_left_of_it(screen, caplog):
    phase = screen.phase("Decoding", 100)
    with caplog.at_level(logging.INFO):
        for _ in range(100):
            screen.now += 4.0 if phase.done else 60.0  # the first part loads a model
            phase()
    assert screen.texts[0] == "Decoding: 1 %"
    assert screen.texts[1] == "Decoding: 2 %, 7 min left"
    assert screen.texts[49] == "Decoding: 50 %, 3 min left"
    assert screen.texts[98] == "Decoding: 99 %, 4 s left"
    assert screen.texts[-1] == "Decoding: 8 min"
    assert [bar[0] for bar in screen.bars] == list(range(1, 101))
    lines = [record.message for record in caplog.records]
    assert 10 < len(lines) < 20 and lines[-1] == "AtlasVid: Decoding took 8 min"


def test_quick_parts_are_not_all_told(screen):
    phase = screen.phase("Encoding", 10_000)
    for _ in range(10_000):
        screen.now += 0.001
        phase()
    assert 90 < len(screen.bars) < 110 and screen.bars[-1] == (10_000, 10_000, None)
    assert 9 <= len(screen.texts) <= 11
    short = screen.phase("Encoding", 3)
    told = len(screen.texts)
    for _ in range(3):
        short()
    assert len(screen.texts) == told


def test_a_cancelled_phase_says_where_it_stopped(screen):
    phase = screen.phase("Denoising", 100)
    for part in range(1, 4):
        screen.now += 2.0
        phase.reach(part, f"step {part} of 100")
    screen.cancelled = True
    with pytest.raises(KeyboardInterrupt):
        phase.reach(4, "step 4 of 100")
    assert screen.texts[-1] == "Denoising: stopped at step 4 of 100, 3 %"


def test_steps_tell_their_way_inside(screen):
    from atlasvid_pack.nodes.progress import Steps

    steps = Steps(screen.phase("Denoising", 400), 4)
    reached = []
    for step in range(4):
        for _ in range(2):  # forwards: guidance
            for done in range(1, 11):
                screen.now += 6.0
                steps.inside(done, 10)
                reached.append(steps.phase.done)
        steps.finished(step + 1, preview="picture")
        reached.append(steps.phase.done)
    assert reached == sorted(reached) and reached[-1] == 400
    assert reached[21:31] == pytest.approx([100 + 5 * n for n in range(1, 11)])
    assert screen.texts[30] == "Denoising: step 2 of 4, 38 %, 5 min left"
    assert [bar[2] for bar in screen.bars].count("picture") == 4


def test_kept_steps_do_not_make_the_pace(screen):
    from atlasvid_pack.nodes.progress import Steps

    steps = Steps(screen.phase("Denoising", 10), 10)
    for step in (8, 9):
        screen.now += 30.0
        steps.finished(step)
    assert steps.phase.left_s(screen.now) == 30.0


def test_durations():
    from atlasvid_pack.nodes.progress import duration

    said = [duration(s) for s in (0, 59.6, 99, 100, 5000, 5400, 12_000, 90_000)]
    assert said[:5] == ["1 s", "60 s", "99 s", "2 min", "83 min"]
    assert said[5:] == ["1 h 30 min", "3 h 20 min", "25 h 00 min"]


def test_a_cancel_ends_a_step_at_the_next_part(nodes, stock, wan, plan, empty, monkeypatch):
    import comfy.model_management as management
    import comfy.utils

    patched = nodes.LocalityPreservingPatch(wan, plan, guide_of(nodes, wan, plan))
    bars, parts = [], []

    def hook(value, total, preview, node_id=None):
        bars.append((value, total))

    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    from atlasvid_pack.nodes import progress

    monkeypatch.setattr(progress, "BAR_EVERY_S", 0.0)
    inside = progress.Steps.inside

    def counted(self, done, total):
        parts.append((done, total))
        if len(parts) == cancel_at:
            management.interrupt_current_processing()
        inside(self, done, total)

    monkeypatch.setattr(progress.Steps, "inside", counted)
    options = EULER | {"start": "noise", "denoise": 1.0, "keep_steps": False}
    cancel_at = None
    nodes.DetailJointSampler(patched, plan, prompt(1), **options)
    a_step = parts[0][1]
    assert a_step >= 2 and len(parts) == 3 * a_step  # 3 steps, each told from inside
    assert bars[-1] == (300, 300) and bars == sorted(bars)
    parts.clear()
    cancel_at = a_step + 1
    with pytest.raises(management.InterruptProcessingException):
        nodes.DetailJointSampler(patched, plan, prompt(1), **options)
    assert len(parts) == cancel_at  # nothing more was computed
    parts.clear()
    cancel_at = None  # in the stock KSampler too: the patch's own callback checks
    stock.sample(patched, empty)
    assert parts == []


def test_stage_1_tells_its_blocks_and_can_be_cancelled_at_each(nodes, wan, plan, monkeypatch):
    import comfy.model_management as management
    from atlasvid_pack.nodes import progress

    inside, parts, cancel_at = progress.Steps.inside, [], None

    def counted(self, done, total):
        parts.append((done, total))
        if len(parts) == cancel_at:
            management.interrupt_current_processing()
        inside(self, done, total)

    monkeypatch.setattr(progress.Steps, "inside", counted)
    proxy_of(nodes, wan, plan)
    assert parts == 3 * [(1, 2), (2, 2)]  # 3 steps, 2 layers; both texts in one forward
    parts.clear()
    cancel_at = 3
    with pytest.raises(management.InterruptProcessingException):
        proxy_of(nodes, wan, plan)
    assert len(parts) == 3
    assert not any(block._forward_hooks for block in wan.model.diffusion_model.blocks)


def test_a_sheet_is_small_and_shows_moments_in_order(pack):
    from atlasvid_pack.nodes.preview import sheet

    x0 = torch.arange(81.0)[None, None, :, None, None].expand(1, 16, 81, 270, 480)
    small = sheet(x0, 64)
    assert small.shape == (1, 16, 1, 2 * 18, 2 * 32)
    assert [int(small[0, 0, 0, y, x]) for y in (0, 35) for x in (0, 63)] == [0, 26, 53, 80]
    assert sheet(x0[:, :, :1], 512).shape == (1, 16, 1, 270, 480)
    assert sheet(x0[:, :, :3], 100).shape == (1, 16, 1, 56, 100)
    assert sheet(x0[:, :, :, :1, :1], 1).shape == (1, 16, 1, 2, 2)
