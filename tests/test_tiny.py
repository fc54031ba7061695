"""AtlasVid-Tiny as it ships: the world, its words, the VAE and the base model."""

from functools import cache

import pytest
import torch

from atlasvid_core import flow
from atlasvid_core.rope import Axes, detail_axes
from atlasvid_core.tiny import words, world
from atlasvid_core.tiny.make_base import GRID_TOK
from atlasvid_core.tiny.make_vae import psnr_db
from atlasvid_core.wan.io import load_dit, load_vae
from atlasvid_core.wan.latents import from_model_space, to_model_space

BASE = words.FILES / "diffusion_models" / "atlasvid_tiny.safetensors"
VAE = words.FILES / "vae" / "atlasvid_tiny_vae.safetensors"


@cache
def vae():
    return load_vae(VAE)


def scenes(count: int, seed: int = 4321) -> world.Scenes:
    return world.random_scenes(count, torch.Generator().manual_seed(seed))


def test_all_files_together_stay_within_twelve_megabytes():
    files = [f for f in words.FILES.rglob("*") if f.is_file()]
    assert {f.suffix for f in files} == {".safetensors"}
    assert sum(f.stat().st_size for f in files) < 12e6


def test_a_window_of_the_world_is_a_crop_of_the_whole():
    some = scenes(2)
    whole = world.render(some, world.whole_picture(2), 3, 128, 128)
    quarter, half = torch.full((2,), 0.25), torch.full((2,), 0.5)
    window = world.Window(quarter, quarter, half, torch.zeros(2), torch.ones(2))
    assert torch.allclose(
        world.render(some, window, 3, 64, 64), whole[..., 32:96, 32:96], atol=1e-4
    )


def test_the_hero_keeps_its_speed_whatever_the_stride():
    some = scenes(4)
    fine, _ = world.hero_position(some, torch.arange(33.0).expand(4, -1))
    coarse, _ = world.hero_position(some, torch.arange(0, 33.0, 4).expand(4, -1))
    assert torch.allclose(fine[:, ::4], coarse)
    travelled = fine[:, -1] - fine[:, 0]
    way = (world.PATH_TO_U - world.PATH_FROM_U) * 32 / world.CROSSING_FRAMES
    assert torch.allclose(travelled, torch.where(some.direction == 0, way, -way), atol=1e-5)


def test_vae_quality_on_unseen_clips_and_beyond_its_training_size():
    assert psnr_db(vae(), count=4, frames=9, side_px=96) >= 22
    assert psnr_db(vae(), count=1, frames=17, side_px=192, seed=7) >= 22


def test_latents_have_wans_statistics():
    video = world.render(scenes(16), world.whole_picture(16, 4.0), 9, 96, 96)
    latent = to_model_space(vae().encode(video)).transpose(0, 1).flatten(1)
    assert latent.mean(1).abs().max() < 0.5
    assert (latent.std(1) - 1).abs().max() < 0.5
    back = to_model_space(from_model_space(latent.view(1, 16, 1, 1, -1)))
    assert torch.allclose(back.flatten(1), latent.flatten()[None], atol=1e-5)


@torch.no_grad()
def sampled(some: world.Scenes, stride: int, steps: int = 12, cfg: float = 3.0) -> torch.Tensor:
    """Videos [B, 3, 9, 96, 96] of the base model for the scenes' prompts."""
    base, count = load_dit(BASE), len(some.colour)
    text = torch.cat([words.encode_prompt(some.prompt(i)) for i in range(count)])
    axes = detail_axes(GRID_TOK)
    axes = Axes(axes.t * stride, axes.h, axes.w)

    def velocity(x, sigma):
        timestep = torch.full((2 * count,), sigma * flow.TIMESTEPS)
        both = base(torch.cat([x, x]), timestep, torch.cat([text, 0 * text]), axes=axes)
        return flow.guided(*both.chunk(2), cfg)

    noise = torch.randn(count, 16, 3, 12, 12, generator=torch.Generator().manual_seed(11))
    latent = flow.euler(velocity, noise, flow.sigmas(steps, shift=2.0))
    return vae().decode(from_model_space(latent)).clamp(-1, 1)


def hero_column(some: world.Scenes, video: torch.Tensor) -> torch.Tensor:
    """Mean u of the pixels near the hero's colour in the upper 7/10, [B, T]; NaN where none."""
    colour = torch.tensor(list(world.COLOURS.values()))[some.colour].view(-1, 3, 1, 1, 1)
    near = ((video + 1) / 2 - colour).norm(dim=1)[:, :, : int(0.7 * video.shape[-2])] < 0.3
    u = (torch.arange(video.shape[-1]) + 0.5) / video.shape[-1]
    return (near * u).sum((-2, -1)) / near.sum((-2, -1))


def shape_seen(some: world.Scenes, video: torch.Tensor) -> torch.Tensor:
    """The index of the shape that the hero looks like, [B], by the spread of its pixels.

    Over the last two thirds of the clip, where all of the hero is in the picture: a box is wide, a
    diamond tall, a ball neither.
    """
    colour = torch.tensor(list(world.COLOURS.values()))[some.colour].view(-1, 3, 1, 1, 1)
    late = video[:, :, 3:, : int(0.7 * video.shape[-2])]
    near = (((late + 1) / 2 - colour).norm(dim=1) < 0.35).float()

    def spread(axis: int) -> torch.Tensor:
        counts = near.sum(axis)
        at = torch.arange(counts.shape[-1])
        mean = (counts * at).sum(-1, keepdim=True) / counts.sum(-1, keepdim=True)
        return ((counts * (at - mean) ** 2).sum(-1) / counts.sum(-1)).sqrt()

    ratio = (spread(-2) / spread(-1)).nanmedian(dim=1).values  # width over height
    return torch.where(ratio > 1.25, 1, torch.where(ratio < 0.8, 2, 0))


def moves_as_told(some: world.Scenes, video: torch.Tensor) -> torch.Tensor:
    """Whether the hero ends where its direction leads, [B]."""
    u = hero_column(some, video)
    return (u[:, -1] - u[:, 0]).sign() == torch.where(some.direction == 0, 1, -1)


def easy(count: int) -> world.Scenes:
    """Scenes whose hero's colour is nowhere in their sky: red, green or yellow, by day or night."""
    some = scenes(count)
    colour = torch.tensor([0, 3, 2])[torch.arange(count) % 3]
    scheme = torch.tensor([1, 3])[torch.arange(count) % 2]
    return world.Scenes(**{**vars(some), "colour": colour, "scheme": scheme})


def test_the_judge_agrees_with_the_truth():
    some = easy(12)
    video = world.render(some, world.whole_picture(12, 4.0), 9, 96, 96)
    assert moves_as_told(some, video).all()
    assert not moves_as_told(some, video.flip(2)).any()
    assert torch.equal(shape_seen(some, video), some.shape)
    assert set(some.shape.tolist()) == {0, 1, 2}


def test_the_base_paints_sky_hero_and_motion_of_most_prompts():
    some = easy(12)
    video = sampled(some, stride=4)
    assert moves_as_told(some, video).float().mean() >= 0.75
    assert (shape_seen(some, video) == some.shape).float().mean() >= 0.6
    truth = world.render(some, world.whole_picture(12, 4.0), 9, 96, 96)
    sky_error = (video[..., :10, :].mean((2, 3, 4)) - truth[..., :10, :].mean((2, 3, 4))).abs()
    assert (sky_error.amax(1) < 0.3).float().mean() >= 0.75


def test_unknown_words_are_named_and_the_known_ones_listed():
    with pytest.raises(ValueError, match="'cat'.*dusk"):
        words.encode_prompt("a cat crosses right")
    assert not words.encode_prompt("").any()
    full, closeup = (words.encode_prompt("a red ball", view) for view in words.VIEWS)
    assert full.shape == closeup.shape == (1, 8, 4096)
    assert torch.equal(full[0, :2], closeup[0, :2])
    assert closeup[0, 2].any()
    assert not full[0, 2].any()
