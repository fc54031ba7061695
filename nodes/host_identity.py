"""What tells one job's result from another's: weights, patches, versions, the device."""

from __future__ import annotations

from collections.abc import Iterator

import comfyui_version
import torch
from comfy_api.torch_helpers.torch_compile import COMPILE_KEY

from .detail import KEY
from .fingerprint import fingerprint, model_parts, of_weights

RESULTS = "2"  # raised when the same job gives other bytes than it did before


def model_fingerprint(model) -> str:
    """A name for a MODEL's weights, LoRAs and whatever else was put on it."""
    put_on = list(_put_on(model))
    types = (str(model.model.manual_cast_dtype), str(model.model.get_dtype()))
    return fingerprint(*model_parts(model), put_on, *types)


def wrapped_by(model) -> list[str]:
    """Names of what other nodes have put around the sampling of a MODEL: EasyCache and its like
    remember things from step to step. Compiled networks do not."""
    names = [key or place for place, key, _ in _put_on(model) if key != COMPILE_KEY]
    if "model_function_wrapper" in model.model_options:
        names.append("model_function_wrapper")
    return sorted(set(names))


def _put_on(model) -> Iterator[list]:
    """-> place, key, functions of each wrapper but ours, for which see Detail.identity."""
    options = model.model_options.get("transformer_options", {})
    for wrappers in (model.wrappers, options.get("wrappers", {})):
        for place, by_key in wrappers.items():
            for key, functions in by_key.items():
                if key != KEY and functions:
                    yield [str(place), key, functions]


def vae_fingerprint(vae) -> str | None:
    return None if vae is None else of_weights(dict(vae.first_stage_model.named_parameters()))


def versions(model) -> list[str]:
    """What makes the bytes of a result beside its inputs."""
    device = model.load_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return [RESULTS, comfyui_version.__version__, torch.__version__, name]
