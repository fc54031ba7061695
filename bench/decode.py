"""Decode: ours, the stock VAEDecode and the stock VAEDecodeTiled, same latents, same VAE.

Every measurement runs in a process of its own: `python -m bench.decode METHOD SIZE FRAMES FOLDER`.
The host's own module with AtlasVid-Tiny's weights decodes the latents of a moving pattern; for
files (bench/decode_file.py) those are mirrored to the size and played to and fro. Frames are
compared as IMAGEs (0..1). Peak memory is that above what the process held before the decode: model,
latents and libraries.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from atlasvid_core.decode import decode_blocks, decode_frames
from atlasvid_core.encode import encode_frames
from atlasvid_core.parked import Place, parked_frames
from atlasvid_core.tile_plan import plan_tiles
from atlasvid_core.tiles import STRIDE_PX, TilePlan
from atlasvid_core.video_file import VideoFormat, write_video
from atlasvid_core.walk import frames_px
from atlasvid_core.wan.vae import WanVAE

from .kept_rows import rows_kept
from .rss import peak_of

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "atlasvid_core/tiny/files/vae/atlasvid_tiny_vae.safetensors"
BUDGET_BYTES = 2**28  # as TiledVAEDecode's on a CPU
SIZE_PX, FRAMES = (512, 512), 33  # (height, width)
TILE_PX, OVERLAP_PX, TILE_FRAMES, OVERLAP_FRAMES = 256, 64, 16, 4
METHODS = ("stock", "stock_tiled", "ours", "ours_tiled")
EXACT_LAT, EXACT_TILES = (3, 11, 14), ((11, 14), (8, 8), (5, 14), (6, 7))
MIB = 2**20


def rows(quick: bool = False) -> list[dict]:
    size, frames = ((128, 128), 17) if quick else (SIZE_PX, FRAMES)
    out = []
    with rows_kept("decode", quick) as (folder, kept):
        latents(size, frames, folder)
        for method in METHODS:

            def image(method: str = method) -> list[dict]:
                row = {**child(method, size, frames, folder), "kind": "image"}
                return [row | _compare(folder, method, size[1])]

            out += kept(method, image)
        out += kept("exact", exact_rows)
    return out


def exact_rows() -> list[dict]:
    """Any tiling against the host's whole decode, random and trained weights."""
    out = []
    for weights in ("random", "tiny"):
        torch.manual_seed(0)
        vae = host_vae(WanVAE(dim=8).state_dict() if weights == "random" else load_file(WEIGHTS))
        module, latent = vae.first_stage_model, torch.randn(1, 16, *EXACT_LAT)
        whole = vae.process_output(module.decode(latent)).permute(0, 2, 3, 4, 1)
        for side in EXACT_TILES:
            for order in ("frames", "tiles"):
                plan = TilePlan(EXACT_LAT[1:], side, order, 0)
                frames = decode_frames(module, latent, None, plan, tempfile.gettempdir())
                error = float((vae.process_output(frames) - whole).abs().max())
                row = {"kind": "exact", "weights": weights, "tile_lat": list(side), "order": order}
                out.append({**row, "max_error": error})
    return out


def host_vae(state: dict):
    """The host's VAE object on the CPU. Raises ValueError without COMFYUI_PATH."""
    host = os.environ.get("COMFYUI_PATH")
    if not host:
        raise ValueError("COMFYUI_PATH is not set: `python dev.py bench` brings a ComfyUI.")
    if host not in sys.path:
        sys.path.insert(0, host)  # in front: its `nodes` is not ours
    from comfy.cli_args import args

    args.cpu = True
    import comfy.sd

    return comfy.sd.VAE(sd=state)


def child(method: str, size: tuple[int, int], frames: int, folder: Path) -> dict:
    asked = [method, f"{size[0]}x{size[1]}", str(frames), str(folder)]
    environment = os.environ | {"COMFYUI_PATH": str(Path(os.environ["COMFYUI_PATH"]).resolve())}
    done = subprocess.run(
        [sys.executable, "-m", "bench.decode", *asked],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    row = json.loads(done.stdout.splitlines()[-1])
    print(f"{method} {row['size_px']} x {frames}: {row['seconds']:.1f} s,", end=" ")
    print(f"{row['above_bytes'] / MIB:.0f} MiB", flush=True)
    return row


def latents(size: tuple[int, int], frames: int, folder: Path) -> Path:
    """Of a moving pattern with edges, encoded once."""
    file = folder / "latent.safetensors"
    if not file.exists():
        vae = WanVAE(dim=8).eval().requires_grad_(False)
        vae.load_state_dict(load_file(WEIGHTS))
        y, x = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")

        def frame(number: int) -> torch.Tensor:
            waves = [torch.sin((x * a + y * b) / 40 + number * 0.12) for a, b in ((1, 2), (3, -1))]
            disc = ((x - 3 * number) % size[1] - 90) ** 2 + (y - size[0] / 2) ** 2 < 60**2
            return torch.stack([waves[0], waves[1], disc * 1.6 - 0.8], dim=-1) * 0.8

        size_lat = (size[0] // STRIDE_PX, size[1] // STRIDE_PX)
        plan = TilePlan(size_lat, (64, 64), "frames", 0)
        save_file({"latent": encode_frames(vae, map(frame, range(frames)), plan)}, file)
    return file


def measure(method: str, size: tuple[int, int], frames: int, folder: Path) -> dict:
    """One decode in this process, after a small one that loads what is loaded once."""
    vae = host_vae(load_file(WEIGHTS))
    import comfyui_version

    latent = _mirrored(load_file(latents(size, frames, folder))["latent"], size, frames)
    small = latent[:, :, :2, :8, :8].contiguous()
    run(vae, small, method, folder)

    began = time.perf_counter()
    images, peak = peak_of(lambda: run(vae, latent, method, folder))
    seconds = time.perf_counter() - began
    if images is not None:
        np.save(folder / f"{method}.npy", images.numpy())
    return {
        "method": method, "size_px": f"{size[1]} x {size[0]}", "frames": frames,
        "seconds": seconds, "above_bytes": peak.most - peak.before,
        "host": f"ComfyUI {comfyui_version.__version__}",
    }  # fmt: skip


def run(vae, latent: torch.Tensor, method: str, folder: Path) -> torch.Tensor | None:
    """-> IMAGE, or None where it went to a file."""
    import nodes as host_nodes

    samples = {"samples": latent}
    if method == "stock":
        return host_nodes.VAEDecode().decode(vae, samples)[0]
    if method == "stock_tiled":
        return host_nodes.VAEDecodeTiled().decode(
            vae, samples, TILE_PX, OVERLAP_PX, TILE_FRAMES, OVERLAP_FRAMES
        )[0]
    module, (t, h, w) = vae.first_stage_model, latent.shape[2:]
    side = TILE_PX // STRIDE_PX if method == "ours_tiled" else 0
    plan = plan_tiles(module, (h, w), BUDGET_BYTES, side_lat=side)
    if method == "ours_to_file":
        place = Place(folder / "parked", "bench")
        parked = parked_frames(module, latent[0], plan, place, 8)
        write_video(folder / "video.mp4", parked, VideoFormat())
        place.remove()
        return None
    images = torch.empty(frames_px(t), STRIDE_PX * h, STRIDE_PX * w, 3)
    for block in decode_blocks(module, latent[0], plan, folder):
        images[block.place] = vae.process_output(block.pixels_T3HW).movedim(1, -1)
    return images


def _compare(folder: Path, method: str, width: int) -> dict:
    """Error against the stock whole decode, gradients at tile borders, steps in time."""
    seen, whole = np.load(folder / f"{method}.npy"), np.load(folder / "stock.npy")
    found = {"max_error": float(np.abs(seen - whole).max())}
    step = TILE_PX - OVERLAP_PX if method == "stock_tiled" else TILE_PX
    borders = np.zeros(width - 1, bool)
    borders[[x - 1 for x in range(step, width - 1, step)]] = True
    if borders.any():
        across = np.abs(np.diff(seen, axis=2)).mean(axis=(0, 1, 3))
        base = np.abs(np.diff(whole, axis=2)).mean(axis=(0, 1, 3))
        found["seam_ratio"] = float(across[borders].mean() / across[~borders].mean())
        found["seam_ratio_whole"] = float(base[borders].mean() / base[~borders].mean())
    # Steps in time where the stock's time tiles meet; 1: none beyond the video's own.
    steps, true = (np.abs(np.diff(v, axis=0)).mean(axis=(1, 2, 3)) for v in (seen, whole))
    found["flicker"] = float((steps / true)[_time_borders(len(seen))].max())
    return found


def _time_borders(frames: int) -> list[int]:
    """Steps between frames that lie where two of the stock's time tiles overlap."""
    tile, overlap = TILE_FRAMES // 4, OVERLAP_FRAMES // 4
    starts = range(tile - overlap, (frames + 3) // 4 - overlap, tile - overlap)
    return [step for s in starts for step in range(4 * s - 4, 4 * (s + overlap) - 3)]


def _mirrored(latent: torch.Tensor, size: tuple[int, int], frames: int) -> torch.Tensor:
    """So much of a latent [1, 16, t, h, w], mirrored at its borders and in time."""
    needs = ((frames + 3) // 4, *(side // STRIDE_PX for side in size))
    for axis, need in enumerate(needs, start=2):
        while latent.shape[axis] < need:
            latent = torch.cat([latent, latent.flip(axis)], axis)
        latent = latent.narrow(axis, 0, need)
    return latent.contiguous()


def figures(rows: list[dict]) -> dict[str, float]:
    by = {r["method"]: r for r in rows if r["kind"] == "image"}
    found = {
        "max_error_any_tiling": max(r["max_error"] for r in rows if r["kind"] == "exact"),
        "max_error_on_video": max(by[m]["max_error"] for m in ("ours", "ours_tiled")),
        "time_over_stock": by["ours"]["seconds"] / by["stock"]["seconds"],
        "tiled_time_over_stock": by["ours_tiled"]["seconds"] / by["stock"]["seconds"],
        "flicker_tiled": by["ours_tiled"]["flicker"],
    }
    if "seam_ratio" in by["ours_tiled"]:
        row = by["ours_tiled"]
        found["seam_over_whole_tiled"] = row["seam_ratio"] / row["seam_ratio_whole"]
    return found


def plot(rows: list[dict], path: Path) -> None:
    from .drawing import COLOURS, axes, save

    by = {r["method"]: r for r in rows if r["kind"] == "image"}
    size = f"{by['stock']['size_px']} x {by['stock']['frames']}"
    figure, ax = axes(f"Decode of {size} frames to an IMAGE", "", "seconds")
    named = {
        "stock": "VAEDecode", "stock_tiled": f"VAEDecodeTiled {TILE_PX}", "ours": "AtlasVid",
        "ours_tiled": f"AtlasVid, tiles of {TILE_PX}",
    }  # fmt: skip
    colours = [COLOURS[0] if method.startswith("ours") else COLOURS[1] for method in named]
    seconds = [by[method]["seconds"] for method in named]
    bars = ax.bar(list(named.values()), seconds, color=colours, width=0.6)
    ax.bar_label(
        bars,
        [
            f"{s:.0f} s, {by[m]['above_bytes'] / 1e6:.0f} MB"
            for m, s in zip(named, seconds, strict=True)
        ],
    )
    save(figure, path)


if __name__ == "__main__":
    name, sides, length, place = sys.argv[1:]
    height_px, width_px = map(int, sides.split("x"))
    with torch.no_grad():
        print(json.dumps(measure(name, (height_px, width_px), int(length), Path(place))))
