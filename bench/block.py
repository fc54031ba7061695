"""One block of Wan2.1-1.3B's true width against the host's own, on the host's own module.

Random weights, float32, 512 text tokens, no guide. Both sides run a whole model of one layer, whose
patch embedding and head are 0.3 % of the host's FLOPs. The host uses PyTorch's attention; what it
takes by default on a CPU is slower. The speed-up is held against what the FLOPs predict (cost.py).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from statistics import median

import torch

from atlasvid_core.attention.layout import CubeLayout
from atlasvid_core.attention.mask import pair_count
from atlasvid_core.cost import TEXT_TOK, forward_flops
from atlasvid_core.joint import detail_forward
from atlasvid_core.units import PATCH, Grid
from atlasvid_core.wan.dit import TEXT_SIZE, WanConfig

from .timing import interleaved

CONFIG, QUICK_CONFIG = WanConfig(layers=1), WanConfig(256, 512, layers=1)
CUBE, REACH = Grid(4, 8, 8), "faces"
GRIDS = {Grid(8, 32, 64): 3, Grid(8, 64, 64): 2}  # grid -> the host's runs; ours are twice these
QUICK_GRIDS = {Grid(4, 16, 16): 1, Grid(8, 16, 16): 1}
NAMES = {16_384: "16k", 32_768: "32k"}


def rows(quick: bool = False) -> list[dict]:
    config = QUICK_CONFIG if quick else CONFIG
    model = host_model(config)
    out = []
    for grid, repeats in (QUICK_GRIDS if quick else GRIDS).items():
        print(f"{grid} tokens, {repeats} times", flush=True)
        out += _rows_of(model, config, grid, repeats)
    return out


def _rows_of(model, config: WanConfig, grid: Grid, repeats: int) -> list[dict]:
    tokens, pairs = grid.count, pair_count(CubeLayout(grid, CUBE), REACH)
    noise = torch.randn(1, 16, *(n * p for n, p in zip(grid, PATCH, strict=True)))
    timestep, text = torch.tensor([900.0]), torch.randn(1, TEXT_TOK, TEXT_SIZE)
    works = {
        "ours": lambda: detail_forward(model, noise, timestep, text, cube_tok=CUBE, reach=REACH),
        "host": lambda: model(noise, timestep, text),
    }
    flops = {
        "ours": forward_flops(config, tokens, pairs).total,
        "host": forward_flops(config, tokens, tokens**2).total,
    }
    works["ours"]()  # warm; the host's run is long enough to need none
    runs = interleaved(works, {"ours": 2 * repeats, "host": repeats}, warm=False)
    return [
        {
            "forward": name, "reach": REACH if name == "ours" else None, "grid": list(grid),
            "tokens": tokens, "width": config.width, "ffn_width": config.ffn_width,
            "flops": flops[name], "seconds": median(runs[name]), "seconds_runs": runs[name],
        }
        for name in works
    ]  # fmt: skip


def host_model(config: WanConfig):
    """The host's WanModel with random weights and PyTorch's attention, on the CPU.

    Raises ValueError without COMFYUI_PATH.
    """
    host = os.environ.get("COMFYUI_PATH")
    if not host:
        raise ValueError("COMFYUI_PATH is not set: `python dev.py bench` brings a ComfyUI.")
    if host not in sys.path:
        sys.path.insert(0, str(Path(host).resolve()))  # in front: its `nodes` is not ours
    from comfy.cli_args import args

    args.cpu = args.use_pytorch_cross_attention = True
    import comfy.ops
    from comfy.ldm.modules.attention import attention_pytorch
    from comfy.ldm.wan import model as wan

    assert wan.optimized_attention is attention_pytorch, "the host was set up for another attention"
    model = wan.WanModel(
        model_type="t2v", in_dim=config.in_channels, dim=config.width, ffn_dim=config.ffn_width,
        num_heads=config.heads, num_layers=config.layers, dtype=torch.float32,
        operations=comfy.ops.disable_weight_init,
    )  # fmt: skip
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter) * (0.02 if parameter.ndim > 1 else 1.0)
    return model.eval().requires_grad_(False)


def figures(rows: list[dict]) -> dict[str, float]:
    out = {}
    for tokens, name in NAMES.items():
        at = {r["forward"]: r for r in rows if r["tokens"] == tokens}
        if at:
            out[f"speedup_{name}"] = at["host"]["seconds"] / at["ours"]["seconds"]
            predicted = at["host"]["flops"] / at["ours"]["flops"]
            out[f"speedup_over_predicted_{name}"] = out[f"speedup_{name}"] / predicted
    return out
