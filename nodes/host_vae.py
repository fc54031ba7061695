"""Where the VAE of ComfyUI is touched: loaded, checked, cut to what its device holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import comfy.ldm.wan.vae
import comfy.model_management as management
import folder_paths
import torch
from torch import Tensor, nn

from ..atlasvid_core import encode as encoding
from ..atlasvid_core.decode import decode_frames
from ..atlasvid_core.heap import HOLES
from ..atlasvid_core.tile_plan import plan_tiles
from ..atlasvid_core.tiles import STRIDE_PX, TilePlan
from ..atlasvid_core.units import LATENT_CHANNELS, Grid
from ..atlasvid_core.walk import parts
from . import refuse
from .host import temporary_folder
from .host_progress import phase

CPU_DECODE_BYTES = 2**28  # small tiles are quicker there, and leave memory to others


def decode_folder() -> Path:
    """Where decodes park their work. ComfyUI empties its temp folder at its start, this one not."""
    return Path(folder_paths.get_output_directory()) / "atlasvid" / "decode"


def free_bytes(vae) -> int:
    return management.get_free_memory(vae.device)


def free_host_bytes() -> int:
    return management.get_free_memory(torch.device("cpu"))


def load_vae(
    vae, samples: Tensor, node: str, tile_px: int = 0
) -> tuple[nn.Module, Tensor, TilePlan]:
    """The Wan VAE's module, loaded; `samples` where and as it takes them; how to cut the decode."""
    module, plan = _loaded(vae, samples.shape, node, tile_px)
    return module, samples.to(vae.device, vae.vae_dtype), plan


def load_to_encode(vae, lat: Grid, node: str) -> tuple[nn.Module, TilePlan]:
    """The Wan VAE's module, loaded, and how to cut the encode of a video of `lat` latents."""
    return _loaded(vae, (1, LATENT_CHANNELS, *lat), node, encodes=True)


def _loaded(
    vae, shape: Sequence[int], node: str, tile_px: int = 0, encodes: bool = False
) -> tuple[nn.Module, TilePlan]:
    module = vae.first_stage_model
    if not isinstance(module, comfy.ldm.wan.vae.WanVAE):
        raise ValueError(
            f"{node} was given a VAE of the kind {type(module).__name__}; it works with the "
            "Wan2.1 VAE only (16 channels, causal in time). Load wan_2.1_vae.safetensors with the "
            "Load VAE node."
        )
    wanted = min(
        vae.memory_used_decode(shape, vae.vae_dtype),
        management.get_total_memory(vae.device) // 2,
    )
    management.load_models_gpu([vae.patcher], memory_required=wanted)
    free = free_bytes(vae)
    plan = plan_tiles(
        module, (shape[-2], shape[-1]), decode_budget_bytes(vae.device, free),
        vae.vae_dtype.itemsize, tile_px // STRIDE_PX, encodes,
    )  # fmt: skip
    needed = plan.held_bytes(vae.device.type == "cpu")
    refuse.check_vae_room(needed, free, tile_px, node, encodes)
    return module, plan


def decode_budget_bytes(device: torch.device, free_bytes: int) -> int:
    """What the tensors of a decode, or an encode, may take of the memory of its device."""
    if device.type == "cpu":
        return min(int(free_bytes / (1 + max(HOLES.values()))), CPU_DECODE_BYTES)
    return int(0.8 * free_bytes)


def decode(module: nn.Module, latent: Tensor, plan: TilePlan) -> Tensor:
    """What `load_vae` gives -> frames [T, H, W, 3] in -1..1, all in memory."""
    progress = phase("Decoding", parts(plan, latent.shape[2]))
    with torch.no_grad():
        return decode_frames(module, latent, progress, plan, temporary_folder())[0]


def encode(vae, frames: Iterable[Tensor], lat: Grid, plan: TilePlan) -> Tensor:
    """Frames [H, W, 3], bytes or in -1..1, one after the other -> raw latents [1, 16, *lat], by a
    VAE and a plan of `load_to_encode`."""
    module = vae.first_stage_model
    like = torch.empty(0, device=vae.device, dtype=vae.vae_dtype)
    progress = phase("Encoding", encoding.parts(plan, lat.t))
    with torch.no_grad():
        if plan.order == "frames":
            latents = encoding.encode_frames(module, frames, plan, progress, like)
        else:
            folder = temporary_folder()
            latents = encoding.encode_parked(module, frames, lat.t, plan, folder, like, progress)
    return latents.to(management.intermediate_device(), torch.float32)


def free_image_bytes(vae) -> int:
    """What an IMAGE of this VAE may take where it will lie."""
    return management.get_free_memory(vae.output_device)


def empty_image(vae, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, device=vae.output_device)


def to_image(vae, pixels_T3HW: Tensor) -> Tensor:
    """Decoded pixels in -1..1 -> IMAGE [T, H, W, 3] in 0..1."""
    return vae.process_output(pixels_T3HW.to(vae.output_device).float()).movedim(1, -1)
