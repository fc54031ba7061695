"""Cells -> the table: a mean and its interval for each measure of each row; and the targets'
figures, from the table alone."""

from __future__ import annotations

from collections.abc import Sequence

from atlasvid_core.lora_metadata import contradictions
from atlasvid_core.metrics.intervals import bootstrap, paired

from .judging import MEASURES
from .keeping import Cells
from .kit import Kit
from .ways import Row, Stage2, Way

SHOWN = {
    "one_hero": "one hero", "hero_as_told": "as told", "psnr_to_proxy_db": "dB to proxy",
    "borders": "borders", "fine_energy": "fine energy", "structure_error": "structure error",
    "edge_error": "edge error",
    "flicker": "flicker", "seconds": "seconds",
}  # fmt: skip
LOCAL = ("full", "plane", "all")  # reach faces, plane, all: neighbours are seen
METHODS = ("full", "full_start")  # from pure noise, as the paper; as the nodes do by default


def table(rows: Sequence[Row], cells: Cells, kit: Kit) -> list[dict]:
    """One dict a row, over the numbers that all rows have; `*_runs` holds the cells' own figures.

    `unlike_training`: what of the row its LoRAs have not seen.

    Raises ValueError where no number has all rows.
    """
    numbers = sorted(set.intersection(*(set(cells[row.name]) for row in rows)))
    if not numbers:
        raise ValueError("no scene was made by all rows: nothing can be compared yet.")
    return [
        {
            "row": row.name,
            "title": row.title,
            "way": repr(row.way),
            "cells": len(numbers),
            "unlike_training": unlike_training(row.way, kit),
        }  # fmt: skip
        | _figures(cells[row.name], numbers)
        for row in rows
    ]


def unlike_training(way: Way, kit: Kit) -> list[str]:
    if not isinstance(way, Stage2):
        return []
    plan = kit.setting.plan(way.reach, way.alignment)
    known = [(role, kit.facts[role]) for role in way.loras]
    return [f"{role} LoRA: {x}" for role, facts in known for x in contradictions(facts, plan, role)]


def _figures(by_number: dict[int, dict[str, float]], numbers: list[int]) -> dict:
    out: dict = {}
    for measure in MEASURES:
        values = [float(f"{by_number[n][measure]:.5g}") for n in numbers]
        mean, low, high = bootstrap(values)
        out |= {measure: mean, f"{measure}_interval": [round(low, 4), round(high, 4)]}
        out[f"{measure}_runs"] = values
    return out


def figures(rows: list[dict]) -> dict[str, float]:
    """What bench/targets.toml holds thresholds for; differences are paired by cell."""
    by = {row["row"]: row for row in rows}
    out = {"worst_borders_with_neighbours": max(by[name]["borders"] for name in LOCAL)}
    for name in METHODS:
        out |= _held(by, name)
    return out


def _held(by: dict[str, dict], name: str) -> dict[str, float]:
    """The method's figures, from the row of this name."""
    row, no_proxy, bicubic, truth = (by[n] for n in (name, "no_proxy", "bicubic", "truth"))

    def over(measure: str, other: dict):
        return paired(row[f"{measure}_runs"], other[f"{measure}_runs"])

    heroes = row["one_hero"]
    told = {
        "one_hero": heroes,
        "psnr_to_proxy_db": row["psnr_to_proxy_db"],
        "psnr_over_no_proxy_db": over("psnr_to_proxy_db", no_proxy).mean,
        "fine_energy": row["fine_energy"],
        "fine_energy_over_truth_through_vae": row["fine_energy"] / truth["fine_energy"],
        "structure_error_over_bicubic_high": over("structure_error", bicubic).high,
        "edge_error_over_bicubic_high": over("edge_error", bicubic).high,
    }
    share = no_proxy["one_hero"] / heroes if heroes else 1.0  # 0 of 0 is no fewer
    out = {f"{name}_{measure}": value for measure, value in told.items()}
    return out | {f"no_proxy_heroes_over_{name}": share}


def text(rows: list[dict]) -> str:
    """The table for a terminal: means, and intervals beneath."""
    width = max(len(row["title"]) for row in rows)
    lines = [f"{'':{width}}  " + "  ".join(f"{name:>15}" for name in SHOWN.values())]
    for row in rows:
        means = [f"{row[m]:.3g}" for m in SHOWN]
        ends = ["{:.3g} to {:.3g}".format(*row[f"{m}_interval"]) for m in SHOWN]
        lines.append(f"{row['title']:{width}}  " + "  ".join(f"{x:>15}" for x in means))
        lines.append(f"{'':{width}}  " + "  ".join(f"{x:>15}" for x in ends))
    return "\n".join(lines)
