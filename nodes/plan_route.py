"""What the panel of VideoPlan asks and is answered: JSON values in, JSON values out.

{"inputs": {VideoPlan's, by name}, "job": {...}} -> `plan_report.report`, and which model it is for.
A request that can't be served gets {"error": why}: it is shown, not raised.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from ..atlasvid_core.cost import parameters
from ..atlasvid_core.cost_table import MODELS
from ..atlasvid_core.estimate import PIXEL_BITS, Job, Machine
from ..atlasvid_core.plan_report import report
from ..atlasvid_core.vae_cost import VAE_DIM
from ..atlasvid_core.wan.dit import WanConfig
from ..atlasvid_core.wan.io import dit_config
from .kept_guide import DTYPES

Header = Callable[[str, str], Mapping[str, tuple[tuple[int, ...], str]] | None]
FileBytes = Callable[[str, str], int | None]
GIB = 2**30
FOLDER = "diffusion_models"
LABELS = {"1.3b": "Wan2.1 1.3B", "14b": "Wan2.1 14B", "tiny": "AtlasVid-Tiny"}
IN_NAMES = (("14b", r"14\s*b"), ("1.3b", r"1[._]3\s*b"), ("tiny", r"atlasvid_tiny"))


@dataclass(frozen=True)
class Model:
    """The model that figures are for. `source`: file, name (of a file), chosen, unknown (a file
    that is not here or no Wan2.1, and no size in its name), default (no file at all)."""

    config: WanConfig
    label: str
    source: str
    weight_bytes: float = 0


def answer(body: Any, machine: Machine, header: Header, file_bytes: FileBytes) -> dict[str, Any]:
    try:
        inputs, asked = body["inputs"], body.get("job") or {}
        model = model_of(asked, machine, header, file_bytes)
        found = report(inputs, job_of(asked, model, machine, header), machine)
    except ValueError as error:
        return {"error": str(error)}
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        return {"error": f"This is no request of VideoPlan: {type(error).__name__}: {error}"}
    return {**found, "model": {"label": model.label, "source": model.source}}


def model_of(
    asked: Mapping[str, Any], machine: Machine, header: Header, file_bytes: FileBytes
) -> Model:
    """By choice, else by the file that the workflow loads, else by that file's name."""
    name, chosen = str(asked.get("model_file") or ""), asked.get("model") or "auto"
    weights = (header(FOLDER, name) if name else None) or {}
    named = next((key for key, p in IN_NAMES if re.search(p, name, re.IGNORECASE)), None)
    if chosen != "auto":
        if chosen not in MODELS:
            raise ValueError(f"model {chosen!r} is unknown: choose auto, {', '.join(MODELS)}.")
        model = Model(MODELS[chosen], LABELS[chosen], "chosen")
    elif "head.modulation" in weights:
        config = dit_config({k: SimpleNamespace(shape=shape) for k, (shape, _) in weights.items()})
        known = {config_: LABELS[key] for key, config_ in MODELS.items()}
        size = f"Wan, {config.width} wide, {config.layers} layers"
        model = Model(config, known.get(_plain(config), size), "file")
    elif named:
        model = Model(MODELS[named], LABELS[named], "name")
    else:
        model = Model(MODELS["1.3b"], LABELS["1.3b"], "unknown" if name else "default")
    size_bytes = file_bytes(FOLDER, name) if name.lower().endswith(".gguf") else None
    if size_bytes:  # kept as they lie in the file, and unpacked a layer at a time
        its = MODELS[named] if named else model.config
        return replace(model, weight_bytes=size_bytes / parameters(its))
    fp8 = _in_fp8(name, weights, str(asked.get("weight_dtype") or ""))
    return replace(model, weight_bytes=1 if fp8 else machine.value_bytes)


def _in_fp8(name: str, weights: Mapping[str, Any], weight_dtype: str) -> bool:
    """By the loader, else by the file, else by its name."""
    if weight_dtype.startswith("fp8"):
        return True
    if "blocks.0.ffn.0.weight" in weights:
        return weights["blocks.0.ffn.0.weight"][1].startswith("F8")
    return "fp8" in name.lower()


def _plain(config: WanConfig) -> WanConfig:
    """Its text-to-video twin."""
    return WanConfig(config.width, config.ffn_width, config.layers)


def job_of(asked: Mapping[str, Any], model: Model, machine: Machine, header: Header) -> Job:
    """What the workflow says of a job; what it leaves out has the nodes' defaults."""
    default = Job()
    dtype = DTYPES.get(str(asked.get("guide_dtype") or "auto"))
    codec = asked.get("codec")
    return Job(
        config=model.config,
        weight_bytes=model.weight_bytes,
        vae_dim=_vae_dim(str(asked.get("vae_file") or ""), header),
        proxy_steps=_steps(asked, "proxy_steps", default.proxy_steps),
        stage1_lora=bool(asked.get("stage1_lora", True)),
        detail_steps=_steps(asked, "detail_steps", default.detail_steps),
        reads_video=bool(asked.get("reads_video")),
        enlarges=bool(asked.get("enlarges")),
        memory_budget_bytes=int(float(asked.get("memory_budget") or 0) * GIB),
        guide_bytes=dtype.itemsize if dtype else 0,
        guide_on_disk=asked.get("guide_store") == "disk",
        keep_steps=bool(asked.get("keep_steps", True)),
        images=bool(asked.get("images")),
        codec=codec if codec in PIXEL_BITS else default.codec,
        bits=10 if str(asked.get("bits")) == "10" else 8,
    )


def _steps(asked: Mapping[str, Any], name: str, default: int) -> int:
    return max(0, int(asked[name])) if asked.get(name) is not None else default


def _vae_dim(name: str, header: Header) -> int:
    weights = header("vae", name) if name else None
    gamma = (weights or {}).get("decoder.head.0.gamma")
    return gamma[0][0] if gamma else VAE_DIM
