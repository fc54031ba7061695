"""One denoising step of the tiny model on 4K x 321 frames, watched: finite, bounded, and right.

2,624,400 tokens, float32, cubes of Wan's size, reach faces, with the guide of a 480p proxy. In
every layer a random sample of cubes is recomputed by an oracle from the hidden state that this
layer was really given around them.
"""

from __future__ import annotations

import random
import time

import torch

from atlasvid_core.attention.layout import CubeLayout
from atlasvid_core.attention.mask import neighbours
from atlasvid_core.guide import make_guide
from atlasvid_core.joint import detail_forward
from atlasvid_core.rope import proxy_axes
from atlasvid_core.tiny.words import FILES, encode_prompt
from atlasvid_core.units import PATCH, Grid
from atlasvid_core.wan.io import load_dit

from .rss import peak_of
from .witness import Oracle, Witness, error

SIZES = Grid(81, 135, 240), Grid(21, 30, 52), Grid(4, 8, 8)  # target, proxy, cube
QUICK_SIZES = Grid(9, 9, 14), Grid(3, 3, 4), Grid(2, 4, 4)
REACH, TIME_SCALE = "faces", 4.0
CUBES_A_LAYER = 16
GIB = 2**30
PROMPT = "a red ball crosses right under a dusk sky"


def rows(quick: bool = False) -> list[dict]:
    target_tok, proxy_tok, cube_tok = QUICK_SIZES if quick else SIZES
    model = load_dit(FILES / "diffusion_models" / "atlasvid_tiny.safetensors")
    layout = CubeLayout(target_tok, cube_tok)
    timestep, text = torch.tensor([900.0]), encode_prompt(PROMPT, view="closeup")
    began = time.perf_counter()
    axes = proxy_axes(proxy_tok, target_tok, "ratio", TIME_SCALE)
    guide = make_guide(model, _noise(proxy_tok), axes, target_tok)
    guide_s = time.perf_counter() - began
    chosen = _choose(layout, len(model.blocks))
    noise = _noise(target_tok)

    def step():
        return detail_forward(
            model, noise, timestep, text,
            cube_tok=cube_tok, reach=REACH, guide=guide, progress=_Said(began),
        )  # fmt: skip

    began = time.perf_counter()
    with Witness(model, layout, _needed(layout, chosen)) as witness:
        velocity, peak = peak_of(step)
    step_s = time.perf_counter() - began
    witness.check_complete()
    oracle = Oracle.of(model, layout, REACH, guide, timestep, text)
    return [
        {
            "grid": list(target_tok), "tokens": target_tok.count, "proxy_grid": list(proxy_tok),
            "cube": list(cube_tok), "reach": REACH, "seconds": step_s, "guide_seconds": guide_s,
            "guide_bytes": guide.bytes, "rss_before_bytes": peak.before,
            "rss_peak_bytes": peak.most, "finite": bool(torch.isfinite(velocity).all()),
        },
        *(_compare(oracle, witness, i, cubes) for i, cubes in enumerate(chosen)),
    ]  # fmt: skip


def _noise(tok: Grid) -> torch.Tensor:
    return torch.randn(1, 16, *(n * p for n, p in zip(tok, PATCH, strict=True)))


def _choose(layout: CubeLayout, layers: int) -> list[list[int]]:
    """A sample of cubes for each layer."""
    draw = random.Random(0)
    return [sorted(draw.sample(range(layout.n_cubes.count), CUBES_A_LAYER)) for _ in range(layers)]


def _needed(layout: CubeLayout, chosen: list[list[int]]) -> list[set[int]]:
    """In front of each layer: its sample's surroundings, and the sample of the layer before."""
    around = [{n for cube in cubes for n in neighbours(layout, cube, REACH)} for cubes in chosen]
    after = [set(), *map(set, chosen)]
    return [a | b for a, b in zip([*around, set()], after, strict=True)]


def _compare(oracle: Oracle, witness: Witness, layer: int, cubes: list[int]) -> dict:
    before, after = witness.states[layer], witness.states[layer + 1]
    errors = [error(after[c], oracle.block(layer, c, before), before[c]) for c in cubes]
    return {"layer": layer, "cubes": len(cubes), "worst_error": max(errors), "error_runs": errors}


class _Said:
    """Progress on the terminal, twenty times a step."""

    def __init__(self, began: float) -> None:
        self.began = began

    def __call__(self, done: int, total: int) -> None:
        if done * 20 // total > (done - 1) * 20 // total:
            taken = time.perf_counter() - self.began
            print(f"{100 * done // total} % after {taken:.0f} s", flush=True)


def figures(rows: list[dict]) -> dict[str, float]:
    step = rows[0]
    layers = rows[1:]
    return {
        "tokens": step["tokens"],
        "finite": float(step["finite"]),
        "worst_error": max(row["worst_error"] for row in layers),
        "fewest_cubes_a_layer": min(row["cubes"] for row in layers),
        "rss_peak_gib": step["rss_peak_bytes"] / GIB,
    }
