"""What keeping the guide saves: a denoising step with it against one that reads the proxy anew.

The tiny model, stage 2 of one plan. Bytes are those of the kept keys and values; the formula is
2 x layers x proxy tokens x width x 4.
"""

from __future__ import annotations

from statistics import median

import torch

from atlasvid_core.cost_table import plan_for
from atlasvid_core.guide import make_guide
from atlasvid_core.joint import detail_forward
from atlasvid_core.tiny.words import FILES, encode_prompt
from atlasvid_core.wan.io import load_dit

from .timing import interleaved

SIZE, QUICK_SIZE = (640, 384, 65), (64, 64, 9)  # px, px, frames
REPEATS, QUICK_REPEATS = 7, 1
PROMPT = "a red ball crosses right under a dusk sky"


def rows(quick: bool = False) -> list[dict]:
    plan = plan_for("tiny", *(QUICK_SIZE if quick else SIZE))
    model = load_dit(FILES / "diffusion_models" / "atlasvid_tiny.safetensors")
    noise, proxy = (torch.randn(1, 16, *lat) for lat in (plan.target_lat, plan.proxy_lat))
    timestep, text = torch.tensor([900.0]), encode_prompt(PROMPT, view="closeup")

    def read_proxy():
        return make_guide(model, proxy, plan.proxy_axes(), plan.target_tok)

    def step(guide):
        how = {"cube_tok": plan.cube_tok, "reach": plan.reach, "guide": guide}
        return detail_forward(model, noise, timestep, text, **how)

    kept = read_proxy()
    works = {
        "kept": lambda: step(kept),
        "recomputed": lambda: step(read_proxy()),
        "proxy alone": read_proxy,
    }
    runs = interleaved(works, QUICK_REPEATS if quick else REPEATS)
    shape = {
        "grid": list(plan.target_tok), "tokens": plan.target_tok.count,
        "proxy_grid": list(plan.proxy_tok), "proxy_tokens": plan.proxy_tok.count,
        "layers": model.config.layers, "width": model.config.width, "guide_bytes": kept.bytes,
    }  # fmt: skip
    return [
        {"guide": name, **shape, "seconds": median(taken), "seconds_runs": taken}
        for name, taken in runs.items()
    ]


def figures(rows: list[dict]) -> dict[str, float]:
    by = {row["guide"]: row for row in rows}
    kept = by["kept"]
    formula = 2 * kept["layers"] * kept["proxy_tokens"] * kept["width"] * 4
    return {
        "recompute_over_kept": by["recomputed"]["seconds"] / kept["seconds"],
        "bytes_over_formula": kept["guide_bytes"] / formula,
    }
