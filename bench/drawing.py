"""One look for all plots: middle greys and colours that read on light and on dark pages.

The background is transparent; lines carry their names at their ends, so there is no legend.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

WIDTH_PX, HEIGHT_PX = 1200, 720  # shown at about 800
INK = "#808891"
COLOURS = ("#3b82c4", "#d9822b", "#3f9c5f", "#c0504d", "#8f6fc4", "#a08a3c")


def axes(title: str, x: str, y: str):
    """-> an empty figure and its axes."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {"font.size": 13, "axes.edgecolor": INK, "text.color": INK, "axes.labelcolor": INK}
        | {"xtick.color": INK, "ytick.color": INK, "axes.prop_cycle": plt.cycler(color=COLOURS)}
    )
    figure, ax = plt.subplots(figsize=(WIDTH_PX / 120, HEIGHT_PX / 120), dpi=120)
    ax.set(title=title, xlabel=x, ylabel=y)
    ax.grid(True, which="major", color=INK, alpha=0.25, linewidth=0.8)
    ax.spines[["top", "right"]].set_visible(False)
    ax.minorticks_off()
    return figure, ax


def named_line(ax, x: Sequence[float], y: Sequence[float], name: str, dashed: bool = False) -> None:
    """A line with its name right of its last point, in its colour."""
    (line,) = ax.plot(x, y, marker="o", markersize=5, linewidth=2, ls="--" if dashed else "-")
    ax.annotate(
        name, (x[-1], y[-1]), xytext=(9, 0), textcoords="offset points", va="center",
        color=line.get_color(), annotation_clip=False,
    )  # fmt: skip


def save(figure, path: Path) -> None:
    import matplotlib.pyplot as plt

    figure.savefig(path, transparent=True, bbox_inches="tight")
    plt.close(figure)
