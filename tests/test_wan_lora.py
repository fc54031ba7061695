"""A LoRA worked into the weights: the same network as with peft's adapters on it."""

import pytest
import torch
from safetensors.torch import save_file

from atlasvid_core.train.adapters import PREFIX, inject, load_lora, lora_weights, modules_of
from atlasvid_core.wan.dit import WanConfig, WanDiT
from atlasvid_core.wan.lora import merge_lora

ALPHA = 6.0  # of rank 4, so that the scale counts


def fresh() -> WanDiT:
    torch.manual_seed(0)
    return WanDiT(WanConfig(128, 256, 2)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    model, path = fresh(), tmp_path_factory.mktemp("lora") / "proxy.safetensors"
    inject(model, "proxy", modules_of("proxy", 2), rank=4, alpha=4)
    torch.manual_seed(1)
    saved = {PREFIX + n: 0.1 * torch.randn_like(p) for n, p in lora_weights(model, "proxy").items()}
    layers = {name.partition(".lora_")[0] for name in saved}
    save_file(saved | {f"{layer}.alpha": torch.tensor(ALPHA) for layer in layers}, path)
    return path


@torch.no_grad()
def test_merged_weights_are_the_adapters(file):
    adapted, merged, plain = fresh(), fresh(), fresh()
    load_lora(adapted, "proxy", str(file))
    merge_lora(merged, file)
    inputs = torch.randn(1, 16, 2, 4, 4), torch.tensor([500.0]), torch.randn(1, 3, 4096)
    want = adapted(*inputs)
    assert torch.allclose(merged(*inputs), want, atol=1e-5)
    assert not torch.allclose(plain(*inputs), want, atol=1e-2)


def test_a_lora_of_another_size_changes_nothing(file):
    torch.manual_seed(0)
    model = WanDiT(WanConfig(128, 512, 2)).requires_grad_(False)
    before = {name: p.clone() for name, p in model.named_parameters()}
    with pytest.raises(ValueError, match="another model"):
        merge_lora(model, file)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_a_file_without_a_lora_is_refused(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match="no LoRA"):
        merge_lora(fresh(), tmp_path / "a.safetensors")
