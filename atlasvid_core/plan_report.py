"""A request as VideoPlan's inputs -> everything its panel shows, as plain JSON values.

The panel adds nothing of its own but the drawing: numbers are raw (bytes, tokens, seconds), words
are ready to be shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from .estimate import Job, Machine, drawing, estimate
from .plan import VideoPlan, make_plan
from .snap import Snap, snapped
from .units import Grid
from .verdict import advice, checks

MOST = {"width": 16384, "height": 16384, "frames": 4097, "proxy_height": 4096}  # VideoPlan's inputs


def plan_of(asked: Mapping[str, Any]) -> tuple[VideoPlan, tuple[Snap, ...]]:
    """VideoPlan's inputs by name -> the plan of the nearest sizes, and what was moved.

    Raises ValueError as `make_plan` does, KeyError and TypeError for inputs that are none.
    """
    sizes, moved = snapped({name: _limited(name, float(asked[name])) for name in MOST})
    plan = make_plan(
        width_px=sizes["width"], height_px=sizes["height"], frames_px=sizes["frames"],
        fps=float(asked["fps"]), r_t=float(asked["r_t"]), proxy_height_px=sizes["proxy_height"],
        cube_tok=Grid(*(int(asked[f"cube_{axis}"]) for axis in "thw")),
        reach=str(asked["reach"]), alignment=str(asked["alignment"]),
    )  # fmt: skip
    return plan, moved


def _limited(name: str, value: float) -> float:
    if not 1 <= value <= MOST[name]:
        raise ValueError(f"{name} {value:g} is out of bounds: choose 1 to {MOST[name]}.")
    return value


def report(asked: Mapping[str, Any], job: Job, machine: Machine) -> dict[str, Any]:
    """-> JSON values. Raises as `plan_of`."""
    plan, moved = plan_of(asked)
    found = estimate(plan, job, machine)
    limits = checks(found)
    return {
        "fits": all(check.fits for check in limits),
        "snapped": [asdict(snap) for snap in moved],
        "proxy_snap": _proxy_snap(plan),
        "plan": asdict(plan) | {"seconds": plan.frames_px / plan.fps},
        "tokens": {"target": plan.target_tok.count, "proxy": plan.proxy_tok.count},
        "drawing": drawing(plan),
        "ratio": {"attention": found.attention_ratio, "step": found.flops_ratio},
        "stages": [asdict(stage) for stage in found.stages],
        "seconds": found.seconds,
        "disk": asdict(found.disk),
        "chunks": str(found.chunks) if found.chunks else None,
        "checks": [asdict(check) for check in limits],
        "advice": [asdict(remedy) for remedy in advice(plan, job)],
        "job": asdict(job),
        "machine": asdict(machine),
    }


def _proxy_snap(plan: VideoPlan) -> dict[str, int] | None:
    """Of a proxy whose width is not quite the video's shape: the exact width, and the one used."""
    exact = plan.width_px * plan.proxy_height_px / plan.height_px
    if abs(exact - plan.proxy_width_px) < 0.5:
        return None
    return {"given": round(exact), "used": plan.proxy_width_px}
