"""`python -m atlasvid_core.cost_table W H F`: what a size costs on this machine, stage by stage.

One row for full attention and one for each reach; the proxy's and the guide's rows are the same
for every reach. Sizes in bytes are those of bfloat16, seconds those of a measured `Calibration`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from .attention.mask import REACHES
from .cost import FULL, Calibration, Cost, calibrate, detail_cost, guide_cost, proxy_cost
from .plan import CUBE_TOK, VideoPlan, make_plan
from .record import device_name, write_figures
from .units import PX_MULTIPLE, Grid
from .wan.dit import WanConfig

MODELS = {
    "1.3b": WanConfig(),
    "14b": WanConfig(5120, 13824, 40),
    "tiny": WanConfig(128, 512, 6),
}
TINY_CUBE_TOK = Grid(1, 2, 2)
GIB = 2**30
COLUMNS = ("stage", "tokens", "FLOPs", "attention fewer", "fewer", "peak GiB", "seconds")


def plan_for(model: str, width_px: int, height_px: int, frames_px: int) -> VideoPlan:
    """The default plan for a model: a proxy of 480 px, of half the height for small videos and
    the tiny model, which has smaller cubes, too. Raises ValueError as `make_plan` does."""
    tiny = model == "tiny"
    half_px = max(PX_MULTIPLE, height_px // 2 // PX_MULTIPLE * PX_MULTIPLE)
    return make_plan(
        width_px=width_px,
        height_px=height_px,
        frames_px=frames_px,
        proxy_height_px=half_px if tiny or height_px < 480 else 480,
        cube_tok=TINY_CUBE_TOK if tiny else CUBE_TOK,
    )


def rows_of(plan: VideoPlan, config: WanConfig, machine: Calibration) -> list[dict]:
    """-> raw figures: full attention, stage 1, the guide, stage 2 at every reach."""
    full = detail_cost(plan, config, FULL)
    stages = {
        "full attention": full,
        "stage 1, proxy": proxy_cost(plan, config),
        "guide (once)": guide_cost(plan, config),
        **{f"stage 2, {reach}": detail_cost(plan, config, reach) for reach in REACHES},
    }
    return [_row(name, cost, full, machine) for name, cost in stages.items()]


def _row(name: str, cost: Cost, full: Cost, machine: Calibration) -> dict:
    return {
        "stage": name,
        "tokens": cost.tokens,
        "flops": cost.flops.total,
        "flops_by_kind": asdict(cost.flops),
        "attention_times_fewer": full.flops.attention / cost.flops.attention,
        "times_fewer": full.flops.total / cost.flops.total,
        "peak_device_bytes": cost.memory.device_bytes,
        "memory_bytes": asdict(cost.memory),
        "traffic_bytes": cost.traffic_bytes,
        "seconds": cost.seconds(machine),
    }


def table(rows: list[dict]) -> str:
    lines = [COLUMNS]
    for row in rows:
        cells = (
            f"{row['tokens']:,}", f"{row['flops']:.3g}", f"{row['attention_times_fewer']:,.1f} x",
            f"{row['times_fewer']:,.1f} x", f"{row['peak_device_bytes'] / GIB:,.2f}",
            f"{row['seconds']:,.3g}" if row["seconds"] < 1000 else f"{row['seconds']:,.0f}",
        )  # fmt: skip
        lines.append((row["stage"], *cells))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0])] + [c.rjust(w) for c, w in zip(line[1:], widths[1:])])
        for line in lines
    )


def device_here() -> torch.device:
    """-> the accelerator if there is one, else the CPU."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return found or torch.device("cpu")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="cost_table", description=__doc__)
    parser.add_argument("size", type=int, nargs=3, metavar=("W", "H", "F"))
    parser.add_argument("--model", choices=MODELS, default="1.3b")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    try:
        plan = plan_for(args.model, *args.size)
    except ValueError as error:
        print(f"dev.py: cost: {error}", file=sys.stderr)
        return 1
    machine = calibrate(device_here())
    rows = rows_of(plan, MODELS[args.model], machine)
    proxy = f"{plan.proxy_width_px} x {plan.proxy_height_px} px, {plan.proxy_frames_px} frames"
    print(
        f"Wan2.1 {args.model}, {plan.width_px} x {plan.height_px} px, {plan.frames_px} frames "
        f"({plan.target_tok} tokens); proxy {proxy} ({plan.proxy_tok}).\n"
        "Per denoising step (stage 1: two forwards, for guidance), against full attention by one "
        f"forward; bytes in bfloat16.\nSeconds on {device_name()}: "
        f"{machine.flops_per_second / 1e12:.3g} TFLOP/s, {machine.bytes_per_second / 1e9:.3g} GB/s."
        f"\n\n{table(rows)}"
    )
    if args.json:
        more = {"calibration": asdict(machine), "model": args.model, "plan": asdict(plan)}
        write_figures(args.json, rows, targets={}, **more)
    return 0


if __name__ == "__main__":
    sys.exit(main())
