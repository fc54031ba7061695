"""Local attention against dense: time of every backend and reach over five grids.

Useful FLOPs are 4 x query-key pairs x heads x head size of what the reach lets see, so that useful
FLOP/s of a backend compares with those of PyTorch's dense attention, all of whose pairs count.
Peers: dense attention itself, and a window sliding over the flattened sequence with as many keys a
query as `faces` has inside the grid. Local attention writes where the forward has it write, into
memory that is there already. NATTEN installs, but its kernels want CUDA; what it runs
without is eager flex_attention, which writes the whole score matrix (minutes at 8,192 tokens).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F

from atlasvid_core import attention
from atlasvid_core.attention.layout import CubeLayout
from atlasvid_core.attention.mask import REACHES, pair_count, steps_of
from atlasvid_core.units import HEAD_SIZE, Grid

from . import sliding
from .timing import interleaved, log_slope

HEADS = 2
CUBE = Grid(4, 8, 8)
GRIDS = tuple(Grid(*g) for g in ((8, 32, 32), (8, 32, 64), (8, 64, 64), (16, 64, 64), (32, 64, 64)))
QUICK_GRIDS = (Grid(4, 16, 32), Grid(6, 16, 32))
DENSE_TOK = 65_536  # dense attention is timed up to here, at this size once
AT_TOK = 32_768  # where the targets look
REPEATS, DENSE_REPEATS, QUICK_REPEATS = 7, 3, 1


def rows(quick: bool = False) -> list[dict]:
    """Every round runs everything at every size: a slow minute bends no slope and no ratio."""
    works: dict[tuple[Grid, str, str | None], Callable[[], object]] = {}
    pairs: dict[tuple, int] = {}
    for grid in QUICK_GRIDS if quick else GRIDS:
        more = _works(CubeLayout(grid, CUBE), ["windowed"] if quick else _backends())
        works |= {(grid, *key): work for key, (work, _) in more.items()}
        pairs |= {(grid, *key): count for key, (_, count) in more.items()}
    for key, work in works.items():
        if key[1] != "dense":  # caches, compilation
            work()
    runs = interleaved(works, {key: _repeats(key, quick) for key in works}, warm=False)
    return [_row(key, pairs[key], runs[key]) for key in works]


def _repeats(key: tuple[Grid, str, str | None], quick: bool) -> int:
    if quick:
        return QUICK_REPEATS
    if key[1] != "dense":
        return REPEATS
    return 1 if key[0].count >= DENSE_TOK else DENSE_REPEATS


def _works(
    layout: CubeLayout, backends: list[str]
) -> dict[tuple[str, str | None], tuple[Callable, int]]:
    """(backend, reach) -> what to time, its pairs. Dense gets its heads in front: its best."""
    tokens = layout.grid.count
    q, k, v = (torch.randn(1, tokens, HEADS, HEAD_SIZE) for _ in range(3))
    works: dict[tuple[str, str | None], tuple[Callable, int]] = {}
    if tokens <= DENSE_TOK:
        heads_first = [x.transpose(1, 2).contiguous() for x in (q, k, v)]
        works["dense", None] = partial(F.scaled_dot_product_attention, *heads_first), tokens**2
    window = (CUBE.count, len(steps_of("faces")))
    pairs = sliding.pairs(tokens, *window)
    works["sliding", None] = partial(sliding.attend, q, k, v, *window), pairs
    spare = torch.zeros_like(q)
    for backend, reach in ((b, r) for b in backends for r in REACHES):
        attend, _ = attention.pick(backend, q.device)
        work = partial(attend, q, k, v, layout, reach, spare=spare)
        works[backend, reach] = work, pair_count(layout, reach)
    return works


def _backends() -> list[str]:
    """Those that are really run here; what falls back to another is not timed twice."""
    here = torch.device("cpu")
    fast = [b for b in attention.BACKENDS if b not in ("auto", "dense")]
    return [b for b in fast if attention.pick(b, here)[1] is None]


def _row(key: tuple[Grid, str, str | None], pairs: int, runs: list[float]) -> dict:
    grid, backend, reach = key
    flops, seconds = 4 * pairs * HEADS * HEAD_SIZE, median(runs)
    return {
        "backend": backend, "reach": reach, "grid": list(grid), "tokens": grid.count,
        "useful_flops": flops, "seconds": seconds, "gflops_per_second": flops / seconds / 1e9,
        "seconds_runs": runs,
    }  # fmt: skip


def figures(rows: list[dict]) -> dict[str, float]:
    at = {(r["backend"], r["reach"]): r for r in rows if r["tokens"] == AT_TOK}
    out = {}
    if dense := at.get(("dense", None)):
        for reach in REACHES:
            if local := at.get(("windowed", reach)):
                out[f"{reach}_rate_over_dense_32k"] = _rate(local) / _rate(dense)
                out[f"{reach}_speedup_over_dense_32k"] = dense["seconds"] / local["seconds"]
    for reach in REACHES:
        mine = [r for r in rows if (r["backend"], r["reach"]) == ("windowed", reach)]
        if len(mine) > 1:
            flops, seconds = [r["useful_flops"] for r in mine], [r["seconds"] for r in mine]
            out[f"{reach}_slope"] = log_slope(flops, seconds)
    return out


def _rate(row: dict) -> float:
    return row["useful_flops"] / row["seconds"]


def plot(rows: list[dict], path: Path) -> None:
    from .drawing import axes, named_line, save

    figure, ax = axes("Self-attention, 2 heads of 128, float32", "tokens", "seconds")
    series: dict[tuple, list[dict]] = {(r["backend"], r["reach"]): [] for r in rows}
    for row in rows:
        series[row["backend"], row["reach"]].append(row)
    for (backend, reach), points in series.items():
        if backend == "flex":
            continue
        label = {"dense": "dense SDPA", "sliding": "sliding, flattened"}.get(backend, str(reach))
        x, y = [p["tokens"] for p in points], [p["seconds"] for p in points]
        named_line(ax, x, y, label, dashed=backend != "windowed")
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    sizes = sorted({r["tokens"] for r in rows})
    ax.set_xticks(sizes, [f"{n // 1024}k" for n in sizes])
    save(figure, path)
