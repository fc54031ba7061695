"""Peak memory of a video that becomes a proxy, against its size and length, above the model.

As VideoToProxy does it on a CPU: H.264 read frame by frame, scaled to 480p, encoded in tiles, by
AtlasVid-Tiny's VAE. Each video in a process of its own: `python -m bench.proxy SIZE FRAMES FOLDER`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import torch
from safetensors.torch import load_file

from atlasvid_core.encode import encode_frames, encode_parked
from atlasvid_core.plan import VideoPlan, make_plan
from atlasvid_core.proxy_video import check_length, proxy_frames, taken
from atlasvid_core.tile_plan import plan_tiles
from atlasvid_core.units import Grid
from atlasvid_core.video_source import FileSource
from atlasvid_core.wan.vae import WanVAE

from .decode import BUDGET_BYTES, ROOT, WEIGHTS
from .kept_rows import rows_kept
from .rss import peak_of

SOURCES = (((720, 1280), 33), ((2160, 3840), 33), ((2160, 3840), 161))  # (height, width), frames
PROXY_PX = 480


def rows(quick: bool = False) -> list[dict]:
    sources = (((256, 256), 9), ((512, 512), 17)) if quick else SOURCES
    out = []
    with rows_kept("proxy", quick) as (folder, kept):
        for size, frames in sources:

            def row(size: tuple[int, int] = size, frames: int = frames) -> list[dict]:
                return [_child(size, frames, folder)]

            out += kept(f"{size[0]}_{frames}", row)
    return out


def figures(rows: list[dict]) -> dict[str, float]:
    if len(rows) < len(SOURCES):
        return {}
    small, large, long = (row["above_bytes"] for row in rows)
    return {
        "gb_4k": long / 1e9,
        "gb_4k_over_720p": (large - small) / 1e9,
        "mb_a_frame": (long - large) / (rows[2]["frames"] - rows[1]["frames"]) / 1e6,
    }


def _child(size: tuple[int, int], frames: int, folder: Path) -> dict:
    asked = [f"{size[0]}x{size[1]}", str(frames), str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.proxy", *asked],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    row = json.loads(done.stdout.splitlines()[-1])
    print(f"{asked[0]} x {frames}: {row['seconds']:.1f} s, {row['above_bytes'] / 1e6:.0f} MB",
          flush=True)  # fmt: skip
    return row


def _written(size: tuple[int, int], frames: int, folder: Path) -> Path:
    """A video of a pattern that moves."""
    path = folder / f"{size[0]}_{frames}.mp4"
    y, x = np.ogrid[: size[0], : size[1]]
    picture = (127 + 60 * np.sin(x / 40) + 60 * np.sin(y / 25 + x / 90)).astype(np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "yuv420p"
        for number in range(frames):
            moved = np.roll(picture, 5 * number, axis=1)
            grey = np.full((size[0] // 2, size[1]), 128, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.concatenate([moved, grey]), "yuv420p")
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def measure(size: tuple[int, int], frames: int, folder: Path) -> dict:
    """One proxy in this process, after a small one that loads what is loaded once."""
    vae = WanVAE(dim=8).eval().requires_grad_(False)
    vae.load_state_dict(load_file(WEIGHTS))
    source = FileSource(str(_written(size, frames, folder)))
    encode(vae, source, _plan(size, 5, 64), folder)

    began = time.perf_counter()
    plan = _plan(size, frames, min(PROXY_PX, size[0]))
    _, peak = peak_of(lambda: encode(vae, source, plan, folder))
    return {
        "size_px": f"{size[1]} x {size[0]}", "frames": frames,
        "proxy_px": f"{plan.proxy_width_px} x {plan.proxy_height_px}",
        "seconds": time.perf_counter() - began, "above_bytes": peak.most - peak.before,
        "image_bytes": 12 * frames * size[0] * size[1],
    }  # fmt: skip


def encode(vae: WanVAE, source: FileSource, plan: VideoPlan, folder: Path) -> torch.Tensor:
    lat, like, wanted = plan.proxy_lat, torch.empty(0), taken(plan, source, "video")
    check_length(source, plan, wanted, lambda: None)
    frames = proxy_frames(source, plan, wanted, lambda: None)
    tiles = plan_tiles(vae, (lat.h, lat.w), BUDGET_BYTES, encodes=True)
    if tiles.order == "frames":
        return encode_frames(vae, frames, tiles, like=like)
    return encode_parked(vae, frames, lat.t, tiles, folder, like)


def _plan(size: tuple[int, int], frames: int, proxy_px: int) -> VideoPlan:
    return make_plan(
        width_px=size[1], height_px=size[0], frames_px=frames, r_t=1, proxy_height_px=proxy_px,
        cube_tok=Grid(1, 2, 2),
    )  # fmt: skip


def plot(rows: list[dict], path: Path) -> None:
    from .drawing import axes, save

    figure, ax = axes("Peak memory of a video that becomes a proxy, above the model", "", "GB")
    names = [f"{r['size_px']}, {r['frames']} frames" for r in rows]
    places = np.arange(len(rows))
    for shift, key, label in ((-0.2, "above_bytes", "VideoToProxy"),
                              (0.2, "image_bytes", "its frames as an IMAGE")):  # fmt: skip
        bars = ax.bar(places + shift, [r[key] / 1e9 for r in rows], 0.38, label=label)
        ax.bar_label(bars, fmt="%.2g")
    ax.set_xticks(places, names)
    ax.legend()
    save(figure, path)


if __name__ == "__main__":
    size, frames, folder = sys.argv[1:]
    height, width = map(int, size.split("x"))
    torch.manual_seed(0)
    with torch.no_grad():
        print(json.dumps(measure((height, width), int(frames), Path(folder))))
