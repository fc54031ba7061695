"""The training-free start: a proxy at the target's size, by way of pixels."""

import pytest
import torch

from .common import EULER, prompt


@pytest.fixture
def vae(tiny_vae):
    return tiny_vae


@pytest.fixture
def encoded(vae):
    from atlasvid_pack.nodes import host_vae

    def encoded(frames, lat):
        _, plan = host_vae.load_to_encode(vae, lat, "test")
        return host_vae.encode(vae, frames, lat, plan)

    return encoded


def test_by_way_of_pixels_it_is_nearer_the_truth(nodes, vae, encoded):
    from atlasvid_pack.atlasvid_core.tiny import world
    from atlasvid_pack.nodes.enlarge import TIME_SCALE, enlarge, enlarged

    plan = nodes.Plan(192, 192, 33, 16.0, 4.0, 96, 1, 2, 2, "faces", "ratio")
    scene = world.random_scenes(1, torch.Generator().manual_seed(5))
    video = [
        world.render(scene, world.whole_picture(1, stride), frames, side, side)[0].movedim(0, -1)
        for stride, frames, side in ((4.0, 9, 96), (1.0, 33, 192))
    ]
    proxy = {"samples": encoded(video[0], plan.proxy_lat), TIME_SCALE: 4.0}
    true = encoded(video[1], plan.target_lat)
    pixels, latents = enlarged(proxy, plan, vae, "test"), enlarge(proxy, plan)
    assert pixels.shape == latents.shape == true.shape
    assert (pixels - true).square().mean() < 0.7 * (latents - true).square().mean()


def test_encode_is_the_hosts(nodes, vae, encoded):
    from atlasvid_pack.atlasvid_core.units import Grid

    frames = torch.rand(5, 32, 48, 3)
    got = encoded(2 * frames - 1, Grid(2, 4, 6))
    assert (got - vae.encode(frames[None] if vae.latent_dim == 2 else frames)).abs().max() < 1e-4


def test_the_sampler_takes_the_vae(nodes, wan, vae):
    from atlasvid_pack.nodes.enlarge import TIME_SCALE, enlarged

    plan = nodes.Plan(64, 64, 9, 16.0, 2.0, 32, 2, 2, 2, "faces", "ratio")
    proxy = {"samples": torch.randn(1, 16, *plan.proxy_lat), TIME_SCALE: 2.0}
    patched = nodes.LocalityPreservingPatch(wan, plan)
    chosen = EULER | {"start": "proxy", "denoise": 0.5}
    got, plain = (
        nodes.DetailJointSampler(patched, plan, prompt(1), **chosen, proxy=proxy, vae=given)
        for given in (vae, None)
    )
    assert not torch.equal(got["samples"], plain["samples"])
    large = {"samples": enlarged(proxy, plan, vae, "test")}
    again = nodes.DetailJointSampler(patched, plan, prompt(1), **chosen, proxy=large, vae=vae)
    assert torch.equal(again["samples"], got["samples"])


def test_an_encode_that_can_not_fit_is_refused_before_the_proxy_is_decoded(nodes, vae, monkeypatch):
    from atlasvid_pack.nodes import enlarge, host_vae

    def decoded(*_):
        raise AssertionError("decoded")

    plan = nodes.Plan(768, 768, 9, 16.0, 2.0, 64, 2, 4, 4, "faces", "ratio")
    proxy = {"samples": torch.zeros(1, 16, *plan.proxy_lat)}
    monkeypatch.setattr(host_vae.management, "get_free_memory", lambda *_: 90 * 10**6)
    monkeypatch.setattr(host_vae, "decode", decoded)
    with pytest.raises(ValueError, match="test: encoding needs .* 0.09 GB are free"):
        enlarge.enlarged(proxy, plan, vae, "test")
