"""Where the VAE of ComfyUI is touched: loaded, checked, cut to what its device holds."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import comfy.ldm.wan.vae
import comfy.model_management as management
import folder_paths
import torch
from torch import Tensor, nn

from ..atlasvid_core.decode import decode_frames
from ..atlasvid_core.encode import encode_frames
from ..atlasvid_core.tiles import STRIDE_PX, TilePlan, plan_tiles
from ..atlasvid_core.units import LATENT_CHANNELS, Grid
from ..atlasvid_core.walk import parts
from . import refuse
from .host import temporary_folder
from .host_progress import phase

CPU_DECODE_BYTES = 2**29  # small tiles are as quick there, and leave memory to others


def decode_folder() -> Path:
    """Where decodes park their work. ComfyUI empties its temp folder at its start, this one not."""
    return Path(folder_paths.get_output_directory()) / "atlasvid" / "decode"


def free_bytes(vae) -> int:
    return management.get_free_memory(vae.device)


def load_vae(
    vae, samples: Tensor, node: str, tile_px: int = 0
) -> tuple[nn.Module, Tensor, TilePlan]:
    """The Wan VAE's module, loaded; `samples` where and as it takes them; how to cut the decode."""
    module = vae.first_stage_model
    if not isinstance(module, comfy.ldm.wan.vae.WanVAE):
        raise ValueError(
            f"{node} was given a VAE of the kind {type(module).__name__}; it decodes with the "
            "Wan2.1 VAE only (16 channels, causal in time). Load wan_2.1_vae.safetensors with the "
            "Load VAE node."
        )
    wanted = min(
        vae.memory_used_decode(samples.shape, vae.vae_dtype),
        management.get_total_memory(vae.device) // 2,
    )
    management.load_models_gpu([vae.patcher], memory_required=wanted)
    free = free_bytes(vae)
    budget = decode_budget_bytes(vae.device, free)
    size_lat = (samples.shape[-2], samples.shape[-1])
    plan = plan_tiles(module, size_lat, budget, vae.vae_dtype.itemsize, tile_px // STRIDE_PX)
    refuse.check_decode_room(plan.peak_bytes, free, tile_px, node)
    if samples.device.type != "meta":
        samples = samples.to(vae.device, vae.vae_dtype)
    return module, samples, plan


def decode_budget_bytes(device: torch.device, free_bytes: int) -> int:
    """What a decode may take of the memory of its device."""
    return min(free_bytes // 2, CPU_DECODE_BYTES) if device.type == "cpu" else int(0.8 * free_bytes)


def decode(vae, samples: Tensor, node: str, tile_px: int = 0) -> Tensor:
    """Raw latents [1, 16, t, h, w] -> frames [T, H, W, 3] in -1..1, all in memory."""
    module, latent, plan = load_vae(vae, samples, node, tile_px)
    progress = phase("Decoding", parts(plan, latent.shape[2]))
    with torch.no_grad():
        return decode_frames(module, latent, progress, plan, temporary_folder())[0]


def encode(vae, frames: Iterable[Tensor], lat: Grid, node: str, tile_px: int = 0) -> Tensor:
    """Frames [H, W, 3] in -1..1, one after the other -> raw latents [1, 16, *lat]."""
    like = torch.empty((1, LATENT_CHANNELS, *lat), device="meta")
    module, _, plan = load_vae(vae, like, node, tile_px)
    there = (frame.to(vae.device, vae.vae_dtype) for frame in frames)
    with torch.no_grad():
        latents = encode_frames(module, there, plan, phase("Encoding", lat.t))
    return latents.to(management.intermediate_device(), torch.float32)


def free_image_bytes(vae) -> int:
    """What an IMAGE of this VAE may take where it will lie."""
    return management.get_free_memory(vae.output_device)


def empty_image(vae, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, device=vae.output_device)


def to_image(vae, pixels_T3HW: Tensor) -> Tensor:
    """Decoded pixels in -1..1 -> IMAGE [T, H, W, 3] in 0..1."""
    return vae.process_output(pixels_T3HW.to(vae.output_device).float()).movedim(1, -1)
