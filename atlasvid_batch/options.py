"""What the command line takes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

EPILOG = """\
For example, a table with the columns Prompt.text and *.seed on two servers:

  python -m atlasvid_batch prompts.csv --workflow workflows/api/t2v_4k_161f.json \\
      --server http://127.0.0.1:8188 --server http://192.168.1.20:8188

Columns: `id` and `priority` (higher first) are the batch's own; every other column sets an input of
the workflow (API format) and is named like it: `input` where one node alone has it, else
`Title.input`, `Kind.input`, `id.input`, or `*.input` for all. `--map COLUMN=ADDRESS` gives a column
with another name its input, more than once for several inputs. An empty cell of a CSV leaves the
workflow's own value.

Stop it at any time (Ctrl-C, a crash, a power cut): the same command goes on where it stood. Exit
status: 0 all done, 1 some failed, 2 a mistake in what was asked, 130 stopped."""


def at_least(least: float, kind: type) -> Callable[[str], float]:
    """A type of an option: a number of that kind, `least` or more."""

    def read(text: str) -> float:
        what = "a whole number" if kind is int else "a number"
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not value >= least:  # NaN is not, either
            raise argparse.ArgumentTypeError(f"{text!r}: give {what}, {least} or more")
        return value

    return read


def parser() -> argparse.ArgumentParser:
    out = argparse.ArgumentParser(
        prog="python -m atlasvid_batch", description=sys.modules[__package__].__doc__,
        epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    out.add_argument("table", type=Path, help="rows of prompts and settings: .csv, .tsv, .jsonl")
    out.add_argument(
        "--workflow", type=Path, required=True, help="in API format: Workflow > Export (API)"
    )
    out.add_argument(
        "--server", action="append", metavar="URL", help="more than once for several; default "
        "http://127.0.0.1:8188",
    )  # fmt: skip
    out.add_argument("--out", type=Path, help="folder of the results; default TABLE_results")
    out.add_argument(
        "--map",
        action="append",
        default=[],
        metavar="COLUMN=ADDRESS",
        help="the input that a column fills, such as prompt=Prompt.text",
    )
    out.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="ADDRESS=VALUE",
        dest="fixed",
        help="the same value in every job, such as Plan.frames=81",
    )
    out.add_argument(
        "--ignore",
        action="append",
        default=[],
        metavar="COLUMN",
        help="a column that fills no input",
    )
    out.add_argument(
        "--ahead", type=at_least(1, int), default=2, metavar="N", help="jobs given to a server at "
        "a time (2)",
    )  # fmt: skip
    out.add_argument(
        "--tries", type=at_least(1, int), default=3, metavar="N", help="tries of a job before it "
        "failed (3)",
    )  # fmt: skip
    out.add_argument(
        "--patience", type=at_least(0, float), default=300, metavar="S", help="seconds until the "
        "jobs of a server that does not answer go to others (300)",
    )  # fmt: skip
    out.add_argument("--check", action="store_true", help="only say what is wrong with the table")
    out.add_argument("--no-sheet", action="store_true", help="no contact sheet at the end")
    return out
