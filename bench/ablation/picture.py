"""The table as a picture: one tile a row, its frames of one scene over its figures."""

from __future__ import annotations

from pathlib import Path

from matplotlib.image import imread

from ..drawing import INK
from .keeping import STILLS

COLUMNS = 4
TILE_IN, TEXT_IN, DPI = 3.0, 0.85, 100  # 1200 pixels wide


def draw(rows: list[dict], folder: Path, number: int, path: Path) -> None:
    """The middle frames of scene `number`, from the stills that lie in `folder`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    lines = -(-len(rows) // COLUMNS)
    size = (COLUMNS * TILE_IN, lines * (TILE_IN + TEXT_IN))
    figure, axes = plt.subplots(lines, COLUMNS, figsize=size, dpi=DPI, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, row in zip(axes.flat, rows):
        strip = imread(folder / row["row"] / f"{number:03d}.png")
        side = strip.shape[1] // len(STILLS)
        ax.imshow(strip[:, side : 2 * side], interpolation="none")
        ax.set_title(f"{row['title']}\n{caption(row)}", fontsize=10.5, color=INK, loc="left")
    figure.subplots_adjust(0.005, 0.005, 0.995, 0.955, wspace=0.03, hspace=0.24)
    figure.savefig(path, transparent=True)
    plt.close(figure)


def caption(row: dict) -> str:
    return (
        f"one hero {row['one_hero']:.0%}, to proxy {row['psnr_to_proxy_db']:.1f} dB\n"
        f"fine energy {row['fine_energy']:.2f}, error {row['structure_error']:.2f}"
    )
