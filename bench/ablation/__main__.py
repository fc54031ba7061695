"""`python dev.py ablation`: make the cells that are missing, then the table, its JSON and picture.

Ctrl-C loses the cell in work at most; the same command goes on. Several processes may share the
work: `--share 1/2` and `--share 2/2` make cells only, a run without it then writes the table.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import torch

from atlasvid_core.record import write_figures

from .. import report
from ..__main__ import RESULTS
from . import CELLS
from .keeping import Keep, complete
from .kit import LORAS, Kit, Setting
from .picture import draw
from .table import figures, table, text
from .ways import chosen

WORK = Path(__file__).resolve().parents[2] / ".bench" / "ablation"


def main(argv: list[str] | None = None) -> int:
    args = parsed(argv)
    sizes = Setting.small() if args.quick else Setting()
    setting = dataclasses.replace(sizes, steps=args.steps or sizes.steps)
    numbers = range(args.share[0] - 1, args.cells, args.share[1])
    try:
        rows = chosen(args.rows)
        with torch.no_grad():
            kit = Kit(args.loras, setting)
            cells = complete(Keep(args.work, kit), rows, numbers)
    except ValueError as error:
        print(f"dev.py: ablation: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    if args.share[1] > 1:
        return 0
    told = table(rows, cells, kit)
    print(text(told))
    targets = {}
    if args.rows is None:
        targets = report.judge(report.thresholds()["ablation"], figures(told))
        print(report.verdicts(targets))
        sampled = {
            "steps": setting.steps, "cells": told[0]["cells"], "size": size(setting),
            "cube": list(kit.setting.cube_tok),
            "lora_steps": {role: facts.steps for role, facts in kit.facts.items()},
        }  # fmt: skip
        write_figures(args.json, told, targets, bench="ablation", quick=args.quick, **sampled)
    picture = args.json.with_suffix(".png")
    report.draw(lambda rows, path: draw(rows, args.work, args.picture, path), told, picture)
    print(f"\nwritten to {args.json.parent}")
    return 0 if all(target["ok"] for target in targets.values()) else 1


def size(setting: Setting) -> str:
    return f"{setting.side_px}x{setting.side_px}x{setting.frames_px}"


def share(text: str) -> tuple[int, int]:
    try:
        number, count = (int(part) for part in text.split("/"))
    except ValueError:
        number = count = 0
    if not 1 <= number <= count:
        raise argparse.ArgumentTypeError(f"{text!r} is no share: write 1/2 and 2/2, for example")
    return number, count


def parsed(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="dev.py ablation", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--cells", type=int, default=CELLS, help="scenes, each with its own noise")
    parser.add_argument("--steps", type=int, help=f"of Euler, by default {Setting.steps}")
    parser.add_argument("--rows", metavar="A,B", help="these alone; then no JSON is written")
    parser.add_argument("--share", type=share, default=(1, 1), metavar="I/N")
    parser.add_argument("--quick", action="store_true", help="small videos, to try it out")
    parser.add_argument("--loras", type=Path, default=LORAS, metavar="DIR")
    parser.add_argument("--work", type=Path, default=WORK, metavar="DIR", help="where cells lie")
    parser.add_argument("--json", type=Path, default=RESULTS / "ablation.json", metavar="FILE")
    parser.add_argument("--picture", type=int, default=0, help="the scene that the picture shows")
    args = parser.parse_args(argv)
    if args.quick and args.json == RESULTS / "ablation.json":
        args.json = args.work / "quick" / "ablation.json"
    return args


if __name__ == "__main__":
    sys.exit(main())
