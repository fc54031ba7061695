"""Frames in between follow the motion, on clips of the tiny world whose truth is known."""

import numpy as np
import pytest
import torch

from atlasvid_core.motion import retimed
from atlasvid_core.tiny import world

STRIDE = 4


@pytest.fixture(scope="module")
def clips():
    """[clip][frame][H, W, 3] uint8: three scenes, 17 frames of 96 x 96."""
    scenes = world.random_scenes(3, torch.Generator().manual_seed(5))
    video = world.render(scenes, world.whole_picture(3, 1.0), 17, 96, 96)
    return ((video + 1) * 127.5).clamp(0, 255).byte().permute(0, 2, 3, 4, 1).numpy()


def error(got, want):
    return float(np.mean((np.stack(got).astype(float) - want) ** 2))


def mixed(frames, at):
    low = [min(int(t), len(frames) - 2) for t in at]
    return [frames[i] * (1 - t + i) + frames[i + 1] * (t - i) for i, t in zip(low, at)]


def test_in_between_frames_are_nearer_the_truth_than_mixtures(clips):
    at = np.arange(17) / STRIDE
    for clip in clips:
        coarse = [np.ascontiguousarray(f) for f in clip[::STRIDE]]
        moved = error(list(retimed(coarse, at)), clip)
        assert moved < 0.25 * error(mixed([f.astype(float) for f in coarse], at), clip)


def test_frames_keep_their_places_and_are_held_beyond_the_ends(clips):
    frames = [np.ascontiguousarray(f) for f in clips[0][:3]]
    out = list(retimed(frames, [-1.0, 0.0, 1.0, 2.0, 7.5]))
    for got, number in zip(out, (0, 0, 1, 2, 2), strict=True):
        assert np.array_equal(got, frames[number])


def test_one_frame_is_a_still_and_none_is_refused():
    frame = np.full((16, 24, 3), 7, np.uint8)
    assert [f.tolist() for f in retimed([frame], [0.0, 0.5])] == [frame.tolist()] * 2
    with pytest.raises(ValueError, match="without frames"):
        next(retimed([], [0.0]))
