"""AtlasVid-Tiny as it ships: the world, its words, the VAE and the base model."""

from functools import cache

import pytest
import torch

from atlasvid_core.metrics.detail import fine_energy, structure_error
from atlasvid_core.metrics.hero import judge
from atlasvid_core.metrics.pixels import psnr_to_proxy_db
from atlasvid_core.tiny import words, world
from atlasvid_core.tiny.make_vae import psnr_db
from atlasvid_core.tiny.sample import videos_of
from atlasvid_core.wan.io import load_dit, load_vae
from atlasvid_core.wan.latents import from_model_space, to_model_space
from bench.ablation.kit import LORAS, Case, Kit, Setting
from bench.ablation.making import latent_of, video_of
from bench.ablation.ways import Stage2

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


def easy(count: int) -> world.Scenes:
    """Scenes whose hero's colour is nowhere in their sky: red, green or yellow, by day or night."""
    some = scenes(count)
    colour = torch.tensor([0, 3, 2])[torch.arange(count) % 3]
    scheme = torch.tensor([1, 3])[torch.arange(count) % 2]
    return world.Scenes(**{**vars(some), "colour": colour, "scheme": scheme})


def test_the_base_paints_sky_hero_and_motion_of_most_prompts():
    some = easy(12)
    told = judge(some, videos_of(load_dit(BASE), vae(), some, r_t=4, steps=12), stride=4.0)
    shares = {name: right.float().mean().item() for name, right in told.items()}
    assert shares["direction"] >= 0.75, shares
    assert shares["object"] >= 0.6, shares
    assert shares["sky"] >= 0.75, shares


@torch.no_grad()
def test_with_its_loras_stage_2_follows_the_proxy_from_pure_noise():
    """At twice the base's side and, in time, over more frames than it was trained with."""
    kit = Kit(LORAS, Setting(side_px=192, frames_px=17, steps=8))
    assert {role: facts.base for role, facts in kit.facts.items()} == dict.fromkeys(
        ("stage1", "proxy", "detail"), "AtlasVid-Tiny"
    )
    gained, near = [], []
    for number in range(2):
        case = Case(number, kit)
        with_guide, without = (
            psnr_to_proxy_db(video_of(way, case, latent_of(way, case)), case.proxy_video("truth"))
            for way in (Stage2(), Stage2(guided=False))
        )
        near.append(float(with_guide))
        gained.append(float(with_guide - without))
    assert min(near) >= 15, near
    assert min(gained) >= 2, gained
    assert sum(gained) / len(gained) >= 4, gained


@torch.no_grad()
def test_a_picture_that_stands_still_keeps_its_colours_when_it_is_long():
    """The decoder's convolutions look back over more frames than its first training showed it."""
    one = scenes(1)
    still = world.render(one, world.whole_picture(1), 1, 96, 96).expand(-1, -1, 33, -1, -1)
    error = (vae().decode(vae().encode(still)) - still).square().mean((0, 1, 3, 4))
    assert error[-8:].mean() <= 1.6 * error[4:9].mean()


@torch.no_grad()
def test_edges_are_still_sharp_late_in_a_long_video():
    """Half of a picture of 384 px: what a proxy of 96 px can't show is there, and in its place."""
    errors, energies = [], []
    for seed in (0, 1, 2):
        one = world.random_scenes(1, torch.Generator().manual_seed(123_456 + seed))
        half = world.Window(*(torch.tensor([x]) for x in (0.25, 0.45, 0.5, 0.0, 1.0)))
        truth = world.render(one, half, 29, 192, 192)
        late, right = (x[:, :, 13:] for x in (vae().decode(vae().encode(truth)), truth))
        errors.append(float(structure_error(late, right, 4)))
        energies.append(float(fine_energy(late, 4) / fine_energy(right, 4)))
    assert sum(errors) / 3 <= 0.75, errors
    assert sum(energies) / 3 >= 0.3, energies


def test_unknown_words_are_named_and_the_known_ones_listed():
    with pytest.raises(ValueError, match="'cat'.*dusk"):
        words.encode_prompt("a cat crosses right")
    assert not words.encode_prompt("").any()
    full, closeup = (words.encode_prompt("a red ball", view) for view in words.VIEWS)
    assert full.shape == closeup.shape == (1, 8, 4096)
    assert torch.equal(full[0, :2], closeup[0, :2])
    assert closeup[0, 2].any()
    assert not full[0, 2].any()
