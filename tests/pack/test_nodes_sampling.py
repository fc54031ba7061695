"""Both stages against the stock samplers, on tiny random Wan models."""

import pytest
import torch

from .common import EULER, SIZES, guide_of, prompt, proxy_of


@pytest.mark.parametrize("shift", [3.0, 0.0])
def test_stage_one_with_r_t_one_is_the_stock_sampler(nodes, stock, wan, shift):
    import nodes as host_nodes

    plan = nodes.Plan(**(SIZES | {"r_t": 1.0}))
    proxy = proxy_of(nodes, wan, plan, shift=shift)
    assert proxy["atlasvid_r_t"] == 1.0
    latent = {"samples": torch.zeros(1, 16, *plan.proxy_lat)}
    if shift:
        want = stock.sample(wan, latent, shift=shift, cfg=4.0)
    else:
        want = host_nodes.common_ksampler(
            wan, 5, 3, 4.0, "euler", "simple", prompt(1), prompt(2), latent
        )[0]["samples"]
    assert torch.equal(proxy["samples"], want)


def test_stage_one_stretches_time(nodes, stock, wan, plan):
    proxy = proxy_of(nodes, wan, plan)
    assert proxy["samples"].shape[2:] == plan.proxy_lat
    latent = {"samples": torch.zeros(1, 16, *plan.proxy_lat)}
    assert not torch.equal(proxy["samples"], stock.sample(wan, latent, cfg=4.0))


# Stage 2


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float16])
def test_weights_are_cast_as_the_host_does(nodes, stock, load, empty, dtype):
    model = load(dtype=dtype)
    plan = nodes.Plan(**(SIZES | {"cube_t": 8, "cube_h": 8, "cube_w": 8}))
    want = stock.sample(model, empty)
    got = stock.sample(nodes.LocalityPreservingPatch(model, plan), empty)
    assert (got - want).abs().max() < 1e-4 * want.abs().max()


def test_guide_has_the_compute_type(nodes, stock, wan, plan, empty):
    model = wan.clone()
    model.set_model_compute_dtype(torch.bfloat16)
    guide = guide_of(nodes, model, plan)
    kept = guide.get()
    assert kept.keys[0].dtype == kept.values[-1].dtype == torch.bfloat16
    assert kept.keys[0].device.type == "cpu"
    got = stock.sample(nodes.LocalityPreservingPatch(model, plan, guide), empty)
    want = stock.sample(nodes.LocalityPreservingPatch(wan, plan, guide_of(nodes, wan, plan)), empty)
    assert (got - want).abs().max() < 0.05 * want.abs().max()


def test_whole_reach_without_guide_is_the_stock_model(nodes, stock, wan, empty):
    plan = nodes.Plan(**(SIZES | {"cube_t": 8, "cube_h": 8, "cube_w": 8}))
    patched = nodes.LocalityPreservingPatch(wan, plan)
    want = stock.sample(wan, empty)
    got = stock.sample(patched, empty)
    assert (got - want).abs().max() < 1e-4 * want.abs().max()


@pytest.mark.parametrize("kind", ["t2v", "i2v"])
def test_detail_sampler_is_the_stock_samplers_way(nodes, stock, load, wan, plan, empty, kind):
    model = wan if kind == "t2v" else load(in_channels=36, image=True)
    patched = nodes.LocalityPreservingPatch(model, plan, guide_of(nodes, model, plan))
    got = nodes.DetailJointSampler(patched, plan, prompt(1), **EULER, start="noise", denoise=0.5)
    assert got["samples"].shape[2:] == plan.target_lat
    assert torch.equal(got["samples"], stock.sample(patched, empty))

    shifted = stock.shift().patch(patched, EULER["shift"])[0]
    custom = stock.custom
    sigmas = custom.BasicScheduler.execute(shifted, "simple", EULER["steps"], 1.0).args[0]
    guider = custom.BasicGuider.execute(shifted, prompt(1)).args[0]
    noise = custom.RandomNoise.execute(EULER["seed"]).args[0]
    euler = custom.KSamplerSelect.execute("euler").args[0]
    out = custom.SamplerCustomAdvanced.execute(noise, guider, euler, sigmas, empty).args[0]
    assert torch.equal(out["samples"], got["samples"])


def test_guide_and_reach_matter(nodes, stock, wan, plan, empty):
    guide = guide_of(nodes, wan, plan)
    results = [
        stock.sample(nodes.LocalityPreservingPatch(wan, chosen, given), empty)
        for chosen in (plan, nodes.Plan(**(SIZES | {"reach": "own"})))
        for given in (guide, None)
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(results) for b in results[:i])


def test_backends_agree(nodes, stock, wan, plan, empty):
    guide = guide_of(nodes, wan, plan)
    dense, windowed = (
        stock.sample(nodes.LocalityPreservingPatch(wan, plan, guide, backend=name), empty)
        for name in ("dense", "windowed")
    )
    assert (dense - windowed).abs().max() < 1e-4 * dense.abs().max()


def test_start_from_the_proxy(nodes, stock, wan, plan):
    from atlasvid_pack.nodes.enlarge import enlarge

    proxy = proxy_of(nodes, wan, plan)
    patched = nodes.LocalityPreservingPatch(wan, plan)
    chosen = EULER | {"start": "proxy", "denoise": 0.5}
    got = nodes.DetailJointSampler(patched, plan, prompt(1), **chosen, proxy=proxy)["samples"]
    large = {"samples": enlarge(proxy, plan)}
    assert large["samples"].shape == (1, 16, *plan.target_lat)
    assert torch.equal(got, stock.sample(patched, large, denoise=0.5))
    again = nodes.DetailJointSampler(patched, plan, prompt(1), **chosen, proxy=large)["samples"]
    assert torch.equal(got, again)


def test_enlarging_keeps_first_and_last_and_flat_pictures(nodes, plan):
    from atlasvid_pack.nodes.enlarge import enlarge

    ramp = torch.linspace(0, 1, plan.proxy_lat.t).view(1, 1, -1, 1, 1)
    ramp = ramp.expand(1, 16, *plan.proxy_lat)
    out = enlarge({"samples": ramp}, plan)
    want = torch.linspace(0, 1, plan.target_lat.t).view(1, 1, -1, 1, 1).expand_as(out)
    torch.testing.assert_close(out, want)


def test_enlarging_puts_a_stage_one_proxy_where_it_was_made(pack):
    from atlasvid_pack.nodes.enlarge import stretch

    frames = torch.tensor([0.0, 1.0, 2.0])
    assert stretch(frames, 4, time_scale=2.0).tolist() == [0.0, 0.5, 1.0, 1.5]
    assert stretch(frames, 6, time_scale=2.0).tolist() == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
    assert stretch(frames, 5, time_scale=None).tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert stretch(frames[:1], 3, time_scale=None).tolist() == [0.0, 0.0, 0.0]


def test_negative_is_optional_with_guidance(nodes, wan, plan):
    patched = nodes.LocalityPreservingPatch(wan, plan)
    chosen = EULER | {"cfg": 3.0, "start": "noise", "denoise": 1.0}
    zeros = [[torch.zeros(1, 6, 4096), {}]]
    without = nodes.DetailJointSampler(patched, plan, prompt(1), **chosen)["samples"]
    given = nodes.DetailJointSampler(patched, plan, prompt(1), **chosen, negative=zeros)["samples"]
    assert torch.equal(without, given)
