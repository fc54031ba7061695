"""Whether a job fits a machine, and where it does not, the least change that makes it fit.

A remedy is found by trying: each candidate changes the job or the plan a little more than the one
before, and the first whose estimate no longer fails is named, with the node and its inputs that
bring it about. Every text comes with its key in TEXTS and its values, for other languages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from .estimate import Disk, Estimate, Job, Machine, estimate, host_need
from .plan import VideoPlan, make_plan
from .units import PX_MULTIPLE, VAE_STRIDE

GIB = 2**30
WAN_FRAMES = 81  # what Wan2.1 was trained on
LEAST_PROXY_PX = 240
SHORTER = (0.0, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4)  # sides tried for a smaller frame
NAMES = {
    "proxy": "Stage 1", "guide": "The guide", "enlarge": "The encode", "detail": "Stage 2",
    "decode": "The decode",
}  # fmt: skip
PLAN, GUIDE, PATCH, SAMPLER = (
    f"AtlasVid{name}"
    for name in ("Plan", "ScaledRoPEAligner", "LocalityPreservingPatch", "DetailJointSampler")
)
TEXTS = {
    "host": "{stage} needs {need} of memory",
    "device": "{stage} needs {need} of VRAM above the weights",
    "offload": "{stage} leaves no room for all weights: some wait in RAM, which is slower",
    "disk": "ComfyUI's {folder} folder needs {need}, {have} are free",
    "proxy_frames": "The proxy has {frames} frames; Wan2.1 was trained on {trained}. "
    "r_t {r_t} brings it there.",
    "to_file": "Decode with TiledVAEDecodeToVideo, which holds a few frames at a time",
    "guide_on_disk": "Set store of ScaledRoPEAligner to disk",
    "budget": "Set memory_budget of LocalityPreservingPatch to 0 (automatic)",
    "keep_steps": "Set keep_steps of DetailJointSampler to false",
    "smaller": "With {inputs} it would fit",
    "free_disk": "Free some space in ComfyUI's {folder} folder, or make a smaller video",
    "weights": "The model's weights alone take {need}: choose a smaller model, or fp8 files",
    "least": "Choose a smaller or shorter video, or a smaller model",
}
Values = tuple[tuple[str, str | int], ...]


@dataclass(frozen=True)
class Remedy:
    """What to do, in words; the `inputs` of the node (its id) that do it, if any do."""

    text: str
    inputs: tuple[tuple[str, str | int | bool], ...] = ()
    node: str = PLAN
    key: str = ""  # of TEXTS, and what stands in it
    values: Values = ()


@dataclass(frozen=True)
class Check:
    """One limit of the machine: bytes needed at most, bytes there. `stage`: where the most is."""

    name: str  # device, host, output, temp
    stage: str
    need_bytes: int
    have_bytes: int
    fits: bool
    text: str = ""  # what is wrong, or worth knowing
    key: str = ""
    values: Values = ()
    remedy: Remedy | None = None


def checks(found: Estimate) -> tuple[Check, ...]:
    """Every limit, in the order a panel shows them; those that fail carry a remedy."""
    return tuple(
        check if check.fits else replace(check, remedy=_remedy(found, check.name))
        for check in _measured(found)
    )


def advice(plan: VideoPlan) -> tuple[Remedy, ...]:
    """What fits but is likely not wanted."""
    if plan.proxy_frames_px <= WAN_FRAMES:
        return ()
    r_t = -(-(plan.frames_px - 1) // (WAN_FRAMES - 1))
    told = _said("proxy_frames", frames=plan.proxy_frames_px, trained=WAN_FRAMES, r_t=r_t)
    return (Remedy(**told, inputs=(("r_t", r_t),)),)


def _said(key: str, **values: str | int) -> dict[str, Any]:
    """The fields that a text takes: in English, and as key and values."""
    shown = {k: NAMES[str(v)] if k == "stage" else v for k, v in values.items()}
    return {"text": TEXTS[key].format(**shown), "key": key, "values": tuple(values.items())}


def _measured(found: Estimate) -> Iterator[Check]:
    machine = found.machine
    if not machine.shared:
        yield _device(found)
    stage = max(found.stages, key=lambda stage: host_need(stage, machine))
    need = host_need(stage, machine)
    short = machine.shared and found.problem
    fits = need <= machine.host_bytes and not short
    told = {} if fits else _said("host", stage=stage.name, need=_gib(need))
    yield Check("host", stage.name, need, machine.host_bytes, fits, **told)
    yield from _disks(found.disk, machine)


def _device(found: Estimate) -> Check:
    """Weights may wait in host memory, so what must fit is the work above them."""
    have = found.machine.device_bytes
    stage = max(found.stages, key=lambda stage: stage.device_bytes - stage.weight_bytes)
    above = stage.device_bytes - stage.weight_bytes
    most = max(found.stages, key=lambda stage: stage.device_bytes)
    if above > have or found.problem:
        name = "detail" if found.problem else stage.name
        told = _said("device", stage=name, need=_gib(above))
        return Check("device", stage.name, stage.device_bytes, have, False, **told)
    told = _said("offload", stage=most.name) if most.device_bytes > have else {}
    return Check("device", most.name, most.device_bytes, have, True, **told)


def _disks(disk: Disk, machine: Machine) -> Iterator[Check]:
    for name, need, have in (
        ("output", disk.output, machine.output_free_bytes),
        ("temp", disk.temp, machine.temp_free_bytes),
    ):
        fits = need <= have
        told = {} if fits else _said("disk", folder=name, need=_gib(need), have=_gib(have))
        yield Check(name, "decode", need, have, fits, **told)


def _remedy(found: Estimate, name: str) -> Remedy:
    """The first candidate with which this check no longer fails."""

    def fits(plan: VideoPlan, job: Job) -> bool:
        tried = estimate(plan, job, found.machine)
        return all(check.fits for check in _measured(tried) if check.name == name)

    plan, job = found.plan, found.job
    for remedy, other in _other_nodes(job):
        if fits(plan, other):
            return remedy
    for inputs in _smaller(plan, lambda p: fits(p, job)):
        named = " and ".join(f"{k} {v}" for k, v in inputs.items())
        return Remedy(**_said("smaller", inputs=named), inputs=tuple(inputs.items()))
    if name in ("output", "temp"):
        return Remedy(**_said("free_disk", folder=name))
    weights = max(stage.weight_bytes for stage in found.stages)
    if name == "host" and weights > found.machine.host_bytes:
        return Remedy(**_said("weights", need=_gib(weights)))
    return Remedy(**_said("least"))


def _other_nodes(job: Job) -> Iterator[tuple[Remedy, Job]]:
    def do(key: str, node: str, **inputs: str | int | bool) -> Remedy:
        return Remedy(**_said(key), inputs=tuple(inputs.items()), node=node)

    if job.images:
        job = replace(job, images=False)
        yield Remedy(**_said("to_file")), job
    if not job.guide_on_disk:
        yield do("guide_on_disk", GUIDE, store="disk"), replace(job, guide_on_disk=True)
    if job.memory_budget_bytes:
        job = replace(job, memory_budget_bytes=0)
        yield do("budget", PATCH, memory_budget=0), job
    if job.keep_steps:
        yield do("keep_steps", SAMPLER, keep_steps=False), replace(job, keep_steps=False)


def _smaller(plan: VideoPlan, fits: Callable[[VideoPlan], bool]) -> Iterator[dict[str, int]]:
    """What fits, the least loss first: a smaller proxy, a video at least half as long, a smaller
    frame, a short video."""
    least = min(plan.proxy_height_px, LEAST_PROXY_PX)
    lengths = range(1, plan.frames_px, VAE_STRIDE.t)
    half = len(lengths) // 2
    for key, values in (
        ("proxy_height", range(least, plan.proxy_height_px, PX_MULTIPLE)),
        ("frames", lengths[half:]),
        ("size", range(1, len(SHORTER))),
        ("frames", lengths[:half]),
    ):

        def inputs(value: int, key=key) -> dict[str, int]:
            return _size(plan, value) if key == "size" else {key: value}

        best = _largest(values, lambda value: fits(changed(plan, **inputs(value))))
        if best is not None:
            yield inputs(best)


def _size(plan: VideoPlan, part: int) -> dict[str, int]:
    """Width and height times SHORTER[part], and a proxy that is no larger."""
    sides = {"width": plan.width_px, "height": plan.height_px}
    small = {k: _multiple(v * SHORTER[part]) for k, v in sides.items()}
    if small["height"] < plan.proxy_height_px:
        small["proxy_height"] = small["height"]
    return small


def _multiple(side_px: float) -> int:
    return max(PX_MULTIPLE, PX_MULTIPLE * int(side_px / PX_MULTIPLE + 0.5))


def _largest(values: range, good: Callable[[int], bool]) -> int | None:
    """The largest value that is good, where all below it are good too."""
    low, high = 0, len(values)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if good(values[middle]) else (low, middle)
    return values[low - 1] if low else None


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


def _gib(count: int) -> str:
    return f"{count / GIB:,.1f} GiB"
