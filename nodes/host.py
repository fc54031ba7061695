"""Where ComfyUI's internals are touched: models, sampling, loading, LoRA files, VAE.

Everything but this file and its kin (host_*.py) sees tensors, plain values and their functions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import comfy.k_diffusion.sampling
import comfy.ldm.wan.model
import comfy.lora
import comfy.lora_convert
import comfy.model_management as management
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.utils
import folder_paths
import torch
from comfy import cli_args
from comfy.patcher_extension import WrappersMP
from safetensors import safe_open
from torch import Tensor, nn

from . import loras, refuse
from .detail import KEY, ON_PART, Detail
from .host_progress import each_block, sampling
from .kept_steps import Kept, KeptSteps, resumable
from .refuse_patches import check_object_patches

SAMPLERS = comfy.samplers.KSampler.SAMPLERS
SCHEDULERS = comfy.samplers.KSampler.SCHEDULERS
TINY_FILES = Path(__file__).parent.parent / "atlasvid_core" / "tiny" / "files"


def register_tiny_files() -> None:
    """Let the host's own loaders list AtlasVid-Tiny's files. Its words are for TinyPrompt alone: no
    loader could read them."""
    for folder in ("diffusion_models", "loras", "vae"):
        folder_paths.add_model_folder_path(folder, str(TINY_FILES / folder))


# Models


def facts(model) -> refuse.ModelFacts:
    """What refusing needs to know of a MODEL; any model, of any kind."""
    network = getattr(model.model, "diffusion_model", None)
    kind = type(model.model).__name__
    if type(network) is not comfy.ldm.wan.model.WanModel:
        return refuse.ModelFacts(kind, plain_wan=False)
    return refuse.ModelFacts(
        kind,
        plain_wan=True,
        in_channels=network.patch_embedding.in_channels,
        out_channels=network.out_dim,
        layers=len(network.blocks),
        heads=network.num_heads,
        width=network.dim,
        ffn_width=network.blocks[0].ffn[0].out_features,
        element_bytes=(model.model.manual_cast_dtype or model.model.get_dtype()).itemsize,
        reference_conv=network.ref_conv is not None,
    )


def check_model(model, node: str, hidden=None, plan=None, stage: int = 2) -> refuse.ModelFacts:
    """Refuse a MODEL that `node` can't honour; `hidden` (of the node) leads to its LoRA files.

    With `plan`, the log says where it differs from what these LoRAs were trained for. `stage` 1 is
    the host's own forward and honours more.
    """
    found = facts(model)
    refuse.check_model(found, node)
    refuse.check_options(model.model_options, node, stage)
    if stage == 2:
        check_object_patches(model.object_patches, node)
    loras.check_loras(
        getattr(hidden, "prompt", None),
        getattr(hidden, "unique_id", None),
        lambda name: lora_unmatched(model, folder_paths.get_full_path_or_raise("loras", name)),
        node,
    )
    check_lora_shapes(model, node)
    job = (getattr(hidden, "prompt", None), getattr(hidden, "unique_id", None))
    for warning in loras.warnings(*job, lora_header, plan, node) if plan else ():
        logging.warning(warning)
    return found


def has_loras(model) -> bool:
    """Whether any weight of a MODEL is changed by what was loaded on it."""
    return bool(model.patches)


def with_shift(model, shift: float):
    """A clone whose noise schedule has this shift (as ModelSamplingSD3); 0 leaves it alone."""
    if shift == 0:
        return model

    class Shifted(comfy.model_sampling.ModelSamplingDiscreteFlow, comfy.model_sampling.CONST):
        pass

    sampling = Shifted(model.model.model_config)
    sampling.set_parameters(shift=shift, multiplier=1000)
    clone = model.clone()
    clone.add_object_patch("model_sampling", sampling)
    return clone


def with_time_scale(model, r_t: float):
    """A clone whose temporal RoPE coordinates are multiplied by `r_t` (paper: stage 1)."""
    clone = model.clone()
    clone.set_model_rope_options(1.0, 0.0, 1.0, 0.0, scale_t=float(r_t), shift_t=0.0)
    return clone


def load_network(model, latent_shape) -> nn.Module:
    """Bring the MODEL with its LoRAs onto its device; returns the bare network."""
    management.load_models_gpu([model], memory_required=model.memory_required(latent_shape))
    return model.model.diffusion_model


def network_input(model, samples: Tensor) -> Tensor:
    """Raw VAE latent [1, 16, t, h, w] -> what the network reads, on its device, in its dtype.

    An image-to-video network gets the channels that the host fills in when no image is given.
    """
    latent = model.model.process_latent_in(samples.to(model.load_device, torch.float32))
    image = model.model.concat_cond(noise=latent, device=latent.device)
    if image is not None:
        latent = torch.cat((latent, image), dim=1)
    return latent.to(model.model.manual_cast_dtype or model.model.get_dtype())


def cast(param: Tensor, like: Tensor) -> Tensor:
    """A raw parameter (Wan's `modulation`), wherever and however the host stores it."""
    return management.cast_to(param, dtype=like.dtype, device=like.device)


def auto_budget_bytes() -> int:
    """What a forward may take where the user names no figure: 60 % of the device's memory."""
    return int(0.6 * management.get_total_memory(management.get_torch_device()))


def pins_memory() -> bool:
    """Whether host memory may be pinned: --disable-pinned-memory says no."""
    return not cli_args.args.disable_pinned_memory


def empty_latent(shape) -> Tensor:
    return torch.zeros(shape, device=management.intermediate_device())


def to_output(latent: Tensor) -> Tensor:
    return latent.to(management.intermediate_device())


def temporary_folder() -> Path:
    """ComfyUI's temp folder: scratch files, and videos that a node downstream saves."""
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


# The patch


def patch(model, detail: Detail):
    """A clone of the MODEL that denoises with `detail`. The MODEL itself stays as it is."""
    clone = model.clone()
    clone.set_attachments(KEY, detail)
    for place, wrapper in (
        (WrappersMP.DIFFUSION_MODEL, _forward_wrapper(detail)),
        (WrappersMP.PREPARE_SAMPLING, _prepare_wrapper(detail)),
        (WrappersMP.OUTER_SAMPLE, _job_wrapper(detail)),
    ):
        clone.add_wrapper_with_key(place, KEY, wrapper)
    return clone


def detail_of(model) -> Detail | None:
    return model.get_attachment(KEY)


def _forward_wrapper(detail: Detail):
    def wrapper(executor, *args, **kwargs):
        network = executor.class_obj
        # Replace the innermost call, so that wrappers put on after ours (EasyCache) still run.
        executor.original = lambda *a, **k: detail.forward(network, *a, **k)
        return executor(*args, **kwargs)

    return wrapper


def _prepare_wrapper(detail: Detail):
    def wrapper(executor, model, noise_shape, conds, *args, **kwargs):
        options = kwargs.get("model_options") or (args[0] if args else None) or {}
        detail.check_sampling(noise_shape, conds, options, model.object_patches)
        shape = detail.live_shape(noise_shape, model.memory_required)
        return executor(model, shape, conds, *args, **kwargs)

    return wrapper


def _job_wrapper(detail: Detail):
    def wrapper(executor, noise, latent_image, *args, **kwargs):
        refuse.check_finite(latent_image, "The latent to denoise")
        try:
            detail.begin()
            return executor(noise, latent_image, *args, **kwargs)
        finally:
            detail.end()

    return wrapper


# Sampling


def sample(
    model, samples: Tensor, positive, negative, *, seed: int, steps: int, cfg: float,
    sampler_name: str, scheduler: str, denoise: float = 1.0,
) -> Tensor:  # fmt: skip
    """The stock KSampler's way from `samples` (zeros: an empty latent) to the denoised latent."""
    samples = comfy.sample.fix_empty_latent_channels(model, samples)
    model, callback = _watched(model, steps)
    return comfy.sample.sample(
        model, comfy.sample.prepare_noise(samples, seed), steps, cfg, sampler_name, scheduler,
        positive, negative, samples, denoise=denoise, seed=seed, callback=callback,
        disable_pbar=not comfy.utils.PROGRESS_BAR_ENABLED,
    )  # fmt: skip


def sample_resumable(
    model, samples: Tensor, positive, negative, kept: KeptSteps, found: Kept | None, *, seed: int,
    steps: int, cfg: float, scheduler: str, denoise: float = 1.0,
) -> Tensor:  # fmt: skip
    """`sample` of a patched MODEL with Euler, byte for byte; every step is kept.

    It goes on after the steps that were `found`, if any; then nothing of `samples` but its size
    counts.
    """
    detail = detail_of(model)
    assert detail is not None
    if found is not None:
        detail.take_up(found.notes)
    samples = comfy.sample.fix_empty_latent_channels(model, samples)
    schedule = comfy.samplers.KSampler(
        model, steps, model.load_device, "euler", scheduler, denoise, model.model_options
    )
    model, callback = _watched(model, steps)
    euler = resumable(
        comfy.k_diffusion.sampling.sample_euler, kept, found, detail.notes,
        comfy.utils.PROGRESS_BAR_ENABLED,
    )  # fmt: skip
    return comfy.sample.sample_custom(
        model, comfy.sample.prepare_noise(samples, seed), cfg, comfy.samplers.KSAMPLER(euler),
        schedule.sigmas, positive, negative, samples, callback=callback, disable_pbar=True,
        seed=seed,
    )  # fmt: skip


def _watched(model, steps: int) -> tuple[Any, Callable]:
    """-> a clone of the MODEL that tells its way through a step, and the sampler's callback."""
    told, callback = sampling(model, "Denoising", steps)
    clone = model.clone()
    if detail_of(model) is None:
        clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, KEY, each_block(told.inside))
    else:
        options = clone.model_options.setdefault("transformer_options", {})
        options[ON_PART] = lambda done, total: told.inside(done, total)  # copied as it is
    return clone, callback


def steps_folder() -> Path:
    return Path(folder_paths.get_output_directory()) / "atlasvid" / "steps"


# LoRA files


def lora_unmatched(model, path) -> list[str]:
    """Names in a LoRA file that fit no weight of this MODEL (the stock loader skips them)."""
    lora = comfy.lora_convert.convert_lora(comfy.utils.load_torch_file(str(path), safe_load=True))
    known = comfy.lora.model_lora_keys_unet(model.model, {})
    return loras.unmatched(lora, known)


def lora_header(name: str) -> Mapping[str, str] | None:
    """The metadata of a LoRA file; None where its format holds none."""
    path = folder_paths.get_full_path_or_raise("loras", name)
    if not path.lower().endswith((".safetensors", ".sft")):
        return None
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def check_lora_shapes(model, node: str) -> None:
    """Refuse LoRA weights of another size, which the host skips with a log line only."""
    for name, patches in model.patches.items():
        for _, adapter, _, offset, *_ in patches:
            if getattr(adapter, "name", "") == "lora" and offset is None:
                # of the module's own: a state dict has quantized weights (GGUF, NVFP4) packed
                shape = comfy.utils.get_attr(model.model, name).shape
                loras.check_fit(name, shape, adapter.weights, node)
