"""A LoRA worked into the weights of a DiT, for work without a host or peft.

Files are those of the trainer: `diffusion_model.NAME.lora_A.weight` [R, in], `.lora_B.weight`
[out, R] and `NAME.alpha`; R is the rank.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

PREFIX = "diffusion_model."


@torch.no_grad()
def merge_lora(model: nn.Module, path: str | Path) -> None:
    """W += alpha / rank * B A for every layer that the file names, in place.

    Raises ValueError where a layer or its size is not the model's; then nothing is changed.
    """
    changes = dict(lora_changes(load_file(path), path))
    known = {name: m for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    for name, change in changes.items():
        if name not in known or known[name].weight.shape != change.shape:
            raise ValueError(
                f"{path} changes {name} of {list(change.shape)} values, which this model does not "
                "have: the LoRA belongs to another model. Give one that was trained for it."
            )
    for name, change in changes.items():
        weight = known[name].weight
        weight += change.to(weight)


def lora_changes(tensors: dict[str, Tensor], path: str | Path) -> Iterator[tuple[str, Tensor]]:
    """-> pairs of a layer's name and what is added to its weight, float32 [out, in]."""
    end = ".lora_A.weight"
    layers = [name.removesuffix(end) for name in tensors if name.endswith(end)]
    if not layers:
        raise ValueError(
            f"{path} is no LoRA: it has no {end[1:]}. Give one that the trainer saved."
        )
    for layer in layers:
        down, up = tensors[layer + end].float(), tensors[f"{layer}.lora_B.weight"].float()
        rank = down.shape[0]
        alpha = float(tensors.get(f"{layer}.alpha", torch.tensor(float(rank))))
        yield layer.removeprefix(PREFIX), alpha / rank * up @ down
