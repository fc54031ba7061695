"""Peak memory of a forward while the video gets longer: flat above the hidden state.

Each size runs in a process of its own: `python -m bench.memory ours|host T`. Height and width stay,
so that a slab stays what it is and only their number grows. What counts is the peak of this
process above what it held before the forward (the latent among it), less the hidden state. The
host's own forward on the same model's size stands beside it where its time and memory allow.

The velocity itself, 256 bytes a token, counts as memory above the hidden state and grows with the
video: 1/12 of the hidden state at this width, 1/24 at Wan2.1-1.3B's.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import torch

from atlasvid_core.joint import detail_forward
from atlasvid_core.units import PATCH, Grid
from atlasvid_core.wan.dit import TEXT_SIZE, WanConfig, WanDiT

from .block import host_model
from .rss import peak_of

ROOT = Path(__file__).resolve().parent.parent
CONFIG = WanConfig(width=768, ffn_width=4480, layers=1)  # Wan2.1-1.3B's proportions, half as wide
H_TOK, W_TOK = 32, 64
CUBE, REACH, TEXT_TOK = Grid(4, 8, 8), "faces", 8
LENGTHS_TOK = {"ours": (32, 64, 128), "host": (4, 8, 16)}
QUICK_LENGTHS_TOK = {"ours": (4, 8)}
REPEATS = {"ours": 3, "host": 1}  # what an allocator keeps differs from run to run
MIB = 2**20


def rows(quick: bool = False) -> list[dict]:
    """Of several runs of a size the one with the median peak."""
    out = []
    for forward, lengths in (QUICK_LENGTHS_TOK if quick else LENGTHS_TOK).items():
        for t in lengths:
            runs = [in_a_process(forward, t) for _ in range(1 if quick else REPEATS[forward])]
            middle = sorted(runs, key=lambda run: run["above_bytes"])[len(runs) // 2]
            out.append({**middle, "above_bytes_runs": [run["above_bytes"] for run in runs]})
    return out


def in_a_process(forward: str, t: int) -> dict:
    command = [sys.executable, "-m", "bench.memory", forward, str(t)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    row = json.loads(done.stdout.splitlines()[-1])
    print(f"{forward} {row['tokens']:,}: {row['above_bytes'] / MIB:.0f} MiB above", flush=True)
    return row


def measure(forward: str, t: int) -> dict:
    """One forward in this process, after a short one that loads what is loaded once."""
    torch.manual_seed(0)
    ours = forward == "ours"
    model = WanDiT(CONFIG).eval().requires_grad_(False) if ours else host_model(CONFIG)
    timestep, text = torch.tensor([900.0]), torch.randn(1, TEXT_TOK, TEXT_SIZE)

    def run(noise: torch.Tensor) -> torch.Tensor:
        if not ours:
            return model(noise, timestep, text)
        return detail_forward(model, noise, timestep, text, cube_tok=CUBE, reach=REACH)

    grid = Grid(t, H_TOK, W_TOK)
    run(_noise(Grid(1, 8, 8)))
    noise = _noise(grid)
    _, peak = peak_of(lambda: run(noise))
    hidden_bytes = grid.count * CONFIG.width * 4
    return {
        "forward": forward, "grid": list(grid), "tokens": grid.count, "width": CONFIG.width,
        "layers": CONFIG.layers, "rss_before_bytes": peak.before, "rss_peak_bytes": peak.most,
        "hidden_bytes": hidden_bytes, "above_bytes": peak.most - peak.before - hidden_bytes,
    }  # fmt: skip


def _noise(grid: Grid) -> torch.Tensor:
    return torch.randn(1, 16, *(n * p for n, p in zip(grid, PATCH, strict=True)))


def figures(rows: list[dict]) -> dict[str, float]:
    """`deviation`: half the spread of the peaks above the hidden state, as a part of their middle,
    so that 0.1 is plus or minus 10 %."""
    ours = [row for row in rows if row["forward"] == "ours"]
    least, most = (pick(row["above_bytes"] for row in ours) for pick in (min, max))
    return {
        "deviation_65k_to_262k": (most - least) / (most + least),
        "most_tokens": max(row["tokens"] for row in ours),
    }


def plot(rows: list[dict], path: Path) -> None:
    from .drawing import axes, named_line, save

    title = f"Peak memory of a forward, width {CONFIG.width}, above what was held before"
    figure, ax = axes(title, "tokens", "MiB")
    for forward, name in (("ours", "AtlasVid"), ("host", "full attention, host")):
        points = [r for r in rows if r["forward"] == forward]
        if points:
            used = [(r["rss_peak_bytes"] - r["rss_before_bytes"]) / MIB for r in points]
            named_line(ax, [r["tokens"] for r in points], used, name, dashed=forward == "host")
    ours = [r for r in rows if r["forward"] == "ours"]
    above = [r["above_bytes"] / MIB for r in ours]
    named_line(ax, [r["tokens"] for r in ours], above, "AtlasVid, less\nthe hidden state")
    ax.set_xscale("log", base=2)
    sizes = sorted({r["tokens"] for r in rows})
    ax.set_xticks(sizes, [f"{n // 1024}k" for n in sizes])
    ax.set_ylim(bottom=0)
    save(figure, path)


if __name__ == "__main__":
    with torch.no_grad():
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
