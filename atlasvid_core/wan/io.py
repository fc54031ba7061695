"""Read Wan2.1 files: sizes are read off the weights, as the host does."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from .dit import WanConfig, WanDiT
from .vae import WanVAE


def dit_config(weights: dict[str, Tensor]) -> WanConfig:
    """Sizes of a DiT from its weights; ValueError when the file is no Wan2.1 DiT."""
    if "head.modulation" not in weights or "blocks.0.ffn.0.weight" not in weights:
        raise ValueError(
            "This file is no Wan2.1 diffusion model: it has no head.modulation and "
            "blocks.0.ffn.0.weight. Give a Wan2.1 T2V or I2V file."
        )
    layers = {int(m[1]) for name in weights if (m := re.match(r"blocks\.(\d+)\.", name))}
    return WanConfig(
        width=weights["head.modulation"].shape[-1],
        ffn_width=weights["blocks.0.ffn.0.weight"].shape[0],
        layers=len(layers),
        in_channels=weights["patch_embedding.weight"].shape[1],
        out_channels=weights["head.head.weight"].shape[0] // 4,
        image="img_emb.proj.1.weight" in weights,
    )


def load_dit(
    path: str | Path, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
) -> WanDiT:
    """Each tensor goes from the file to the device by itself: memory is that of the model.

    The patch embedding stays float32, as the host keeps it, whatever the rest is.
    """
    weights = {}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118  # a file, no dict
            kept = torch.float32 if name.startswith("patch_embedding.") else dtype
            weights[name] = file.get_tensor(name).to(device, kept, copy=True)
    with torch.device("meta"):
        model = WanDiT(dit_config(weights))
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(False)


def load_vae(path: str | Path, dtype: torch.dtype = torch.float32) -> WanVAE:
    weights = load_file(path)
    if "decoder.head.0.gamma" not in weights or weights["conv2.weight"].shape[0] != 16:
        raise ValueError(
            "This file is no Wan2.1 VAE: it has no decoder.head.0.gamma with 16 latent channels. "
            "Give wan_2.1_vae.safetensors or a VAE of that form."
        )
    model = WanVAE(dim=weights["decoder.head.0.gamma"].shape[0])
    model.load_state_dict(weights)
    return model.to(dtype).eval().requires_grad_(False)
