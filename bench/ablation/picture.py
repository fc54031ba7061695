"""The table as a picture: one tile a row, its frames of one scene over its figures."""

from __future__ import annotations

from pathlib import Path

from matplotlib.image import imread

from ..drawing import INK
from .keeping import STILLS

COLUMNS = 4
TILE_IN, GAP_IN, TEXT_IN, DPI = 2.9, 0.1, 0.72, 100  # 1200 pixels wide


def draw(rows: list[dict], folder: Path, number: int, path: Path) -> None:
    """The middle frames of scene `number`, from the stills that lie in `folder`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    lines = -(-len(rows) // COLUMNS)
    wide, high = COLUMNS * (TILE_IN + GAP_IN), lines * (TILE_IN + GAP_IN + TEXT_IN)
    figure = plt.figure(figsize=(wide, high), dpi=DPI)
    for place, row in enumerate(rows):
        line, column = divmod(place, COLUMNS)
        left = column * (TILE_IN + GAP_IN) + GAP_IN / 2
        top = high - line * (TILE_IN + GAP_IN + TEXT_IN) - TEXT_IN
        ax = figure.add_axes((left / wide, (top - TILE_IN) / high, TILE_IN / wide, TILE_IN / high))
        ax.set_axis_off()
        strip = imread(folder / row["row"] / f"{number:03d}.png")
        side = strip.shape[1] // len(STILLS)
        ax.imshow(strip[:, side : 2 * side], aspect="auto")
        ax.set_title(f"{row['title']}\n{caption(row)}", fontsize=10.5, color=INK, loc="left")
    figure.savefig(path, transparent=True)
    plt.close(figure)


def caption(row: dict) -> str:
    return (
        f"one hero {row['one_hero']:.0%}, to proxy {row['psnr_to_proxy_db']:.1f} dB\n"
        f"fine energy {row['fine_energy']:.2f}, edge error {row['edge_error']:.2f}"
    )
