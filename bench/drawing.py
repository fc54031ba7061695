"""One look for all plots: middle greys and colours that read on light and on dark pages.

The background is transparent; lines carry their names at their ends, so there is no legend.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

WIDTH_PX, HEIGHT_PX, DPI = 1200, 720, 120  # shown at about 800
NAME_GAP_PX = 24
INK = "#808891"
COLOURS = ("#3b82c4", "#d9822b", "#3f9c5f", "#c0504d", "#8f6fc4", "#a08a3c")


def axes(title: str, x: str, y: str):
    """-> an empty figure and its axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rc("font", size=13)
    plt.rc("text", color=INK)
    plt.rc("axes", edgecolor=INK, labelcolor=INK, prop_cycle=plt.cycler(color=COLOURS))
    plt.rc("xtick", color=INK)
    plt.rc("ytick", color=INK)
    figure, ax = plt.subplots(figsize=(WIDTH_PX / DPI, HEIGHT_PX / DPI), dpi=DPI)
    ax.set(title=title, xlabel=x, ylabel=y)
    ax.grid(True, which="major", color=INK, alpha=0.25, linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.minorticks_off()
    return figure, ax


def named_line(ax, x: Sequence[float], y: Sequence[float], name: str, dashed: bool = False) -> None:
    """A line that `save` writes the name of right of its last point, in its colour."""
    ax.plot(x, y, marker="o", markersize=5, linewidth=2, ls="--" if dashed else "-", label=name)


def save(figure, path: Path) -> None:
    """Name the lines, numbers without powers of ten, write the file."""
    import matplotlib.pyplot as plt

    for ax in figure.axes:
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter("")
        _write_names(ax)
    figure.savefig(path, transparent=True, bbox_inches="tight")
    plt.close(figure)


def _write_names(ax) -> None:
    """From the lowest line up; where names would touch, the upper one moves up."""
    lines = [(line, (line.get_xdata()[-1], line.get_ydata()[-1])) for line in ax.get_lines()]
    ends = [(line, end, *ax.transData.transform(end)) for line, end in lines]
    written: list[tuple[float, float]] = []
    for line, end, x_px, y_px in sorted(ends, key=lambda e: e[3]):
        near = [at for x, at in written if abs(x - x_px) < NAME_GAP_PX]
        at = max([y_px, *(at + NAME_GAP_PX for at in near)])
        written.append((x_px, at + NAME_GAP_PX * line.get_label().count("\n")))
        ax.annotate(
            line.get_label(), end, xytext=(9, (at - y_px) * 72 / DPI), textcoords="offset points",
            va="center", color=line.get_color(), annotation_clip=False,
        )  # fmt: skip
