"""`python -m bench NAME [--json FILE] [--quick]`: measure, judge, write. Status 1: a target missed.

A quick run is small, serves to try a bench out, and is written only where `--json` says so.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

import torch

from . import report

RESULTS = Path(__file__).resolve().parent / "results"


def main(argv: list[str] | None = None) -> int:
    known = report.thresholds()
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("name", choices=known, metavar="NAME", help=", ".join(known))
    parser.add_argument("--json", type=Path, metavar="FILE", help="instead of bench/results/")
    parser.add_argument("--quick", action="store_true", help="a small run, to try it out")
    args = parser.parse_args(argv)
    bench = importlib.import_module(f"{__package__}.{args.name}")
    torch.manual_seed(0)
    with torch.no_grad():
        rows = bench.rows(quick=args.quick)
    targets = report.judge(known[args.name], bench.figures(rows), partly=args.quick)
    print(report.table(rows), report.verdicts(targets), sep="\n\n")
    file = args.json or (None if args.quick else RESULTS / f"{args.name}.json")
    if file is not None:
        report.write(file, args.name, rows, targets, quick=args.quick)
        if hasattr(bench, "plot"):
            report.draw(bench.plot, rows, file.with_suffix(".png"))
        print(f"\nwritten to {file}")
    return 0 if all(target["ok"] for target in targets.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
