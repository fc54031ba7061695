"""Whether a job fits a machine, and where it does not, what would make it fit (`remedy`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .estimate import Disk, Estimate, Job, Machine, estimate, host_need
from .plan import VideoPlan, frames_of_proxy
from .remedy import PLAN, Remedy, of_plan, remedies
from .sayings import Values, gib, said

WAN_FRAMES = 81  # what Wan2.1 was trained on
FEW = 3 / 4  # of the frames that a proxy could have: fewer are worth a word


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
    remedies: tuple[Remedy, ...] = ()  # to be done together
    instead: Remedy | None = None  # by the plan alone, where they take other nodes


def checks(found: Estimate) -> tuple[Check, ...]:
    """Every limit, in the order a panel shows them; those that fail carry remedies."""
    limits = tuple(_measured(found))
    safe = {check.name for check in limits if check.fits}
    return tuple(check if check.fits else _remedied(check, found, safe) for check in limits)


def advice(plan: VideoPlan, job: Job) -> tuple[Remedy, ...]:
    """What fits but is likely not wanted: a proxy longer than Wan2.1 knows, or, made by stage 1
    without a LoRA for stretched time, one that could be longer."""
    frames, r_t = plan.proxy_frames_px, max(1, -(-(plan.frames_px - 1) // (WAN_FRAMES - 1)))
    better = frames_of_proxy(plan.frames_px, r_t)
    bare = job.proxy_steps > 0 and not job.stage1_lora
    if frames > WAN_FRAMES:
        told = said("proxy_frames", frames=frames, trained=WAN_FRAMES, r_t=r_t)
    elif bare and frames < FEW * better:
        told = said(
            "short_proxy", now=f"{plan.r_t:g}", frames=frames, trained=WAN_FRAMES, r_t=r_t,
            better=better,
        )  # fmt: skip
    else:
        return ()
    return (Remedy(**told, inputs=(("r_t", r_t),)),)


def _remedied(check: Check, found: Estimate, safe: set[str]) -> Check:
    """With what makes it fit and breaks no limit that holds (`safe`)."""

    def fits(plan: VideoPlan, job: Job) -> bool:
        limits = _measured(estimate(plan, job, found.machine))
        return all(limit.fits for limit in limits if limit.name in safe | {check.name})

    together = remedies(found.plan, found.job, fits)
    if not together:
        return replace(check, remedies=(_hopeless(check, found),))
    by_plan = all(remedy.inputs and remedy.node == PLAN for remedy in together)
    instead = None if by_plan else of_plan(found.plan, found.job, fits)
    return replace(check, remedies=together, instead=instead)


def _hopeless(check: Check, found: Estimate) -> Remedy:
    if check.name in ("output", "temp"):
        return Remedy(**said("free_disk", folder=check.name))
    weights = max(stage.weight_bytes for stage in found.stages)
    if check.name == "host" and weights > found.machine.host_bytes:
        return Remedy(**said("weights", need=gib(weights)))
    return Remedy(**said("least"))


def _measured(found: Estimate) -> Iterator[Check]:
    machine = found.machine
    if not machine.shared:
        yield _device(found)
    stage = max(found.stages, key=lambda stage: host_need(stage, machine))
    need = host_need(stage, machine)
    short = machine.shared and found.problem
    fits = need <= machine.host_bytes and not short
    told = {} if fits else said("host", stage=stage.name, need=gib(need))
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
        told = said("device", stage=name, need=gib(above))
        return Check("device", stage.name, stage.device_bytes, have, False, **told)
    told = said("offload", stage=most.name) if most.device_bytes > have else {}
    return Check("device", most.name, most.device_bytes, have, True, **told)


def _disks(disk: Disk, machine: Machine) -> Iterator[Check]:
    for name, need, have in (
        ("output", disk.output, machine.output_free_bytes),
        ("temp", disk.temp, machine.temp_free_bytes),
    ):
        fits = need <= have
        told = {} if fits else said("disk", folder=name, need=gib(need), have=gib(have))
        yield Check(name, "decode", need, have, fits, **told)
