"""The least change that makes a job fit a machine.

Found by trying, with the cost model alone: switches of other nodes, which cost the video nothing;
then losses, each alone and together with switches, the first that fits: a smaller proxy, at least
half the length, at least half the sides, or two of them; then whatever keeps most of the video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any

from .estimate import Job
from .plan import VideoPlan, make_plan
from .sayings import Values, said
from .units import PX_MULTIPLE, VAE_STRIDE

LEAST_PROXY_PX = 240
HALF_SIDES, SMALL_SIDES = (1 / 2, 2 / 3, 3 / 4), (1 / 4, 1 / 3)  # of a smaller frame
COARSE = 4  # values tried of the first of two losses
LOSSES = (  # kinds of `choices`, one or two at once; of a group that which keeps the most
    [("proxy",)],
    [("frames",)],
    [("size",)],
    [("proxy", "frames"), ("proxy", "size"), ("size", "frames")],
    [("short",), ("small",), ("size", "short"), ("small", "frames"), ("small", "short")],
)
PLAN, GUIDE, PATCH, SAMPLER = (
    f"AtlasVid{name}"
    for name in ("Plan", "ScaledRoPEAligner", "LocalityPreservingPatch", "DetailJointSampler")
)
Inputs = dict[str, int]
Loss = tuple[str, ...]
Fits = Callable[..., bool]  # of a plan and a `job`


@dataclass(frozen=True)
class Remedy:
    """What to do, in words; the `inputs` of the node (its id) that do it, if any do."""

    text: str
    inputs: tuple[tuple[str, str | int | bool], ...] = ()
    node: str = PLAN
    key: str = ""  # of sayings.TEXTS, and what stands in it
    values: Values = ()


@dataclass(frozen=True)
class Switch:
    """An input of another node, and what it changes of the job."""

    remedy: Remedy
    changes: tuple[tuple[str, Any], ...]


def remedies(plan: VideoPlan, job: Job, fits: Fits) -> tuple[Remedy, ...]:
    """What makes it fit, to be done together; empty where nothing that is tried does."""
    every = switches(job)
    alone = [(switch,) for switch in every]
    pairs = list(combinations(every, 2))
    for some in (*alone, *pairs):
        if fits(plan, switched(job, some)):
            return tuple(switch.remedy for switch in some)
    for losses in LOSSES:
        for some in ((), *alone, *pairs):
            inputs = least(plan, losses, partial(fits, job=switched(job, some)))
            if inputs:
                done = tuple(switch.remedy for switch in some)
                return (*done, smaller(inputs, "also_smaller" if some else "smaller"))
    return ()


def of_plan(plan: VideoPlan, job: Job, fits: Fits) -> Remedy | None:
    """What makes it fit by the plan alone, for a workflow that lacks the other nodes."""
    for losses in LOSSES:
        inputs = least(plan, losses, partial(fits, job=job))
        if inputs:
            return smaller(inputs, "or_smaller")
    return None


def smaller(inputs: Inputs, key: str) -> Remedy:
    *most, last = (f"{name} {value}" for name, value in inputs.items())
    named = f"{', '.join(most)} and {last}" if most else last
    return Remedy(**said(key, inputs=named), inputs=tuple(inputs.items()))


def switches(job: Job) -> tuple[Switch, ...]:
    """What other nodes can do for this job without a loss; nothing they do already."""

    def switch(key: str, node: str, inputs: dict[str, Any], **changes: int | bool) -> Switch:
        remedy = Remedy(**said(key), inputs=tuple(inputs.items()), node=node)
        return Switch(remedy, tuple(changes.items()))

    known = (
        switch("to_file", PLAN, {}, images=False),
        switch("guide_on_disk", GUIDE, {"store": "disk"}, guide_on_disk=True),
        switch("budget", PATCH, {"memory_budget": 0}, memory_budget_bytes=0),
        switch("keep_steps", SAMPLER, {"keep_steps": False}, keep_steps=False),
    )
    return tuple(some for some in known if switched(job, (some,)) != job)


def switched(job: Job, some: Sequence[Switch]) -> Job:
    changes: dict[str, Any] = dict(pair for switch in some for pair in switch.changes)
    return replace(job, **changes)


def least(plan: VideoPlan, losses: Sequence[Loss], fits: Callable[[VideoPlan], bool]) -> Inputs:
    """The inputs of VideoPlan that fit and keep the most; empty where none of these losses do."""
    found = [inputs for loss in losses for inputs in _fitting(plan, loss, fits)]
    return max(found, key=lambda inputs: kept(plan, inputs), default={})


def _fitting(plan: VideoPlan, loss: Loss, fits: Callable[[VideoPlan], bool]) -> Iterator[Inputs]:
    """Of one kind the least that fits; of two the least of the second beside some of the first."""
    *one_of_two, last = (choices(plan, kind) for kind in loss)
    first: list[Inputs] = one_of_two[0] if one_of_two else [{}]

    def fit(inputs: Inputs) -> bool:
        return fits(changed(plan, **inputs))

    if not (first and last and fit(_both(first[0], last[0]))):
        return
    for one in first[:: -max(1, len(first) // COARSE)]:
        best = _last([_both(one, other) for other in last], fit)
        if best:
            yield best


def choices(plan: VideoPlan, kind: str) -> list[Inputs]:
    """Values of one kind of loss, the greatest loss first."""
    lengths = range(1, plan.frames_px, VAE_STRIDE.t)
    half = len(lengths) // 2
    if kind == "proxy":
        low = min(plan.proxy_height_px, LEAST_PROXY_PX)
        return [{"proxy_height": h} for h in range(low, plan.proxy_height_px, PX_MULTIPLE)]
    if kind == "frames":  # at least half as long
        return [{"frames": frames} for frames in lengths[half:]]
    if kind == "short":
        return [{"frames": frames} for frames in lengths[:half]]
    return list(_sizes(plan, HALF_SIDES if kind == "size" else SMALL_SIDES))


def _sizes(plan: VideoPlan, parts: Sequence[float]) -> Iterator[Inputs]:
    """Smaller frames of the same shape, and a proxy that is no larger than they are."""
    for part in parts:
        sides = {"width": plan.width_px, "height": plan.height_px}
        inputs = {k: _multiple(v * part) for k, v in sides.items()}
        if inputs["height"] < plan.proxy_height_px:
            inputs["proxy_height"] = inputs["height"]
        yield inputs


def _both(one: Inputs, other: Inputs) -> Inputs:
    return {**one, **{k: min(v, one.get(k, v)) for k, v in other.items()}}


def kept(plan: VideoPlan, inputs: Inputs) -> float:
    """What is left of the video's tokens and of the proxy's, as one part of 1."""
    new = changed(plan, **inputs)
    target = new.target_tok.count / plan.target_tok.count
    return target * new.proxy_height_px / plan.proxy_height_px


def _multiple(side_px: float) -> int:
    return max(PX_MULTIPLE, PX_MULTIPLE * int(side_px / PX_MULTIPLE + 0.5))


def _last(values: Sequence[Inputs], good: Callable[[Inputs], bool]) -> Inputs | None:
    """The last that is good, where all before it are good too."""
    if not values or not good(values[0]):
        return None
    low, high = 1, len(values)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if good(values[middle]) else (low, middle)
    return values[low - 1]


def changed(plan: VideoPlan, **inputs: int) -> VideoPlan:
    """The plan with other `width`, `height`, `frames` or `proxy_height`; the rest follows."""
    sizes = {
        "width": plan.width_px, "height": plan.height_px, "frames": plan.frames_px,
        "proxy_height": plan.proxy_height_px, **inputs,
    }  # fmt: skip
    return make_plan(
        **{f"{name}_px": value for name, value in sizes.items()}, fps=plan.fps, r_t=plan.r_t,
        cube_tok=plan.cube_tok, reach=plan.reach, alignment=plan.alignment,
    )  # fmt: skip
