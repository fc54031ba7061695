"""A text encoder file of the smallest kind that the host knows: CLIP-L, random weights, 246 MB."""

from pathlib import Path

import torch
from safetensors.torch import save_file

SIDE, INNER, LAYERS, WORDS, TOKENS = 768, 3072, 12, 49408, 77


def write_clip_l(path: Path) -> None:
    torch.manual_seed(0)
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.token_embedding": (WORDS, SIDE), "embeddings.position_embedding": (TOKENS, SIDE)
    }  # fmt: skip
    for layer in (f"encoder.layers.{i}" for i in range(LAYERS)):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{layer}.self_attn.{name}"] = (SIDE, SIDE)
        shapes[f"{layer}.mlp.fc1"], shapes[f"{layer}.mlp.fc2"] = (INNER, SIDE), (SIDE, INNER)
        shapes[f"{layer}.layer_norm1"] = shapes[f"{layer}.layer_norm2"] = (SIDE,)
    shapes["final_layer_norm"] = (SIDE,)
    weights = {}
    for name, shape in shapes.items():
        weight = torch.ones(shape) if len(shape) == 1 else torch.empty(shape).normal_(0, 0.02)
        weights[f"text_model.{name}.weight"] = weight.half()
        if "embedding" not in name:
            weights[f"text_model.{name}.bias"] = torch.zeros(shape[0]).half()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)
