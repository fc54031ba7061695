"""What the nodes share: the category, the two socket types of ours, sampler inputs."""

from __future__ import annotations

import inspect
from typing import Any

from comfy_api.latest import io

from . import host

CATEGORY = "AtlasVid"
Plan = io.Custom("ATLASVID_PLAN")
Guide = io.Custom("ATLASVID_GUIDE")
HIDDEN = [io.Hidden.prompt, io.Hidden.unique_id]  # they lead to the LoRA files upstream
PLAN_TIP = "The plan of the VideoPlan node: use the same one for every AtlasVid node."
FPS_TIP = "Frames a second of the large video, for TiledVAEDecodeToVideo."
PROXY_FPS_TIP = (
    "Frames a second of the proxy, which has r_t times fewer: for a TiledVAEDecodeToVideo that "
    "decodes it."
)


def search(*words: str) -> dict[str, Any]:
    """For io.Schema: more words to find a node by, on hosts that know them (not 0.3.75)."""
    known = "search_aliases" in inspect.signature(io.Schema).parameters
    return {"search_aliases": ["atlasvid", *words]} if known else {}


def sampler_inputs(cfg: float, cfg_tip: str) -> list[io.Input]:
    """seed, steps, cfg, sampler, scheduler, shift: in this order on every sampling node."""
    return [
        io.Int.Input(
            "seed", default=0, min=0, max=2**64 - 1, control_after_generate=True,
            tooltip="The random seed of the noise.",
        ),
        io.Int.Input("steps", default=30, min=1, max=10000, tooltip="Number of denoising steps."),
        io.Float.Input("cfg", default=cfg, min=0.0, max=100.0, step=0.1, tooltip=cfg_tip),
        io.Combo.Input(
            "sampler_name", options=host.SAMPLERS, default="euler",
            tooltip="The solver. Wan2.1 and the paper use euler.",
        ),
        io.Combo.Input(
            "scheduler", options=host.SCHEDULERS, default="simple",
            tooltip="How the noise levels are spaced. simple is Wan2.1's own.",
        ),
        io.Float.Input(
            "shift", default=8.0, min=0.0, max=100.0, step=0.01,
            tooltip="Spends more steps at high noise (as ModelSamplingSD3). 8 suits video; "
            "0 leaves the MODEL's own.",
        ),
    ]  # fmt: skip
