"""A small video at the target's size, on a scene whose truth is known."""

import torch

from atlasvid_core.enlarge import BICUBIC, enlarged_frames, times
from atlasvid_core.plan import make_plan
from atlasvid_core.tiny import world

PLAN = make_plan(width_px=96, height_px=96, frames_px=17, r_t=4, proxy_height_px=48)


def test_it_is_the_scene_at_the_plans_size_and_times():
    scene = world.random_scenes(1, torch.Generator().manual_seed(5))
    small, true = (
        world.render(scene, world.whole_picture(1, stride), frames, side, side)[0].movedim(0, -1)
        for stride, frames, side in ((4.0, 5, 48), (1.0, 17, 96))
    )
    for kernel in ({}, {"kernel": BICUBIC}):
        large = torch.stack(list(enlarged_frames(small, PLAN, 4.0, **kernel))) / 127.5 - 1
        assert large.shape == true.shape
        assert (large - true).square().mean() < 0.1 * (large - true.flip(0)).square().mean()


def test_frames_land_where_the_time_scale_says():
    assert times(3, 9, 4.0).tolist() == [0, 0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.75, 2]
    assert times(2, 9, 4.0)[-4:].tolist() == [1, 1, 1, 1]  # the last one is held
    assert times(3, 5, None).tolist() == [0, 0.5, 1, 1.5, 2]
