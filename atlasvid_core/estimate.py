"""What a job takes of a machine, stage by stage, before anything runs.

`estimate` joins the cost model (`cost`, `vae_cost`, `budget`) with what a workflow asks for (`Job`)
and what a machine has (`Machine`). It is what VideoPlan shows on the canvas. Seconds are lower
bounds as a rule (see `Cost.seconds`); the video's size on disk is a rule of thumb.
"""

from __future__ import annotations

from dataclasses import dataclass

from .attention.mask import align, steps_of
from .budget import CHUNKS_TOK, Activations, ChunkPlan, resolve
from .calibration import Calibration
from .cost import FULL, Cost, detail_cost, guide_cost, parameters, proxy_cost
from .parked import state_bytes
from .plan import VideoPlan
from .tiles import TilePlan
from .units import LATENT_CHANNELS, Grid
from .vae_cost import (
    VAE_DIM,
    decode_flops,
    encode_flops,
    encode_scratch_bytes,
    scratch_bytes,
    vae_parameters,
    vae_plan,
)
from .wan.dit import WanConfig

IDLE_BYTES = 900 * 2**20  # ComfyUI with torch and this pack, before any job; measured
LATENT_BYTES = 4  # the host keeps latents in float32
LATENT_COPIES = 3  # noise, the latent being denoised, and the result before it
SMALLEST = ChunkPlan(1, min(CHUNKS_TOK), hidden_on_host=True)
PIXEL_BITS = {"h264": 0.2, "h265": 0.12, "av1": 0.1, "prores": 4.0, "ffv1": 12.0}  # of a file


@dataclass(frozen=True)
class Job:
    """What a workflow asks for besides its plan. Bytes are of one value."""

    config: WanConfig = WanConfig()
    weight_bytes: float = 2
    vae_dim: int = VAE_DIM
    proxy_steps: int = 30  # 0: the proxy comes from elsewhere
    stage1_lora: bool = True  # on the model that makes the proxy
    detail_steps: int = 30
    reads_video: bool = False  # the proxy is a video that is read and encoded
    enlarges: bool = False  # stage 2 starts from the proxy, enlarged in pixels: one encode
    memory_budget_bytes: int = 0  # 0: the machine's own
    guide_bytes: int = 0  # 0: as the model computes
    guide_on_disk: bool = False
    keep_steps: bool = True
    images: bool = False  # decoded into an IMAGE in memory, not into a file
    codec: str = "h264"
    bits: int = 8


@dataclass(frozen=True)
class Machine:
    """What there is. `shared`: the device that computes works in host memory (no GPU)."""

    device: str
    shared: bool
    device_bytes: int
    host_bytes: int
    output_free_bytes: int
    temp_free_bytes: int
    detail_budget_bytes: int
    decode_budget_bytes: int
    value_bytes: int = 2  # of a value that is computed with
    calibration: Calibration | None = None  # None: not measured yet


@dataclass(frozen=True)
class Stage:
    """One stage: `device_bytes` include `weight_bytes`, which may be offloaded to host memory."""

    name: str
    runs: int
    tokens: int
    flops: float
    traffic_bytes: int
    weight_bytes: int
    device_bytes: int
    host_bytes: int
    seconds: float | None


@dataclass(frozen=True)
class Disk:
    """Bytes on disk. The output folder holds steps, video and what a decode to a file parks; the
    temp folder the guide, and what encodes (of the enlarged proxy, of a video that becomes the
    proxy) and a decode to an IMAGE park.
    """

    steps: int
    video: int
    guide: int
    scratch: int
    parked: int
    enlarge: int
    read: int

    @property
    def output(self) -> int:
        return self.steps + self.video + self.parked

    @property
    def temp(self) -> int:
        """The guide is gone before the decode begins; the video is written here first."""
        return max(self.read, self.guide + self.enlarge, self.scratch + self.video)


@dataclass(frozen=True)
class Estimate:
    plan: VideoPlan
    job: Job
    machine: Machine
    stages: tuple[Stage, ...]
    disk: Disk
    chunks: ChunkPlan | None  # None: no way to cut stage 2 fits its budget
    problem: str | None  # why not
    attention_ratio: float
    flops_ratio: float  # of a whole step

    @property
    def device_bytes(self) -> int:
        return max(stage.device_bytes for stage in self.stages)

    @property
    def host_bytes(self) -> int:
        return max(host_need(stage, self.machine) for stage in self.stages)

    @property
    def seconds(self) -> float | None:
        known = [stage.seconds for stage in self.stages]
        return None if None in known else sum(s for s in known if s is not None)


def host_need(stage: Stage, machine: Machine) -> int:
    """Host memory of a stage: ComfyUI itself, the stage's own, and weights that the device has no
    room for, or, where the device works in host memory, all that would be there."""
    there = stage.device_bytes
    if not machine.shared:
        there = min(stage.weight_bytes, max(0, stage.device_bytes - machine.device_bytes))
    return IDLE_BYTES + stage.host_bytes + there


def estimate(plan: VideoPlan, job: Job, machine: Machine) -> Estimate:
    """Every figure of a job. Where no chunk plan fits, stage 2 shows the smallest there is."""
    chunks, problem = _chunks(plan, job, machine)
    latent = LATENT_CHANNELS * plan.target_lat.count * LATENT_BYTES
    size = machine.value_bytes
    proxy = proxy_cost(plan, job.config, value_bytes=size)
    guide = guide_cost(plan, job.config, value_bytes=size)
    detail = detail_cost(plan, job.config, chunks=chunks or SMALLEST, value_bytes=size)
    kept = guide_bytes(plan, job, machine)
    held = 0 if job.guide_on_disk else kept
    stages = [
        *([_read(plan, job, machine)] if job.reads_video else []),
        *([_stage("proxy", job.proxy_steps, proxy, job, machine)] if job.proxy_steps else []),
        _stage("guide", 1, guide, job, machine, host_bytes=held),
        *([_enlarge(plan, job, machine, latent)] if job.enlarges else []),
        _stage(
            "detail", job.detail_steps, detail, job, machine,
            host_bytes=held + LATENT_COPIES * latent + detail.memory.hidden_on_host,
        ),
        _decode(plan, job, machine, latent),
    ]  # fmt: skip
    full = detail_cost(plan, job.config, FULL, value_bytes=size).flops
    return Estimate(
        plan, job, machine, tuple(stages), _disk(plan, job, machine, latent, kept), chunks, problem,
        attention_ratio=plan.attention_ratio(), flops_ratio=full.total / detail.flops.total,
    )  # fmt: skip


def guide_bytes(plan: VideoPlan, job: Job, machine: Machine) -> int:
    """K and V of every layer, in the type that they are kept in."""
    width = job.config.layers * plan.proxy_tok.count * job.config.width
    return 2 * width * (job.guide_bytes or machine.value_bytes)


def _chunks(plan: VideoPlan, job: Job, machine: Machine) -> tuple[ChunkPlan | None, str | None]:
    """As LocalityPreservingPatch decides it."""
    config, layout = job.config, plan.layout
    sizes = Activations(
        config.width, config.ffn_width, plan.proxy_tok.count, element_bytes=machine.value_bytes
    )
    budget = job.memory_budget_bytes or machine.detail_budget_bytes
    try:
        return resolve(layout, sizes, budget), None
    except ValueError as error:
        return None, str(error)


def _stage(name: str, runs: int, cost: Cost, job: Job, machine: Machine, host_bytes=0) -> Stage:
    weights = int(parameters(job.config) * job.weight_bytes)
    above = cost.memory.device_bytes - cost.memory.weights
    seconds = None
    if machine.calibration:
        seconds = runs * cost.seconds(machine.calibration)
    return Stage(
        name, runs, cost.tokens, runs * cost.flops.total, runs * cost.traffic_bytes,
        weights, weights + above, host_bytes, seconds,
    )  # fmt: skip


def _decode(plan: VideoPlan, job: Job, machine: Machine, latent: int) -> Stage:
    """Latents to a file, one chunk of frames at a time, or to an IMAGE of float32 in memory."""
    tiles = tile_plan(plan, job, machine)
    frame = plan.height_px * plan.width_px * 3 * 4
    pixels = plan.frames_px * frame if job.images else 4 * frame
    flops = decode_flops(plan.target_lat, job.vae_dim)
    tokens, host_bytes = plan.target_tok.count, latent + pixels
    if not (job.images or machine.shared):
        host_bytes += state_bytes(tiles)  # on its way from the device to the disk
    return _vae_stage("decode", tokens, job, machine, flops, tiles, host_bytes)


def _read(plan: VideoPlan, job: Job, machine: Machine) -> Stage:
    """A video that becomes the proxy, scaled and encoded a few frames at a time."""
    lat, tokens = plan.proxy_lat, plan.proxy_tok.count
    tiles, flops = _tiles_of(lat, job, machine, encodes=True), encode_flops(lat, job.vae_dim)
    latent = LATENT_CHANNELS * lat.count * LATENT_BYTES
    return _vae_stage("read", tokens, job, machine, flops, tiles, latent)


def _enlarge(plan: VideoPlan, job: Job, machine: Machine, latent: int) -> Stage:
    """The proxy, enlarged in pixels a few frames at a time, is encoded."""
    tiles = tile_plan(plan, job, machine, encodes=True)
    flops = encode_flops(plan.target_lat, job.vae_dim)
    tokens = plan.target_tok.count
    return _vae_stage("enlarge", tokens, job, machine, flops, tiles, latent)


def _vae_stage(name, tokens, job, machine, flops, tiles: TilePlan, host_bytes) -> Stage:
    weights = vae_parameters(job.vae_dim) * machine.value_bytes
    rate = machine.calibration
    seconds = flops / rate.flops_per_second if rate else None
    peak = weights + tiles.held_bytes(machine.shared)
    return Stage(name, 1, tokens, flops, 0, weights, peak, host_bytes, seconds)


def tile_plan(plan: VideoPlan, job: Job, machine: Machine, encodes: bool = False) -> TilePlan:
    """Of the large video, as the nodes decide it."""
    return _tiles_of(plan.target_lat, job, machine, encodes)


def _tiles_of(lat: Grid, job: Job, machine: Machine, encodes: bool) -> TilePlan:
    budget = machine.decode_budget_bytes
    return vae_plan((lat.h, lat.w), budget, machine.value_bytes, job.vae_dim, encodes)


def _disk(plan: VideoPlan, job: Job, machine: Machine, latent: int, kept: int) -> Disk:
    """Of the steps, one lies there while the next is written beside it."""
    pixels = plan.frames_px * plan.height_px * plan.width_px
    tiles = tile_plan(plan, job, machine)
    pixel_bytes = 0 if job.images else 3 * (2 if job.bits > 8 else 1)
    lat, size, dim = plan.target_lat, machine.value_bytes, job.vae_dim
    scratch, enlarge, read = scratch_bytes(tiles, lat, pixel_bytes, size, dim), 0, 0
    if job.reads_video:
        tiles_read = _tiles_of(plan.proxy_lat, job, machine, encodes=True)
        read = encode_scratch_bytes(tiles_read, plan.proxy_lat, size, dim)
    if job.enlarges:
        encoded = tile_plan(plan, job, machine, encodes=True)
        enlarge = encode_scratch_bytes(encoded, lat, size, dim)
    return Disk(
        steps=2 * latent if job.keep_steps else 0,
        video=int(pixels * PIXEL_BITS[job.codec] / 8),
        guide=kept if job.guide_on_disk else 0,
        scratch=scratch if job.images else 0,
        parked=scratch + 2 * state_bytes(tiles) if scratch and not job.images else 0,
        enlarge=enlarge,
        read=read,
    )


def drawing(plan: VideoPlan) -> dict:
    """What a picture of the cubes needs: grids, the steps of the reach, proxy tokens by axis."""
    aligned = align(plan.layout, plan.proxy_axes())
    return {
        "grid_tok": list(plan.target_tok),
        "cube_tok": list(plan.cube_tok),
        "cubes": list(plan.layout.n_cubes),
        "proxy_tok": list(plan.proxy_tok),
        "steps": [list(step) for step in steps_of(plan.reach)],
        "proxy_ranges": [[list(r) for r in axis] for axis in aligned.ranges],
    }
