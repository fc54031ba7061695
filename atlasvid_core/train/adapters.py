"""peft's adapters on a Wan DiT: which weights get one, and which is active in which layer.

Two LoRAs share one base (paper section 3.3): `proxy` on all that proxy tokens pass through,
`detail` on q, k, v of self-attention. A block is switched for the time of its work, inside the
function that gradient checkpointing runs again, so that a recomputation sees the same adapter.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from ..lora_metadata import from_header
from ..wan.dit import WanDiT
from .config import AttentionConfig

ROLES = ("stage1", "proxy", "detail")
QKV = ("self_attn.q", "self_attn.k", "self_attn.v")
FFN = ("ffn.0", "ffn.2")
PROXY = (*QKV, "self_attn.o", *FFN)
STAGE1 = (*PROXY, "cross_attn.q", "cross_attn.k", "cross_attn.v", "cross_attn.o")
PREFIX = "diffusion_model."


def modules_of(role: str, layers: int) -> list[str]:
    """Names of the linear layers that carry this role's LoRA.

    Of the proxy's last layer only keys and values are ever read, so q, o and the FFN are left out.
    """
    parts = {"stage1": STAGE1, "proxy": PROXY, "detail": QKV}[role]
    names = [f"blocks.{number}.{part}" for number in range(layers) for part in parts]
    if role == "proxy":
        last = f"blocks.{layers - 1}."
        names = [n for n in names if not n.startswith(last) or n.endswith((".k", ".v"))]
    return names


def inject(model: WanDiT, role: str, names: list[str], rank: int, alpha: int) -> list[Tensor]:
    """Put a LoRA on the named layers (B zero: nothing changes yet); returns its parameters.

    They are float32 whatever the base is. All other parameters keep their `requires_grad`.
    """
    from peft import LoraConfig, inject_adapter_in_model

    before = {name: p.requires_grad for name, p in model.named_parameters()}
    lora = LoraConfig(r=rank, lora_alpha=alpha, target_modules=names, init_lora_weights=True)
    with warnings.catch_warnings():  # two adapters on one model are what we want
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        inject_adapter_in_model(lora, model, adapter_name=role)
    for name, p in model.named_parameters():
        plain = name.replace(".base_layer.", ".")
        p.requires_grad_(before.get(name, before.get(plain, False)))
    added = lora_weights(model, role)
    for p in added.values():
        p.data = p.data.float()
        p.requires_grad_(True)
    return list(added.values())


def lora_weights(model: nn.Module, role: str) -> dict[str, nn.Parameter]:
    """The LoRA's parameters under the names of the file: `blocks.0.self_attn.q.lora_A.weight`."""
    end = f".{role}.weight"
    return {
        name.replace(end, ".weight"): p
        for name, p in model.named_parameters()
        if name.endswith((f".lora_A{end}", f".lora_B{end}"))
    }


def check_lora(path: str, role: str, attention: AttentionConfig) -> None:
    """ValueError where a LoRA says of itself that it has another role, or saw other attention."""
    with safe_open(path, "pt") as file:
        facts = from_header(file.metadata())
    if facts is None:
        return
    if facts.role != role:
        raise ValueError(
            f"setting base.{role}_lora is {path!r}, which is the {facts.role} LoRA: set it to the "
            f"{role} LoRA that stage guide saved."
        )
    for name in ("cube", "reach", "alignment"):
        trained, now = getattr(facts, name), getattr(attention, name)
        if trained not in (None, now):
            raise ValueError(
                f"setting attention.{name} is {now!r}, {path} was trained with {trained!r}: set it "
                "to that, or take LoRAs that were trained with this."
            )


def load_lora(model: WanDiT, role: str, path: str) -> None:
    """Put a LoRA that was saved here on the model, frozen. ValueError where it does not fit."""
    saved = {name.removeprefix(PREFIX): tensor for name, tensor in load_file(path).items()}
    downs = [name for name in saved if name.endswith(".lora_A.weight")]
    known = dict(model.named_modules())
    modules = [name.removesuffix(".lora_A.weight") for name in downs]
    if not modules or any(name not in known for name in modules):
        raise ValueError(f"{path} is no LoRA for this model: its layers have other names.")
    rank, alpha = saved[downs[0]].shape[0], saved.get(f"{modules[0]}.alpha")
    inject(model, role, modules, rank, rank if alpha is None else int(alpha))
    for name, p in lora_weights(model, role).items():
        if saved[name].shape != p.shape:
            raise ValueError(
                f"{path} holds {list(saved[name].shape)} values for {name}, the model takes "
                f"{list(p.shape)}: the LoRA belongs to another model size."
            )
        p.data.copy_(saved[name])
        p.requires_grad_(False)


class Switch:
    """Which adapter, and which FFN, is active in a block. One role at a time."""

    def __init__(self, model: WanDiT, detail_ffn: nn.ModuleList | None = None) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer

        self.blocks, self.detail_ffn = model.blocks, detail_ffn
        self.layers = [
            [m for m in block.modules() if isinstance(m, BaseTunerLayer)] for block in model.blocks
        ]
        self.flags = [[(p, p.requires_grad) for p in block.parameters()] for block in model.blocks]

    @contextmanager
    def on(self, number: int, role: str) -> Iterator[None]:
        """Block `number` as the tokens of this role see it."""
        for layer in self.layers[number]:
            layer.set_adapter(role)
        for p, flag in self.flags[number]:  # peft freezes what it makes inactive
            p.requires_grad_(flag)
        block = self.blocks[number]
        plain = block.ffn
        if role == "detail" and self.detail_ffn is not None:
            block.ffn = self.detail_ffn[number]
        try:
            yield
        finally:
            block.ffn = plain


def unwrapped(module: nn.Module) -> nn.Module:
    """The linear layer beneath a LoRA."""
    return getattr(module, "base_layer", module)
