"""The judges on videos whose verdict is known: renders of the world, and renders spoilt."""

import pytest
import torch

from atlasvid_core.metrics import borders, detail, hero, intervals, pixels
from atlasvid_core.tiny import world

STRIDE, SIDE_PX, CUBE_PX = 4.0, 96, 32


def scenes(count: int, seed: int = 77) -> world.Scenes:
    return world.random_scenes(count, torch.Generator().manual_seed(seed))


def changed(some: world.Scenes, **fields) -> world.Scenes:
    return world.Scenes(**{**vars(some), **fields})


def rendered(some: world.Scenes, frames: int = 9, side_px: int = SIDE_PX, stride=STRIDE):
    return world.render(
        some, world.whole_picture(len(some.colour), stride), frames, side_px, side_px
    )


def share(verdicts: torch.Tensor) -> float:
    return verdicts.float().mean().item()


def noise_like(video: torch.Tensor, strength: float) -> torch.Tensor:
    return strength * torch.randn(video.shape, generator=torch.Generator().manual_seed(1))


def shifted_blocks(video: torch.Tensor) -> torch.Tensor:
    """Every second block of 32 x 32 px shows what lies 6 px beside it."""
    rows, columns = (torch.arange(n) // CUBE_PX for n in video.shape[-2:])
    odd = (rows[:, None] + columns) % 2 == 1
    return torch.where(odd, video.roll(6, dims=-1), video)


def blurred(video: torch.Tensor) -> torch.Tensor:
    side = video.shape[-1]
    small = pixels.scaled_down(video, side // 4, side // 4)
    return pixels.enlarged(small, video.shape[2], side, side)


def prompts(index: torch.Tensor) -> world.Scenes:
    """The prompts of these numbers, 0 to 191, with free phases at random."""
    return changed(
        scenes(len(index)), colour=index % 8, shape=index // 8 % 3, direction=index // 24 % 2,
        scheme=index // 48,
    )  # fmt: skip


@pytest.fixture(scope="module")
def some_scenes() -> world.Scenes:
    """48 of the prompts; every colour, shape, direction and scheme is among them."""
    return prompts(torch.arange(0, 192, 4) + torch.arange(48) % 4)


@pytest.fixture(scope="module")
def some_videos(some_scenes) -> torch.Tensor:
    return rendered(some_scenes)


@pytest.fixture(scope="module")
def large() -> tuple[world.Scenes, torch.Tensor]:
    """Four scenes at the ablations' target size, every second frame of it."""
    some = scenes(4)
    return some, rendered(some, frames=17, side_px=384, stride=2.0)


def test_every_prompt_of_the_world_is_judged_right_on_its_own_render():
    every = prompts(torch.arange(192))
    for name, right in hero.judge(every, rendered(every), STRIDE).items():
        wrong = [every.prompt(i) for i in (~right).nonzero().flatten().tolist()]
        assert not wrong, (name, wrong)


def test_a_hero_that_the_border_cuts_in_every_frame_keeps_its_shape(some_scenes):
    """Boxes begin at the border; a generator that keeps one there has not made a ball."""
    sight = hero.look(some_scenes, rendered(some_scenes, frames=3, stride=1.0))
    assert sight.cut[some_scenes.shape == 1].all()
    assert torch.equal(hero.shape_seen(sight), some_scenes.shape)


def test_the_same_verdict_at_the_target_size(large):
    some, video = large
    assert all(share(v) == 1 for v in hero.judge(some, video, 2.0).values())


def test_every_wrong_word_is_noticed(some_scenes, some_videos):
    for name, field, count in (
        ("object", "shape", 3),
        ("colour", "colour", 8),
        ("direction", "direction", 2),
        ("sky", "scheme", 4),
    ):
        other = changed(some_scenes, **{field: (getattr(some_scenes, field) + 1) % count})
        assert share(hero.judge(other, some_videos, STRIDE)[name]) == 0, name


def test_a_hero_too_many_or_too_few_is_no_hero(some_scenes, some_videos):
    ground = rendered(changed(some_scenes, path_height=some_scenes.path_height + 9))
    assert share(hero.judge(some_scenes, ground, STRIDE)["one_hero"]) == 0
    beside = some_videos.roll(some_videos.shape[-1] // 2, dims=-1)
    sky = slice(0, 48)  # above the hills, where the picture is the same in every column
    both = some_videos.clone()
    twin = (beside - ground).abs().sum(1, keepdim=True) > 0.2
    both[..., sky, :] = torch.where(twin, beside, some_videos)[..., sky, :]
    assert share(hero.judge(some_scenes, both, STRIDE)["one_hero"]) <= 0.02


def test_a_hero_that_vanishes_or_comes_apart_is_no_hero(some_scenes, some_videos):
    ground = rendered(changed(some_scenes, path_height=some_scenes.path_height + 9))
    gone = some_videos.clone()
    gone[:, :, 6:] = ground[:, :, 6:]
    assert share(hero.judge(some_scenes, gone, STRIDE)["one_hero"]) == 0
    rows = torch.arange(SIDE_PX)[:, None] // 12 % 2 == 1
    pieces = torch.where(rows, ground, some_videos)
    assert share(hero.judge(some_scenes, pieces, STRIDE)["one_hero"]) <= 0.03


def test_time_that_runs_back_or_at_another_pace_is_noticed(some_scenes, some_videos):
    back = hero.judge(some_scenes, some_videos.flip(2), STRIDE)
    assert share(back["direction"]) == share(back["speed"]) == 0
    assert share(back["object"]) == 1
    for pace in (0.85, 1.15):
        verdicts = hero.judge(some_scenes, rendered(some_scenes, stride=pace * STRIDE), STRIDE)
        assert share(verdicts["speed"]) <= 0.02
        assert share(verdicts["direction"]) == 1
    assert (
        share(hero.judge(some_scenes, some_videos[:, :, :1].expand_as(some_videos))["speed"]) == 0
    )


def test_noise_and_blur_do_not_hide_a_right_hero(some_scenes, some_videos):
    """So that it is known which judge sees them: those of detail, below."""
    for spoilt in (some_videos + noise_like(some_videos, 0.2), blurred(some_videos)):
        assert share(hero.judge(some_scenes, spoilt, STRIDE)["object"]) >= 0.97


def test_psnr_is_that_of_a_known_error():
    video = torch.zeros(2, 3, 4, 8, 8)
    off = video + torch.tensor([0.2, 0.02]).view(2, 1, 1, 1, 1)  # a tenth and a hundredth of 0..1
    assert pixels.psnr_db(off, video) == pytest.approx([20, 40], abs=1e-3)


def test_a_video_keeps_its_proxy_and_another_does_not(large):
    some, video = large
    proxy = rendered(some)
    assert pixels.psnr_to_proxy_db(video, proxy).min() > 28
    other = rendered(scenes(4, seed=5), frames=17, side_px=384, stride=2.0)
    assert pixels.psnr_to_proxy_db(other, proxy).max() < 20
    assert pixels.psnr_to_proxy_db(video.flip(2), proxy).max() < 24
    with pytest.raises(ValueError, match="share no frames"):
        pixels.psnr_to_proxy_db(video[:, :, :16], proxy)


def test_enlarging_keeps_the_proxy_and_holds_no_fine_detail(large):
    some, video = large
    rival = pixels.enlarged(rendered(some), 17, 384, 384)
    assert rival.shape == video.shape
    assert pixels.psnr_to_proxy_db(rival, rendered(some)).min() > 26
    assert (detail.fine_energy(rival, 4) / detail.fine_energy(video, 4)).max() < 0.2
    assert detail.structure_error(rival, video, 4).min() > 0.8


def test_fine_energy_is_that_of_a_known_wave():
    u = torch.arange(128) / 128
    waves = [torch.sin(2 * torch.pi * cycles * u) for cycles in (8, 40)]
    low, high = (w.expand(1, 3, 2, 128, 128) for w in waves)
    assert detail.fine_energy(low, 4) < 1e-4 * detail.fine_energy(high, 4)
    window = torch.hann_window(128, periodic=False).square().mean()
    expected = 0.5 * window * window
    assert detail.fine_energy(high, 4).item() == pytest.approx(expected.item(), rel=0.02)
    assert detail.fine_energy(low + high, 4) == pytest.approx(detail.fine_energy(high, 4), rel=0.02)


def test_noise_pleases_the_energy_but_not_the_structure(large):
    _, video = large
    smooth = blurred(video)
    energy = detail.fine_energy(video, 4)
    white = noise_like(video, 1.0)
    strength = (energy / detail.fine_energy(white, 4)).sqrt().view(-1, 1, 1, 1, 1)
    noisy = smooth + strength * white
    assert (detail.fine_energy(noisy, 4) / energy) == pytest.approx([1.0] * 4, abs=0.3)
    for error in (
        lambda x: detail.structure_error(x, video, 4),
        lambda x: detail.edge_error(x, video),
    ):
        assert error(video).max() == 0
        assert (error(noisy) > error(smooth)).all()
        assert error(smooth).min() > 0.2
        half = video + 0.5 * (smooth - video)  # some of the right detail is better than none
        assert (error(half) < error(smooth)).all()


def test_a_texture_one_pixel_aside_is_forgiven_by_the_edges_alone(large):
    _, video = large
    aside = video.roll(1, dims=-1)
    assert detail.edge_error(aside, video).max() < 0.3
    assert detail.structure_error(aside, video, 4).min() > detail.edge_error(aside, video).max()


def test_borders_show_where_blocks_are_shifted_and_nowhere_else(large):
    _, video = large
    for axis in ("h", "w"):
        clean = borders.border_visibility(video, CUBE_PX, axis)
        assert clean.max() < 3
        assert clean.min() > 0.75
        assert (borders.border_visibility(shifted_blocks(video), CUBE_PX, axis) > 4 * clean).all()
    lighter = video.clone()
    lighter[:, :, 9:13] += 0.1  # the frames of one latent
    assert borders.border_visibility(lighter, 4, "t").min() > 1.5
    assert borders.border_visibility(video, 4, "t").max() < 1.1
    with pytest.raises(ValueError, match="larger video"):
        borders.border_visibility(video, 512, "h")


def test_only_what_flickers_counts_as_flicker(large):
    _, video = large
    assert pixels.flicker(video).max() < 1e-6  # the hero moves, and that is none
    assert pixels.flicker(video + noise_like(video, 0.05)).min() > 0.04
    pulse = 0.02 * torch.tensor([1.0, -1.0]).repeat(9)[:17].view(1, 1, 17, 1, 1)
    assert pixels.flicker(video + pulse) == pytest.approx([0.04] * 4, rel=1e-3)


def test_intervals_hold_the_mean_as_often_as_they_say():
    generator = torch.Generator().manual_seed(3)
    inside = 0
    for trial in range(200):
        values = 2 + torch.randn(40, generator=generator)
        mean, low, high = intervals.bootstrap(values, resamples=500, seed=trial)
        assert low < mean < high
        inside += low <= 2 <= high
    assert 0.89 <= inside / 200 <= 0.99
    assert intervals.bootstrap([True] * 9 + [False]) == intervals.bootstrap([1.0] * 9 + [0.0])
    assert intervals.bootstrap([0.5]) == (0.5, 0.5, 0.5)
    for bad in ([], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="have no mean"):
            intervals.bootstrap(bad)


def test_pairs_are_surer_than_rows():
    generator = torch.Generator().manual_seed(4)
    common = 5 * torch.randn(24, generator=generator)
    ours, theirs = common + 1, common + 0.1 * torch.randn(24, generator=generator)
    difference = intervals.paired(ours, theirs)
    assert difference.low > 0.9
    row = intervals.bootstrap(ours)
    assert row.high - row.low > 10 * (difference.high - difference.low)
    with pytest.raises(ValueError, match="no pairs"):
        intervals.paired([1.0], [1.0, 2.0])
