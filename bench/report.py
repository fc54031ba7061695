"""From rows to a verdict: thresholds, targets, tables, files written beside and renamed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from atlasvid_core.record import write_figures

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TARGETS = Path(__file__).resolve().parent / "targets.toml"


def thresholds(file: Path = TARGETS) -> dict[str, dict[str, dict[str, float]]]:
    """Bench -> name of a figure -> {"min": x} or {"max": x}."""
    return tomllib.loads(file.read_text(encoding="utf-8"))


def holds(value: float, target: dict[str, float]) -> bool:
    """Whether a figure keeps its threshold, given as {"min": x}, {"max": x} or both; NaN never."""
    return target.get("min", value) <= value <= target.get("max", value)


def judge(
    wanted: dict[str, dict[str, float]], figures: dict[str, float], partly: bool = False
) -> dict[str, dict]:
    """-> name -> {"value", "target", "ok"} of every threshold.

    `partly`: figures that a quick run can't give are left out. Otherwise a threshold without a
    figure is a KeyError, as a misspelt name must not pass for a kept target.
    """
    return {
        name: {"value": figures[name], "target": target, "ok": holds(figures[name], target)}
        for name, target in wanted.items()
        if name in figures or not partly
    }


def write(file: Path, name: str, rows: list[dict], targets: dict, quick: bool) -> None:
    write_figures(file, rows, targets, bench=name, quick=quick)


def draw(plot: Callable[[list[dict], Path], None], rows: list[dict], file: Path) -> None:
    part = file.with_name(f"{file.stem}.part{file.suffix}")  # matplotlib reads the format off it
    plot(rows, part)
    part.replace(file)


def verdicts(targets: dict[str, dict]) -> str:
    lines = []
    for name, target in targets.items():
        bound = ", ".join(f"{side} {limit:g}" for side, limit in target["target"].items())
        lines.append(
            f"{'ok    ' if target['ok'] else 'MISSED'}  {name} = {target['value']:.4g} ({bound})"
        )
    return "\n".join(lines) or "no target applies to these rows"


def table(rows: list[dict]) -> str:
    """Rows of the same keys under one heading, in columns; lists of raw times are left out."""
    out: list[str] = []
    keys: tuple[str, ...] = ()
    lines: list[list[str]] = []
    for row in rows:
        shown = {k: v for k, v in row.items() if not (isinstance(v, list) and k.endswith("runs"))}
        if tuple(shown) != keys:
            out += _columns(lines)
            keys, lines = tuple(shown), [list(shown)]
        lines.append([_cell(value) for value in shown.values()])
    return "\n".join(out + _columns(lines))


def _cell(value) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "x".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _columns(lines: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines)]
    return ["  ".join(c.rjust(w) for c, w in zip(line, widths)) for line in lines]
