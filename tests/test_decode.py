"""Streaming, tiled decode equals the whole video's decode, on our VAE and on the host's module."""

import pytest
import torch

from atlasvid_core.decode import decode_frames, decode_pixels
from atlasvid_core.encode import encode_frames
from atlasvid_core.tile_plan import plan_tiles
from atlasvid_core.tiles import Span, TilePlan, describe, inputs, upper
from atlasvid_core.walk import frames_px, parts
from atlasvid_core.wan.vae import WanVAE

from .vae_models import PeakBytes, host_vae, random_vae, tiny_vae

# float32 against float32: both are off the exact result by 2e-6 to 6e-6 on random weights.
CLOSE = 1e-5
RAGGED = [(11, 10), (4, 6), (3, 10)]  # sides of tiles for frames of (11, 10) latents


def whole(vae, latent):
    return vae.decode(latent).permute(0, 2, 3, 4, 1)


@pytest.mark.parametrize("t_lat", [1, 2, 5])
def test_streaming_equals_the_whole(t_lat):
    vae, latent = random_vae(), torch.randn(2, 16, t_lat, 5, 6)
    frames = decode_frames(vae, latent)
    assert frames.shape == (2, frames_px(t_lat), 40, 48, 3)
    assert (frames - whole(vae, latent)).abs().max() < CLOSE


@pytest.mark.parametrize("order", ["frames", "tiles"])
@pytest.mark.parametrize("size, side", [((5, 18), (5, 4)), ((5, 4), (1, 2))])
def test_tiles_equal_the_whole_in_double_precision(size, side, order, tmp_path):
    vae, latent = random_vae().double(), torch.randn(1, 16, 3, *size, dtype=torch.float64)
    plan = TilePlan(size, side, order, 0)
    frames = decode_frames(vae, latent, plan=plan, folder=tmp_path)
    assert (frames - whole(vae, latent)).abs().max() < 1e-12


@pytest.mark.parametrize("make", [random_vae, tiny_vae])
@pytest.mark.parametrize("side", RAGGED)
def test_tiles_equal_the_whole(make, side):
    vae, latent = make(), torch.randn(1, 16, 2, 11, 10)
    frames = decode_frames(vae, latent, plan=TilePlan((11, 10), side, "frames", 0))
    assert (frames - whole(vae, latent)).abs().max() < CLOSE


def test_the_hosts_module_decodes_as_the_host_does(host):
    theirs, latent = host_vae(random_vae()), torch.randn(1, 16, 4, 6, 5)
    with torch.no_grad():
        for side in ((6, 5), (4, 3)):
            frames = decode_frames(theirs, latent, plan=TilePlan((6, 5), side, "frames", 0))
            assert (frames - whole(theirs, latent)).abs().max() < CLOSE


def test_the_hosts_own_convolution_does_the_work_in_16_bits(host, monkeypatch):
    """A layer may compute in a way of its own: ComfyUI's does where cuDNN's conv3d takes far too
    much memory."""
    import comfy.ops

    exact, latent = random_vae(), torch.randn(1, 16, 3, 6, 5)
    theirs, pixels = host_vae(exact).bfloat16(), torch.rand(9, 48, 40, 3) * 2 - 1
    calls = []

    def own_way(layer, x, weight, bias):
        calls.append(layer)
        geometry = (layer.stride, layer.padding, layer.dilation, False, (0, 0, 0), layer.groups)
        return torch.convolution(x, weight, bias, *geometry)

    def bypassed(*_, **__):
        raise AssertionError("a convolution that the layer knows nothing of")

    with monkeypatch.context() as m, torch.no_grad():
        m.setattr(comfy.ops.disable_weight_init.Conv3d, "_conv_forward", own_way)
        m.setattr(torch.nn.functional, "conv3d", bypassed)
        decoded = decode_frames(theirs, latent.bfloat16())
        encoded = encode_frames(theirs, pixels.bfloat16())
    assert set(calls) == {m for m in theirs.modules() if isinstance(m, torch.nn.Conv3d)}
    clip = pixels.movedim(-1, 0)[None]
    for got, stock, truth in (
        (decoded, whole(theirs, latent.bfloat16()), whole(exact, latent)),
        (encoded, theirs.encode(clip.bfloat16()), exact.encode(clip)),
    ):
        assert (got - truth).abs().max() < 1.5 * (stock - truth).abs().max()


def test_a_tile_needs_13_latents_of_halo_and_no_less():
    """By the module's own geometry, and by what a pixel truly depends on."""
    vae = random_vae()
    first = inputs(describe(upper(vae)), Span(14 * 8, 16 * 8), 30)[0]
    assert first == Span(14 - 13, 16 + 13)
    middle = vae.decoder.upsamples[0]
    latent = torch.randn(1, 16, 1, 30, 1)
    seen = []
    hook = middle.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    latent.requires_grad_(True)
    pixels = vae.decode(latent)
    hook.remove()
    (gradient,) = torch.autograd.grad(pixels[:, :, :, 14 * 8 : 16 * 8].sum(), seen)
    rows = gradient.abs().sum(dim=(0, 1, 2, 4)).nonzero().flatten()
    assert (rows[0], rows[-1]) == (1, 28)


@pytest.mark.parametrize("bits", [8, 10])
def test_pixels_are_the_frames_rounded_in_either_order(bits, tmp_path):
    vae, latent = random_vae(), torch.randn(1, 16, 3, 11, 10)
    top = 2**bits - 1
    exact = (decode_frames(vae, latent)[0] + 1) * (top / 2)
    given = []
    for order in ("frames", "tiles"):
        plan = TilePlan((11, 10), (6, 5), order, 0)
        chunks = list(decode_pixels(vae, latent[0], plan, tmp_path, bits))
        assert sum(len(chunk) for chunk in chunks) == 9
        given.append(torch.cat(chunks).float())
        assert (given[-1] - exact.clamp(0, top)).abs().max() < 0.51
    assert torch.equal(*given)
    assert not list(tmp_path.iterdir())  # the scratch file has no name and is gone


def test_a_scratch_file_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 1000}))
    vae, latent = random_vae(), torch.randn(1, 16, 1, 4, 4)
    plan = TilePlan((4, 4), (2, 2), "tiles", 0)
    with pytest.raises(ValueError, match=r"parks 0.0 GB in .* 0.0 GB are free. Make room"):
        decode_frames(vae, latent, plan=plan, folder=tmp_path)


@pytest.mark.parametrize("order", ["frames", "tiles"])
def test_a_caller_sees_every_part_and_may_stop(order, tmp_path):
    vae, latent = random_vae(), torch.randn(1, 16, 3, 4, 4)
    plan, seen = TilePlan((4, 4), (4, 2), order, 0), []
    decode_frames(vae, latent, lambda *part: seen.append(part), plan, tmp_path)
    total = parts(plan, 3)
    assert total == (6 if order == "frames" else 9)
    assert seen == [(done, total) for done in range(1, total + 1)]

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        decode_frames(vae, latent, stop, plan, tmp_path)


@pytest.mark.parametrize("dim, side, budget", [(8, 0, 2**30), (8, 12, 2**30), (16, 7, 0)])
def test_the_estimate_of_bytes_is_held_to_a_measurement(dim, side, budget, tmp_path):
    vae, latent = WanVAE(dim=dim).eval().requires_grad_(False), torch.randn(16, 2, 24, 26)
    plan = plan_tiles(vae, (24, 26), budget, side_lat=side)
    assert plan.order == ("frames" if budget else "tiles")
    with PeakBytes() as held:
        for _ in decode_pixels(vae, latent, plan, tmp_path, 8):
            pass
    assert 0.8 * plan.peak_bytes < held.peak < 1.1 * plan.peak_bytes


def test_plans_keep_to_their_budget_and_cover_the_frame():
    vae = random_vae()
    seen = []
    for budget in (4 * 10**9, 2 * 10**9, 5 * 10**8, 2 * 10**8):
        plan = plan_tiles(vae, (135, 240), budget)
        assert plan.peak_bytes <= budget
        area = sum(t.rows.size * t.columns.size for t in plan.tiles())
        assert area == 135 * 240 and plan.count == len(set(plan.tiles()))
        seen.append((plan.order, plan.count))
    assert seen[0] == ("frames", 1) and seen[-1][0] == "tiles"
    assert [count for _, count in seen[1:]] == sorted(count for _, count in seen[1:])
    least = plan_tiles(vae, (135, 240), 0)
    assert least.peak_bytes <= plan_tiles(vae, (135, 240), 2 * 10**8).peak_bytes
    assert plan_tiles(vae, (135, 240), 10**9, side_lat=32).tile_lat == (32, 32)
