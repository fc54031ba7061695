"""What is refused, on real models and at the earliest place; the next job runs."""

import inspect
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch

from .common import EULER, SIZES, guide_of, prompt


def image_model():
    """A MODEL of the host's SDXL kind, without its weights."""
    from comfy import model_base, model_patcher, supported_models

    sizes = {"disable_unet_model_creation": True, "adm_in_channels": 2816, "dtype": torch.float32}
    model = model_base.SDXL(supported_models.SDXL(sizes))
    return model_patcher.ModelPatcher(model, torch.device("cpu"), torch.device("cpu"))


def vace_model():
    """A tiny random Vace model, through the host's own loader."""
    import comfy.ops
    import comfy.sd
    from comfy.ldm.wan.model import VaceWanModel

    sizes = {"dim": 128, "ffn_dim": 256, "num_heads": 1, "num_layers": 2}
    weights = VaceWanModel(
        **sizes, vace_layers=1, vace_in_dim=96, operations=comfy.ops.disable_weight_init
    ).state_dict()
    return comfy.sd.load_diffusion_model_state_dict(
        {name: torch.zeros_like(weight) for name, weight in weights.items()}
    )


def test_models_of_other_kinds(nodes, load, plan):
    with pytest.raises(ValueError, match="kind SDXL.*plain Wan2.1.*Load Diffusion Model"):
        nodes.SemanticProxyGenerator(image_model(), prompt(1), prompt(2), plan, **EULER)
    with pytest.raises(ValueError, match="kind WAN21_Vace.*Vace.*Load"):
        nodes.ScaledRoPEAligner(vace_model(), {}, plan)
    with pytest.raises(ValueError, match="32 input"):
        nodes.LocalityPreservingPatch(load(in_channels=32), plan)


def test_a_patched_model_where_a_plain_one_belongs(nodes, wan, plan):
    patched = nodes.LocalityPreservingPatch(wan, plan)
    with pytest.raises(ValueError, match="patched already"):
        nodes.LocalityPreservingPatch(patched, plan)
    with pytest.raises(ValueError, match="patched already"):
        nodes.SemanticProxyGenerator(patched, prompt(1), prompt(2), plan, **EULER)
    with pytest.raises(ValueError, match="Put LocalityPreservingPatch before it"):
        nodes.DetailJointSampler(wan, plan, prompt(1), **EULER, start="noise", denoise=1.0)
    other = nodes.Plan(**(SIZES | {"frames": 17}))
    with pytest.raises(ValueError, match="same VideoPlan"):
        nodes.DetailJointSampler(patched, other, prompt(1), **EULER, start="noise", denoise=1.0)
    with pytest.raises(ValueError, match="proxy input is empty"):
        nodes.DetailJointSampler(patched, plan, prompt(1), **EULER, start="proxy", denoise=0.5)


def test_latents_and_conditions_at_sampling_time(nodes, stock, wan, plan, empty):
    import node_helpers
    from comfy.controlnet import ControlBase

    patched = nodes.LocalityPreservingPatch(wan, plan)
    bad = {
        "5 x 8 x 8.*target 4 x 8 x 8": torch.zeros(1, 16, 5, 8, 8),
        "Make it with VideoPlan": torch.ones(1, 4, 4, 8, 8),
        "not finite": torch.full((1, 16, *plan.target_lat), torch.nan),
    }
    for words, samples in bad.items():
        with pytest.raises(ValueError, match=words):
            stock.sample(patched, {"samples": samples})
    values = {"control": ControlBase(), "reference_latents": [empty], "area": (1, 1, 0, 0)}
    for key, value in values.items():
        text = node_helpers.conditioning_set_values(prompt(1), {key: value})
        with pytest.raises(ValueError, match=f"positive conditioning.*{key}"):
            stock.sample(patched, empty, positive=text)
    with pytest.raises(ValueError, match="The proxy holds"):
        nodes.ScaledRoPEAligner(wan, {"samples": bad["not finite"]}, plan)
    with pytest.raises(ValueError, match="no larger than its target"):
        nodes.ScaledRoPEAligner(wan, {"samples": torch.zeros(1, 16, 5, 8, 8)}, plan)
    assert stock.sample(patched, empty).isfinite().all()


def test_options_put_on_after_the_patch(nodes, stock, wan, plan, empty):
    from comfy_extras.nodes_context_windows import ContextWindowsManualNode

    patched = nodes.LocalityPreservingPatch(wan, plan)
    late = patched.clone()
    late.set_model_patch_replace(print, "dit", "double_block", 0)
    with pytest.raises(ValueError, match="patches_replace"):
        stock.sample(late, empty)
    late = patched.clone()
    late.model_options["transformer_options"]["optimized_attention_override"] = print
    with pytest.raises(ValueError, match="optimized_attention_override"):
        stock.sample(late, empty)
    known = inspect.signature(ContextWindowsManualNode.execute).parameters
    more = {"freenoise": False} if "freenoise" in known else {}  # not on 0.3.75
    windows = ContextWindowsManualNode.execute(
        patched, 2, 0, "standard_static", 1, False, "pyramid", 2, **more
    )
    with pytest.raises(ValueError, match="context windows"):
        stock.sample(getattr(windows, "args", [windows])[0], empty)


def scaled(model, part, by=0.5):
    """As NAG and Enhance-A-Video do it: a function of theirs in place of a module's forward."""
    clone = model.clone()
    forward = clone.get_model_object(f"diffusion_model.{part}")
    clone.add_object_patch(f"diffusion_model.{part}", lambda *a, **k: forward(*a, **k) * by)
    return clone


@pytest.mark.parametrize(
    "part", ["forward_orig", "blocks.1.cross_attn.forward", "blocks.0.self_attn.forward"]
)
def test_parts_replaced_on_the_model(nodes, stock, wan, plan, empty, part):
    """Stage 1 is the host's own forward and honours them; stage 2 would drop them."""
    model, alike = scaled(wan, part), nodes.Plan(**(SIZES | {"r_t": 1.0}))
    proxy = nodes.SemanticProxyGenerator(model, prompt(1), prompt(2), alike, **EULER)["samples"]
    given = {"samples": torch.zeros_like(proxy)}
    assert torch.equal(proxy, stock.sample(model, given))
    assert not torch.equal(proxy, stock.sample(wan, given))
    words = f"in place of diffusion_model.{part}.*linear layers.*Bypass"
    with pytest.raises(ValueError, match=words):
        nodes.LocalityPreservingPatch(model, plan)
    with pytest.raises(ValueError, match=words):
        nodes.ScaledRoPEAligner(model, {"samples": proxy}, alike)
    late = scaled(nodes.LocalityPreservingPatch(wan, plan), part)
    with pytest.raises(ValueError, match=words):
        nodes.DetailJointSampler(late, plan, prompt(1), **EULER, start="noise", denoise=1.0)
    with pytest.raises(ValueError, match=words):
        stock.sample(late, empty)


def test_a_forward_swapped_for_the_length_of_a_step(nodes, stock, wan, plan, empty):
    """As TeaCache does it; a wrapper that swaps nothing may stay."""

    def swapping(apply, given):
        network, forward = wan.model.diffusion_model, wan.model.diffusion_model.forward_orig
        with patch.object(network, "forward_orig", lambda *a, **k: forward(*a, **k) * 0.5):
            return apply(given["input"], given["timestep"], **given["c"])

    def plain(apply, given):
        return apply(given["input"], given["timestep"], **given["c"])

    patched = nodes.LocalityPreservingPatch(wan, plan)
    patched.set_model_unet_function_wrapper(plain)
    assert torch.equal(
        stock.sample(patched, empty),
        stock.sample(nodes.LocalityPreservingPatch(wan, plan), empty),
    )
    patched.set_model_unet_function_wrapper(swapping)
    with pytest.raises(ValueError, match="in place of diffusion_model.forward_orig.*Bypass"):
        stock.sample(patched, empty)


def test_replaced_parts_that_stage_two_calls_do_their_work(nodes, stock, wan, empty):
    whole = nodes.Plan(**(SIZES | {"cube_t": 8, "cube_h": 8, "cube_w": 8}))
    model = scaled(scaled(wan, "blocks.1.ffn.forward"), "blocks.0.self_attn.v.forward")
    want = stock.sample(model, empty)
    got = stock.sample(nodes.LocalityPreservingPatch(model, whole), empty)
    assert (got - want).abs().max() < 1e-4 * want.abs().max()
    assert (stock.sample(wan, empty) - want).abs().max() > 1e-2 * want.abs().max()
    model = wan.clone()
    block = wan.get_model_object("diffusion_model.blocks.0")
    model.add_object_patch("diffusion_model.blocks.0", torch.compile(block, backend="eager"))
    got = stock.sample(nodes.LocalityPreservingPatch(model, whole), empty)
    assert torch.equal(got, stock.sample(nodes.LocalityPreservingPatch(wan, whole), empty))


def test_guides_of_other_models(nodes, wan, load, plan):
    guide = guide_of(nodes, load(layers=1), plan)
    with pytest.raises(ValueError, match="1 layers.*2 layers"):
        nodes.LocalityPreservingPatch(wan, plan, guide)
    with pytest.raises(ValueError, match="same VideoPlan"):
        nodes.LocalityPreservingPatch(wan, nodes.Plan(**(SIZES | {"frames": 17})), guide)


def test_loras_that_do_not_fit(nodes, stock, wan, plan, pack, lora_file):
    import folder_paths
    from atlasvid_pack.nodes import host
    from atlasvid_pack.nodes.patch import LocalityPreservingPatch

    def unmatched(name):
        return host.lora_unmatched(wan, folder_paths.get_full_path("loras", name))

    assert unmatched(lora_file("fits.safetensors")) == []
    deep = lora_file("deep.safetensors", layers=3)
    assert len(unmatched(deep)) == 4
    assert all(".blocks.2." in name for name in unmatched(deep))

    job = {
        "1": {"inputs": {"lora_name": deep, "strength_model": 1.0}},
        "2": {"inputs": {"model": ["1", 0]}},
    }
    hidden = SimpleNamespace(prompt=job, unique_id="2")
    with pytest.raises(ValueError, match="4 weights of the LoRA 'deep.safetensors'"):
        host.check_model(wan, "Node", hidden)
    assert set(LocalityPreservingPatch.INPUT_TYPES()["hidden"]) == {"prompt", "unique_id"}

    wide = stock.lora().load_lora_model_only(wan, lora_file("w.safetensors", width=256), 1.0)[0]
    with pytest.raises(ValueError, match="256 x 256 values.*trained for another model size"):
        nodes.LocalityPreservingPatch(wide, plan)


def test_a_lora_on_packed_weights_is_held_to_their_real_shape(
    nodes, stock, load, plan, lora_file, monkeypatch
):
    """Quantized files (GGUF, NVFP4) have weights of another shape in their state dict."""
    model = load()
    for block in model.model.diffusion_model.blocks:
        for module in (block.self_attn.q, block.self_attn.k):
            state = {"weight": torch.zeros(128, 68, dtype=torch.uint8), "bias": module.bias}

            def packed(to, prefix, keep_vars, state=state):
                to.update({prefix + name: value for name, value in state.items()})

            monkeypatch.setattr(module, "_save_to_state_dict", packed)
    weight = "diffusion_model.blocks.0.self_attn.q.weight"
    assert model.model.state_dict()[weight].shape == (128, 68)
    fits = stock.lora().load_lora_model_only(model, lora_file("packed.safetensors"), 1.0)[0]
    assert weight in fits.patches
    nodes.LocalityPreservingPatch(fits, plan)
    name = lora_file("packed_w.safetensors", width=256)
    wide = stock.lora().load_lora_model_only(model, name, 1.0)[0]
    with pytest.raises(ValueError, match="256 x 256 values.*which holds 128 x 128"):
        nodes.LocalityPreservingPatch(wide, plan)


def test_a_lora_of_another_plan_is_named_in_the_log(
    nodes, wan, plan, pack, lora_file, tmp_path, caplog
):
    import folder_paths
    from atlasvid_pack.atlasvid_core.lora_metadata import LoraFacts, to_header
    from atlasvid_pack.nodes import host
    from safetensors.torch import load_file, save_file

    plain = lora_file("plain.safetensors")
    path = folder_paths.get_full_path("loras", plain)
    facts = LoraFacts(
        "guide", "detail", "base", (2.0, 2.0), (32, 32), (32, 32), (5, 9),
        cube=tuple(plan.cube_tok), reach="all", alignment=plan.alignment, ratio=(2.0, 2.0),
    )  # fmt: skip
    trained = path.replace("plain", "trained")
    save_file(load_file(path), trained, metadata=to_header(facts))
    folder_paths.filename_list_cache.pop("loras", None)

    def said(name, node):
        job = {
            "1": {"inputs": {"lora_name": name, "strength_model": 1.0}},
            "2": {"inputs": {"model": ["1", 0]}},
        }
        caplog.clear()
        host.check_model(wan, node, SimpleNamespace(prompt=job, unique_id="2"), plan)
        return [record.getMessage() for record in caplog.records]

    assert said(plain, "LocalityPreservingPatch") == []
    (only,) = said("trained.safetensors", "LocalityPreservingPatch")
    assert "'trained.safetensors'" in only and "reach is faces, it was trained with all" in only
    (only,) = said("trained.safetensors", "ScaledRoPEAligner")
    assert "belongs on the model of LocalityPreservingPatch" in only
    assert said("trained.safetensors", "DetailJointSampler") == []


def test_noise_without_a_lora_is_named_in_the_log(nodes, stock, wan, plan, lora_file, caplog):
    lora = stock.lora().load_lora_model_only(wan, lora_file("noise.safetensors"), 0.5)[0]
    for model, warned in ((wan, True), (lora, False)):
        caplog.clear()
        patched = nodes.LocalityPreservingPatch(model, plan)
        nodes.DetailJointSampler(
            patched, plan, prompt(1), **EULER, start="noise", denoise=1.0, keep_steps=False
        )
        assert ("no LoRA is loaded" in caplog.text) == warned
