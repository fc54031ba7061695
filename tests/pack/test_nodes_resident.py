"""Weights and LoRA patches of a layer, made ready once for all parts of all slabs."""

from dataclasses import replace

import pytest
import torch

from .common import SIZES, guide_of

CPU = torch.device("cpu")


@pytest.fixture
def counted(host, monkeypatch):
    """Names of the weights that LoRA patches were worked into, one for each time."""
    import comfy.lora

    calculate, seen = comfy.lora.calculate_weight, []

    def noted(patches, weight, key, *args, **options):
        seen.append(key)
        return calculate(patches, weight, key, *args, **options)

    monkeypatch.setattr(comfy.lora, "calculate_weight", noted)
    return seen


def test_a_lora_left_to_the_host_is_worked_in_once_a_layer(
    pack, nodes, stock, load, lora_file, counted, monkeypatch
):
    from atlasvid_pack.atlasvid_core.budget import ChunkPlan
    from atlasvid_pack.atlasvid_core.wan.calls import not_resident
    from atlasvid_pack.nodes import detail as detail_module

    plain = load()
    plan = nodes.Plan(**SIZES)
    guide = guide_of(nodes, plain, plan)
    model = stock.lora().load_lora_model_only(plain, lora_file("offloaded.safetensors"), 1.0)[0]
    patched = nodes.LocalityPreservingPatch(model, plan, guide)
    detail = replace(patched.get_attachment("atlasvid"), chunks=ChunkPlan(1, 8), rungs=[])
    x, text = torch.randn(1, 16, *plan.target_lat), torch.randn(1, 6, 4096)

    def forward():
        with torch.no_grad():
            return detail.forward(patched.model.diffusion_model, x, torch.tensor([500.0]), text)

    names = [f"diffusion_model.blocks.{i}.self_attn.{m}.weight" for i in (0, 1) for m in "qk"]
    patched.patch_model(CPU, lowvram_model_memory=1)
    with monkeypatch.context() as without:
        without.setattr(detail_module, "resident", not_resident)
        want = forward()  # as the host alone would: patches at every call
    assert len(counted) > 4 * len(names)
    counted.clear()
    got = forward()
    assert sorted(counted) == sorted(names)
    assert torch.equal(got, want)
    assert torch.equal(forward(), got)
    assert len(counted) == 2 * len(names)  # nothing is kept from step to step
    patched.unpatch_model(CPU)


def test_weights_come_to_the_device_and_go_back_whatever_happens(pack, load):
    from atlasvid_pack.nodes.resident import resident

    block = load().model.diffusion_model.blocks[0]
    before = dict(block.named_parameters())
    with resident(block, torch.device("meta")):
        assert {p.device.type for p in block.parameters()} == {"meta"}
        assert all(p.dtype == before[name].dtype for name, p in block.named_parameters())
    with pytest.raises(RuntimeError), resident(block, torch.device("meta")):
        raise RuntimeError("cancelled")
    after = dict(block.named_parameters())
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)


def test_weights_on_the_device_are_not_copied(pack, load):
    from atlasvid_pack.nodes.resident import resident

    block = load().model.diffusion_model.blocks[0]
    before = dict(block.named_parameters())
    with resident(block, CPU):
        assert all(p is before[name] for name, p in block.named_parameters())
