"""What the nodes turn down: each error names the value, the limit and the way out."""

from types import SimpleNamespace

import pytest
import torch


@pytest.fixture(scope="session")
def refuse(pack):
    from atlasvid_pack.nodes import refuse

    return refuse


@pytest.fixture(scope="session")
def plan(pack):
    from atlasvid_pack.atlasvid_core.plan import make_plan
    from atlasvid_pack.atlasvid_core.units import Grid

    return make_plan(
        width_px=96, height_px=64, frames_px=17, proxy_height_px=32, cube_tok=Grid(1, 2, 2)
    )


WAN = {"kind": "WAN21", "plain_wan": True, "in_channels": 16, "out_channels": 16}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"kind": "SDXL", "plain_wan": False}, "kind SDXL.*plain Wan2.1.*Load Diffusion Model"),
        (WAN | {"in_channels": 48, "out_channels": 48}, "48 input.*16 .*36 .*Load"),
        (WAN | {"in_channels": 32}, "32 input and 16 output.*16 .*36 .*Load"),
        (WAN | {"reference_conv": True}, "reference-image.*Load"),
    ],
)
def test_models(refuse, facts, words):
    with pytest.raises(ValueError, match=words):
        refuse.check_model(refuse.ModelFacts(**facts), "Node")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"context_handler": object()}, "context windows.*Bypass"),
        ({"transformer_options": {"optimized_attention_override": print}}, "attention function"),
        ({"transformer_options": {"patches_replace": {"dit": {("double_block", 0): 1}}}}, "blocks"),
        ({"transformer_options": {"patches": {"attn1_patch": [print]}}}, "patches of transformer"),
        ({"transformer_options": {"rope_options": {"scale_x": 2.0}}}, "ScaleROPE.*Bypass"),
    ],
)
def test_options_on_a_model(refuse, options, words):
    with pytest.raises(ValueError, match=words):
        refuse.check_options(options, "Node")


def test_stage_one_honours_what_the_host_does(refuse):
    sage = {"optimized_attention_override": print, "patches": {"attn1_patch": [print]}}
    refuse.check_options({"transformer_options": sage}, "Node", stage=1)
    scaled = {"transformer_options": {"rope_options": {"scale_t": 2.0}}}
    with pytest.raises(ValueError, match="ScaleROPE.*r_t.*Bypass"):
        refuse.check_options(scaled, "Node", stage=1)
    with pytest.raises(ValueError, match="context windows.*Bypass"):
        refuse.check_options({"context_handler": object()}, "Node", stage=1)


def test_options_that_change_nothing_pass(refuse):
    refuse.check_options({"transformer_options": {"patches_replace": {"dit": {}}}}, "Node")
    refuse.check_options({}, "Node")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("control", "a ControlNet"),
        ("area", "an area"),
        ("set_area_to_bounds", "a mask that sets an area"),
        ("reference_latents", "reference latents"),
        ("time_dim_concat", "context latents"),
        ("gligen", "GLIGEN"),
    ],
)
def test_conditions(refuse, key, words):
    with pytest.raises(ValueError, match=f"negative conditioning carries {words}.*Remove"):
        refuse.check_conditions({"positive": [{}], "negative": [{key: [1]}]}, "Node")


def test_text_and_start_image_pass(refuse):
    entry = {"cross_attn": 1, "concat_latent_image": 1, "concat_mask": 1, "mask": 1}
    entry["set_area_to_bounds"] = False
    refuse.check_conditions({"positive": [entry], "negative": None}, "Node")


def test_unknown_network_inputs(refuse):
    refuse.check_forward_inputs({"control": None}, "Node")
    with pytest.raises(ValueError, match="camera_conditions.*Remove"):
        refuse.check_forward_inputs({"control": None, "camera_conditions": 1}, "Node")


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 4, 5, 8, 12), r"\[1, 4, 5, 8, 12\].*\[1, 16, .*Make it with"),
        ((1, 16, 8, 12), r"\[1, 16, 8, 12\].*Make it with"),
        ((2, 16, 5, 8, 12), "batch of 2.*one at a time"),
    ],
)
def test_latent_shapes(refuse, shape, words):
    with pytest.raises(ValueError, match=words):
        refuse.check_latent(torch.zeros(shape), "The proxy")


def test_latent_with_nan(refuse):
    samples = torch.zeros(1, 16, 1, 2, 2)
    samples[0, 3, 0, 0, 1] = torch.nan
    with pytest.raises(ValueError, match="holds 1 values of 64 that are not finite.*remedy"):
        refuse.check_latent(samples, "The proxy")


def test_sizes_that_do_not_fit_the_plan(refuse, plan):
    from atlasvid_pack.atlasvid_core.units import Grid

    refuse.check_target(plan.target_lat, plan, "The latent")
    with pytest.raises(ValueError, match="1 x 8 x 12.*target 5 x 8 x 12.*Use the latent output"):
        refuse.check_target(Grid(1, 8, 12), plan, "The latent")
    refuse.check_proxy(plan.target_tok, plan)
    with pytest.raises(ValueError, match="6 x 4 x 6 .*5 x 4 x 6.*Shorten"):
        refuse.check_proxy(Grid(6, 4, 6), plan)


def test_guides_that_do_not_fit(refuse, plan):
    facts = refuse.ModelFacts(**WAN, layers=2, heads=1)
    fits = {"target_tok": plan.target_tok, "layers": 2, "heads": 1}
    refuse.check_guide(SimpleNamespace(**fits), plan, facts)
    other = SimpleNamespace(**(fits | {"target_tok": (5, 4, 7)}))
    with pytest.raises(ValueError, match="same VideoPlan"):
        refuse.check_guide(other, plan, facts)
    other = SimpleNamespace(**(fits | {"layers": 1}))
    with pytest.raises(ValueError, match="1 layers with 1 heads.*2 layers with 1.*same base"):
        refuse.check_guide(other, plan, facts)


def test_patched_and_unpatched_models(refuse, plan):
    with pytest.raises(ValueError, match="120 tokens.*Put LocalityPreservingPatch before it"):
        refuse.check_detail(None, plan, "Node")
    with pytest.raises(ValueError, match="patched already.*from before"):
        refuse.check_unpatched(object(), "Node")


def test_lora_files_upstream(pack):
    from atlasvid_pack.nodes import loras

    job = {
        "1": {"inputs": {"unet_name": "base"}},
        "2": {"inputs": {"model": ["1", 0], "lora_name": "far", "strength_model": 1.0}},
        "3": {"inputs": {"model": ["2", 0], "lora_name": "off", "strength_model": 0}},
        "4": {"inputs": {"model": ["3", 0], "lora_name": "near", "strength_model": 0.5}},
        "5": {"inputs": {"model": ["4", 0], "plan": ["9", 0]}},
    }
    assert list(loras.lora_names(job, "5")) == ["near", "far"]
    assert list(loras.lora_names(None, None)) == []
    left = {"near": [], "far": ["blocks.40.q.lora_A.weight"]}
    with pytest.raises(ValueError, match="1 weights of the LoRA 'far'.*blocks.40.*bypass"):
        loras.check_loras(job, "5", left.__getitem__, "Node")


def test_unmatched_lora_names(pack):
    from atlasvid_pack.nodes import loras

    known = ["diffusion_model.blocks.0.self_attn.q", "lora_unet_blocks_0_ffn_0"]
    names = [
        "diffusion_model.blocks.0.self_attn.q.lora_A.weight",
        "diffusion_model.blocks.0.self_attn.q.alpha",
        "lora_unet_blocks_0_ffn_0.lora_up.weight",
        "lora_te_text_model.lora_up.weight",
        "blocks.0.self_attn.q.lora_A.weight",
        "diffusion_model.blocks.0.self_attn.qq.lora_A.weight",
    ]
    assert loras.unmatched(names, known) == names[-2:]


def test_cube_of_nothing(pack):
    from atlasvid_pack.nodes.plan import VideoPlanNode

    sizes = {"width": 96, "height": 64, "frames": 17, "fps": 16.0, "r_t": 4.0, "proxy_height": 32}
    rest = {"cube_h": 2, "cube_w": 2, "reach": "faces", "alignment": "ratio"}
    with pytest.raises(ValueError, match="cube .*0.*at least 1"):
        VideoPlanNode.execute(**sizes, cube_t=0, **rest)
    with pytest.raises(ValueError, match="frames 18.*Use 17 or 21"):
        VideoPlanNode.execute(**(sizes | {"frames": 18}), cube_t=1, **rest)
