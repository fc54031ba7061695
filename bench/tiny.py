"""AtlasVid-Tiny held to its targets, on prompts and seeds that nothing was trained on.

The VAE on renders at base size and at the ablations' target size; the base and its stage 1 by the
judges of `atlasvid_core.metrics.hero`. Shares are of all videos, with bootstrap intervals.
"""

from __future__ import annotations

import torch

from atlasvid_core.decode import decode_frames
from atlasvid_core.encode import encode_frames
from atlasvid_core.metrics.hero import judge
from atlasvid_core.metrics.intervals import bootstrap
from atlasvid_core.metrics.pixels import psnr_db
from atlasvid_core.tiny import world
from atlasvid_core.tiny.data import BASE_FRAMES_PX, BASE_SIDE_PX
from atlasvid_core.tiny.sample import videos_of
from atlasvid_core.tiny.words import FILES
from atlasvid_core.wan.io import load_dit, load_vae
from atlasvid_core.wan.lora import merge_lora

FIRST_SEED = 7_000_000  # of the scenes: none of training's, the tests' or the ablations'
COUNT, LARGE_COUNT, AT_ONCE = 64, 16, 16
TARGET_FRAMES_PX, TARGET_SIDE_PX = 33, 384
RIGHT = ("object", "colour", "direction")
BASE = FILES / "diffusion_models" / "atlasvid_tiny.safetensors"
VAE = FILES / "vae" / "atlasvid_tiny_vae.safetensors"
STAGE1 = FILES / "loras" / "atlasvid_tiny_stage1.safetensors"
CFG = {"base": 2.0, "stage 1": 1.5}  # chosen on 64 scenes of other seeds


def rows(quick: bool = False) -> list[dict]:
    count = 4 if quick else COUNT
    vae, base = load_vae(VAE), load_dit(BASE)
    out = [_vae_row(vae, BASE_FRAMES_PX, BASE_SIDE_PX, 4.0, count)]
    if not quick:
        out.append(_vae_row(vae, TARGET_FRAMES_PX, TARGET_SIDE_PX, 1.0, LARGE_COUNT))
    out += [_model_row("base", base, vae, r_t, count) for r_t in (1, 2, 4)]
    if STAGE1.exists():
        stage1 = load_dit(BASE)
        merge_lora(stage1, STAGE1)
        out.append(_model_row("stage 1", stage1, vae, 4, count))
    return out


def scenes(count: int, first: int = 0) -> world.Scenes:
    return world.random_scenes(count, torch.Generator().manual_seed(FIRST_SEED + first))


def _vae_row(vae, frames_px: int, side_px: int, stride: float, count: int) -> dict:
    """Whole pictures there and back, a video at a time, as the nodes do it."""
    some = scenes(count)
    figures = []
    for i in range(count):
        one = world.Scenes(**{name: x[i : i + 1] for name, x in vars(some).items()})
        video = world.render(one, world.whole_picture(1, stride), frames_px, side_px, side_px)
        latent = encode_frames(vae, video[0].movedim(0, -1))
        back = decode_frames(vae, latent).movedim(-1, 1)
        figures.append(psnr_db(back, video).item())
    interval = bootstrap(figures)
    return {
        "what": "vae", "frames": frames_px, "side_px": side_px, "r_t": stride, "count": count,
        "psnr_db": interval.mean, "psnr_low": interval.low, "psnr_high": interval.high,
    }  # fmt: skip


def _model_row(what: str, model, vae, r_t: int, count: int) -> dict:
    told: dict[str, list[bool]] = {}
    for first in range(0, count, AT_ONCE):
        some = scenes(min(AT_ONCE, count - first), 1000 * r_t + first)
        video = videos_of(model, vae, some, r_t, seed=FIRST_SEED + first, cfg=CFG[what])
        verdicts = judge(some, video, float(r_t))
        verdicts["right"] = torch.stack([verdicts[name] for name in RIGHT]).all(0)
        for name, truths in verdicts.items():
            told.setdefault(name, []).extend(truths.tolist())
    shares = {name: sum(truths) / count for name, truths in told.items()}
    low, high = bootstrap(told["right"])[1:]
    return {
        "what": what, "frames": BASE_FRAMES_PX, "side_px": BASE_SIDE_PX, "r_t": r_t,
        "count": count, "cfg": CFG[what], **shares, "right_low": low, "right_high": high,
    }  # fmt: skip


def figures(rows: list[dict]) -> dict[str, float]:
    """The base by its own frame rate and at the demo's; stage 1 at r_t 4."""
    by = {(row["what"], row["side_px"], row["r_t"]): row for row in rows}
    out = {"vae_psnr_db": by["vae", BASE_SIDE_PX, 4.0]["psnr_db"]}
    if ("vae", TARGET_SIDE_PX, 1.0) in by:
        large = by["vae", TARGET_SIDE_PX, 1.0]["psnr_db"]
        out["vae_psnr_lost_at_target_db"] = out["vae_psnr_db"] - large
    for r_t in (1, 2, 4):
        out[f"base_right_r_t_{r_t}"] = by["base", BASE_SIDE_PX, r_t]["right"]
    if ("stage 1", BASE_SIDE_PX, 4) in by:
        row = by["stage 1", BASE_SIDE_PX, 4]
        out |= {"stage1_right": row["right"], "stage1_speed": row["speed"]}
    return out
