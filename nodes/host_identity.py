"""What tells one job's result from another's: weights, patches, versions, the device."""

from __future__ import annotations

import comfyui_version
import torch

from .detail import KEY
from .fingerprint import fingerprint, model_parts, of_weights

RESULTS = "2"  # raised when the same job gives other bytes than it did before


def model_fingerprint(model) -> str:
    """A name for a MODEL's weights, LoRAs and whatever else was put on it."""
    put_on = [
        [str(place), key, functions]
        for place, by_key in model.wrappers.items()
        for key, functions in by_key.items()
        if key != KEY  # ours; see Detail.identity
    ]
    types = (str(model.model.manual_cast_dtype), str(model.model.get_dtype()))
    return fingerprint(*model_parts(model), put_on, *types)


def vae_fingerprint(vae) -> str | None:
    return None if vae is None else of_weights(dict(vae.first_stage_model.named_parameters()))


def versions(model) -> list[str]:
    """What makes the bytes of a result beside its inputs."""
    device = model.load_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return [RESULTS, comfyui_version.__version__, torch.__version__, name]
