"""Peak memory of a decode to a file against the video's length, above model and latents.

As TiledVAEDecodeToVideo does it: parked on disk, then H.264. Each length in a process of its own,
with the host's module and AtlasVid-Tiny's weights (see bench/decode.py).
"""

from __future__ import annotations

from pathlib import Path

from .decode import FRAMES, SIZE_PX, child, latents
from .kept_rows import rows_kept

FILE_SIZE_PX, FILE_FRAMES = (1088, 1920), (33, 81, 161)  # (height, width)


def rows(quick: bool = False) -> list[dict]:
    size, lengths = ((256, 256), (9, 17)) if quick else (FILE_SIZE_PX, FILE_FRAMES)
    out = []
    with rows_kept("decode_file", quick) as (folder, kept):
        latents((128, 128) if quick else SIZE_PX, FRAMES, folder)
        for length in lengths:

            def file(length: int = length) -> list[dict]:
                return [child("ours_to_file", size, length, folder)]

            out += kept(f"file_{length}", file)
    return out


def figures(rows: list[dict]) -> dict[str, float]:
    used = {r["frames"]: r["above_bytes"] for r in rows}
    found = {f"file_gb_{frames}f": size / 1e9 for frames, size in used.items()}
    short, *_, long = FILE_FRAMES
    if {short, long} <= used.keys():
        found["file_mb_a_frame"] = (used[long] - used[short]) / (long - short) / 1e6
    return found


def plot(rows: list[dict], path: Path) -> None:
    from .drawing import axes, named_line, save

    figure, ax = axes("Peak memory of a decode to a file, above the model", "frames", "MB")
    frames = [r["frames"] for r in rows]
    named_line(ax, frames, [r["above_bytes"] / 1e6 for r in rows], "AtlasVid, H.264")
    height, width = FILE_SIZE_PX
    image = [n * height * width * 12 / 1e6 for n in frames]
    named_line(ax, frames, image, "the IMAGE alone", dashed=True)
    ax.set_xticks(frames)
    ax.set_ylim(bottom=0)
    save(figure, path)
