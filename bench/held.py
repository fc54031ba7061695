"""What a CPU process holds while it decodes or encodes, of what the estimate says: several VAEs,
frames and ways to cut them.

Each in a process of its own, above model and libraries: `python -m bench.held WAY DIM FRAME FRAMES
PARTS FOLDER`. Long ones end after PARTS tiles: the first hold as much as those that follow.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from atlasvid_core.encode import encode_frames, encode_parked
from atlasvid_core.heap import give_back
from atlasvid_core.parked import Place, parked_frames
from atlasvid_core.tile_plan import plan_tiles
from atlasvid_core.tiles import STRIDE_PX, TilePlan
from atlasvid_core.walk import frames_px
from atlasvid_core.wan.vae import WanVAE

from .decode import BUDGET_BYTES, ROOT
from .kept_rows import rows_kept
from .rss import peak_of

ALL = 10**9
TIMES = 3  # runs of each: the same one differs
CASES = (  # way, width of the VAE, frame (h, w) in latents, latent frames, parts
    ("decode", 8, (24, 24), 9, ALL), ("decode", 8, (48, 48), 5, ALL),
    ("decode", 8, (60, 104), 5, ALL), ("decode", 8, (90, 160), 4, 24),
    ("decode", 8, (136, 240), 4, 24), ("decode", 16, (32, 32), 5, ALL),
    ("decode", 32, (24, 24), 5, ALL), ("decode", 96, (32, 32), 3, 10),
    ("encode", 8, (60, 106), 5, ALL), ("encode", 8, (136, 240), 3, 12),
    ("encode", 16, (32, 32), 5, ALL),
)  # fmt: skip


class Enough(Exception):
    """So many parts are done."""


def rows(quick: bool = False) -> list[dict]:
    cases, times = (CASES[:1], 1) if quick else (CASES, TIMES)
    out = []
    with rows_kept("held", quick) as (folder, kept):
        for case in cases:

            def row(case: tuple = case) -> list[dict]:
                return [_measured(case, times, folder)]

            out += kept("_".join(map(str, case)).replace(" ", ""), row)
    return out


def figures(rows: list[dict]) -> dict[str, float]:
    shares = [row["held_over_said"] for row in rows]
    return {"least_held_over_said": min(shares), "most_held_over_said": max(shares)}


def _measured(case: tuple, times: int, folder: Path) -> dict:
    way, dim, frame, t, parts = case
    asked = [way, str(dim), f"{frame[0]}x{frame[1]}", str(t), str(parts), str(folder)]
    runs = []
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-m", "bench.held", *asked],
            cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    held = [run["held_bytes"] for run in runs]
    row = runs[0] | {"held_bytes": statistics.median(held), "held_bytes_runs": held}
    row["held_over_said"] = row["held_bytes"] / row["said_bytes"]
    print(f"{' '.join(asked[:3])}: {row['held_over_said']:.2f}", flush=True)
    return row


def measure(way: str, dim: int, frame: tuple[int, int], t: int, parts: int, folder: Path) -> dict:
    """One run in this process, after a small one that loads what is loaded once."""
    vae = WanVAE(dim).eval().requires_grad_(False)
    encodes = way == "encode"
    work: Callable = _encode if encodes else _decode
    plan = plan_tiles(vae, frame, BUDGET_BYTES, encodes=encodes)
    work(vae, plan_tiles(vae, (2, 2), BUDGET_BYTES, encodes=encodes), 2, ALL, folder)
    give_back()
    _, peak = peak_of(lambda: work(vae, plan, t, parts, folder))
    return {
        "way": way, "vae_dim": dim, "size_px": f"{STRIDE_PX * frame[1]} x {STRIDE_PX * frame[0]}",
        "plan": str(plan), "frames": frames_px(t), "tensor_bytes": plan.peak_bytes,
        "said_bytes": plan.held_bytes(on_cpu=True), "held_bytes": peak.most - peak.before,
    }  # fmt: skip


def _until(parts: int) -> Callable[..., None]:
    done = 0

    def on_part(*_: int) -> None:
        nonlocal done
        done += 1
        if done >= parts:
            raise Enough

    return on_part


def _decode(vae: WanVAE, plan: TilePlan, t: int, parts: int, folder: Path) -> None:
    place = Place(folder / "parked", "held")
    try:
        for _ in parked_frames(
            vae, torch.randn(16, t, *plan.frame_lat), plan, place, 8, _until(parts)
        ):
            pass
    except Enough:
        pass
    finally:
        place.remove()


def _encode(vae: WanVAE, plan: TilePlan, t: int, parts: int, folder: Path) -> None:
    size, like = [STRIDE_PX * n for n in plan.frame_lat], torch.empty(0)
    frames = (torch.zeros(*size, 3, dtype=torch.uint8) for _ in range(frames_px(t)))
    try:
        if plan.order == "frames":
            encode_frames(vae, frames, plan, _until(parts), like)
        else:
            encode_parked(vae, frames, t, plan, folder, like, _until(parts))
    except Enough:
        pass


if __name__ == "__main__":
    way, dim, frame, t, parts, folder = sys.argv[1:]
    high, wide = map(int, frame.split("x"))
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with torch.no_grad():
        print(json.dumps(measure(way, int(dim), (high, wide), int(t), int(parts), Path(folder))))
