"""Block masks of 4K x 321 frames, made from cube numbers, against `create_block_mask`.

`create_block_mask` asks for every pair of tokens, so it is timed at small sizes only, together
with the closed form at the same sizes; its row at full size is an extrapolation by the square of
the tokens from the largest size measured, and says so.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from atlasvid_core.attention import flex
from atlasvid_core.attention.blocks import View, view_of
from atlasvid_core.attention.layout import CubeLayout, parts_of, slabs_of, whole
from atlasvid_core.attention.mask import REACHES, align, aligned_with
from atlasvid_core.budget import default_chunks
from atlasvid_core.rope import proxy_axes
from atlasvid_core.units import Grid

from . import drawing
from .timing import interleaved

CUBE = Grid(4, 8, 8)
TARGET, PROXY = Grid(81, 135, 240), Grid(21, 30, 52)
GRIDS = (Grid(4, 32, 32), Grid(8, 32, 32), Grid(8, 32, 64))
QUICK_GRIDS = (Grid(4, 16, 32), Grid(4, 32, 32))
REPEATS = 3
CPU = torch.device("cpu")


def rows(quick: bool = False) -> list[dict]:
    reaches = ("faces",) if quick else REACHES
    runs = interleaved({reach: partial(_target_masks, reach) for reach in reaches}, REPEATS)
    out = []
    for reach in reaches:
        masks, parts = _target_masks(reach)
        held = flex.table_bytes(masks)
        out.append(
            _row("closed form", reach, TARGET.count, runs[reach], parts, len(masks), held, False)
        )
    for grid in QUICK_GRIDS if quick else GRIDS:
        layout = CubeLayout(grid, CUBE)
        view = view_of(layout, "faces", None, whole(layout))
        sees = flex.block_mask(view, CPU).mask_mod
        works = {
            "closed form": partial(_fresh, view),
            "create_block_mask": partial(
                create_block_mask, sees, None, None, grid.count, grid.count, device="cpu"
            ),
        }
        runs = interleaved(works, 1 if quick else REPEATS, warm=grid.count <= 4096)
        out += [_row(how, "faces", grid.count, runs[how], 1, 1, None, False) for how in works]
    last = out[-1]
    guess = median(last["seconds_runs"]) * (TARGET.count / last["tokens"]) ** 2
    out.append(_row("create_block_mask", "faces", TARGET.count, [guess], 1, 1, None, True))
    return out


def _row(how, reach, tokens, runs, parts, masks, held, extrapolated) -> dict:
    return {
        "how": how, "reach": reach, "tokens": tokens, "seconds": median(runs),
        "seconds_runs": runs, "parts": parts, "masks": masks, "bytes": held,
        "extrapolated": extrapolated,
    }  # fmt: skip


def _fresh(view: View) -> BlockMask:
    flex.forget()
    return flex.block_mask(view, CPU)


def _target_masks(reach: str) -> tuple[list[BlockMask], int]:
    """The masks of one forward at the default chunk plan, shared ones once; and its parts."""
    flex.forget()
    layout = CubeLayout(TARGET, CUBE)
    chunks = default_chunks(layout)
    aligned = align(layout, proxy_axes(PROXY, TARGET, "ratio"))
    masks, parts = {}, 0
    for slab in slabs_of(layout, chunks.slab_cubes):
        local, _ = aligned_with(aligned, layout, reach, slab)
        for part in parts_of(layout, slab, chunks.chunk_tok):
            mask = flex.block_mask(view_of(layout, reach, local, part), CPU)
            masks[id(mask)] = mask
            parts += 1
    return list(masks.values()), parts


def figures(rows: list[dict]) -> dict[str, float]:
    """The worst reach at full size; how much longer create_block_mask takes where both ran."""
    closed = {(r["tokens"], r["reach"]): r for r in rows if r["how"] == "closed form"}
    full = [row for row in closed.values() if row["tokens"] == TARGET.count]
    other = [r for r in rows if r["how"] != "closed form" and not r["extrapolated"]]
    largest = max(other, key=lambda row: row["tokens"])
    return {
        "mask_seconds_4k_321": max(median(row["seconds_runs"]) for row in full),
        "mask_megabytes_4k_321": max(row["bytes"] for row in full) / 1e6,
        "create_block_mask_over_closed_form": median(largest["seconds_runs"])
        / median(closed[largest["tokens"], "faces"]["seconds_runs"]),
    }


def plot(rows: list[dict], path: Path) -> None:
    figure, ax = drawing.axes("All block masks of a video, reach faces", "tokens", "seconds")
    for how in ("closed form", "create_block_mask"):
        here = [r for r in rows if r["how"] == how and r["reach"] == "faces"]
        here.sort(key=lambda row: row["tokens"])
        x, y = [r["tokens"] for r in here], [r["seconds"] for r in here]
        guessed = any(r["extrapolated"] for r in here)
        if guessed:
            ax.plot(x[:-1], y[:-1], marker="o", linewidth=2, color=drawing.COLOURS[1])
        name = f"{how},\nextrapolated" if guessed else how
        drawing.named_line(ax, x, y, name, dashed=guessed)
    ax.set(xscale="log", yscale="log")
    ax.minorticks_off()
    drawing.save(figure, path)
