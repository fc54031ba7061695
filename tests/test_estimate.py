"""What the panel of VideoPlan shows: estimates, verdicts, remedies, snapped sizes."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atlasvid_core.attention.mask import align, aligned_proxy, neighbours
from atlasvid_core.budget import Activations, resolve
from atlasvid_core.calibration import Calibration
from atlasvid_core.cost import detail_cost, guide_cost, parameters, proxy_cost
from atlasvid_core.estimate import Job, Machine, drawing, estimate, tile_plan
from atlasvid_core.heap import HEAP_BYTES, HOLES
from atlasvid_core.parked import state_bytes
from atlasvid_core.plan import make_plan
from atlasvid_core.plan_report import plan_of, report
from atlasvid_core.remedy import PLAN, changed, remedies, switched, switches
from atlasvid_core.sayings import NAMES, TEXTS
from atlasvid_core.snap import snapped
from atlasvid_core.units import Grid
from atlasvid_core.vae_cost import (
    decode_flops,
    encode_flops,
    encode_scratch_bytes,
    scratch_bytes,
    vae_plan,
)
from atlasvid_core.verdict import advice, checks
from atlasvid_core.wan.dit import WanConfig
from atlasvid_core.wan.vae import WanVAE

GIB = 2**30
WAN_14B = WanConfig(5120, 13824, 40)
RATES = Calibration(flops_per_second=1e14, bytes_per_second=2e10)
ASKED = {
    "width": 3840, "height": 2160, "frames": 161, "fps": 16.0, "r_t": 4.0, "proxy_height": 480,
    "cube_t": 4, "cube_h": 8, "cube_w": 8, "reach": "faces", "alignment": "ratio",
}  # fmt: skip


def card(vram: float = 24, ram: float = 64, disk: float = 500, **more) -> Machine:
    return Machine(
        "a card", False, int(vram * GIB), int(ram * GIB), int(disk * GIB), int(disk * GIB),
        int(0.6 * vram * GIB), int(0.8 * vram * GIB), **{"calibration": RATES, **more},
    )  # fmt: skip


def at(width=3840, height=2160, frames=161, **more):
    return make_plan(width_px=width, height_px=height, frames_px=frames, **more)


def stage(found, name):
    return next(stage for stage in found.stages if stage.name == name)


def check(found, name):
    return next(check for check in checks(found) if check.name == name)


def test_stages_are_those_of_the_cost_model():
    plan, job, machine = at(), Job(proxy_steps=20, detail_steps=12), card()
    found = estimate(plan, job, machine)
    sizes = Activations(1536, 8960, plan.proxy_tok.count, element_bytes=2)
    chunks = resolve(plan.layout, sizes, machine.detail_budget_bytes)
    detail = detail_cost(plan, job.config, chunks=chunks)
    assert found.chunks == chunks
    assert stage(found, "detail").device_bytes == detail.memory.device_bytes
    assert stage(found, "detail").seconds == 12 * detail.seconds(RATES)
    proxy = proxy_cost(plan, job.config)
    assert stage(found, "proxy").seconds == 20 * proxy.seconds(RATES)
    assert stage(found, "guide").host_bytes == guide_cost(plan, job.config).memory.guide_on_host
    assert found.seconds == sum(s.seconds for s in found.stages)
    assert found.device_bytes == max(s.device_bytes for s in found.stages)


def test_what_the_workflow_says_changes_what_it_takes():
    plan, machine = at(), card()
    found = estimate(plan, Job(), machine)
    assert "enlarge" not in [s.name for s in found.stages]
    assert [s.name for s in estimate(plan, Job(proxy_steps=0), machine).stages][0] == "guide"
    enlarged = estimate(plan, Job(enlarges=True), machine)
    assert enlarged.seconds - found.seconds == pytest.approx(stage(enlarged, "enlarge").seconds)
    read = estimate(plan, Job(proxy_steps=0, reads_video=True), machine)
    assert [s.name for s in read.stages] == ["read", "guide", "detail", "decode"]
    frames = plan.proxy_lat.count / plan.target_lat.count
    share = stage(read, "read").seconds / stage(enlarged, "enlarge").seconds
    assert 0.2 * frames < share < 1.1 * frames  # attention of smaller frames costs less
    assert stage(read, "read").tokens == plan.proxy_tok.count
    assert 0 == found.disk.read <= read.disk.read <= read.disk.temp
    parked = estimate(plan, Job(guide_on_disk=True), machine)
    guide = stage(found, "guide").host_bytes
    assert parked.disk.guide == guide
    assert stage(found, "detail").host_bytes - stage(parked, "detail").host_bytes == guide
    images = stage(estimate(plan, Job(images=True), machine), "decode").host_bytes
    assert images > 161 * 2160 * 3840 * 3 * 4
    assert estimate(plan, Job(keep_steps=False), machine).disk.steps == 0
    fp8 = stage(estimate(plan, Job(weight_bytes=1), machine), "detail")
    assert fp8.weight_bytes == parameters(WanConfig())


def test_without_a_measurement_there_are_no_seconds():
    found = estimate(at(), Job(), card(calibration=None))
    assert found.seconds is None and all(s.seconds is None for s in found.stages)


def test_a_job_that_fits_has_no_remedy():
    assert all(c.fits and not c.remedies for c in checks(estimate(at(), Job(), card())))


def taken(plan, job, together):
    """The plan and the job once all of these are done, as the panel's button does them."""
    by_text = {switch.remedy.text: switch for switch in switches(job)}
    done = [by_text[remedy.text] for remedy in together if remedy.text in by_text]
    inputs = [remedy.inputs for remedy in together if remedy.text not in by_text]
    return changed(plan, **dict(pair for some in inputs for pair in some)), switched(job, done)


@pytest.mark.parametrize(
    ("plan", "job", "machine", "name"),
    [
        (at(frames=321), Job(), card(vram=3), "device"),
        (at(7680, 4320, 641), Job(config=WAN_14B), card(), "device"),
        (at(7680, 4320, 641), Job(config=WAN_14B), card(), "host"),
        (at(frames=641), Job(), card(disk=12), "output"),
        (at(), Job(), replace(card(vram=8, ram=8), shared=True), "host"),
        (at(7680, 4320, 641), Job(), replace(card(vram=24, ram=24), shared=True), "host"),
        (at(16384, 16384, 4097), Job(images=True), card(vram=4, ram=8, disk=20), "host"),
    ],
)
def test_remedies_are_ones(plan, job, machine, name):
    found = check(estimate(plan, job, machine), name)
    assert not found.fits and found.text and found.remedies
    after = estimate(*taken(plan, job, found.remedies), machine)
    assert check(after, name).fits
    held = [c.name for c in checks(estimate(plan, job, machine)) if c.fits]
    assert all(check(after, other).fits for other in held)
    if found.instead:
        assert found.instead.node == PLAN
        assert check(estimate(*taken(plan, job, [found.instead]), machine), name).fits
    inputs = dict(found.remedies[-1].inputs)
    if list(inputs) == ["frames"]:  # and nothing longer is
        longer = changed(plan, frames=inputs["frames"] + 4)
        assert not check(estimate(longer, taken(plan, job, found.remedies)[1], machine), name).fits


def test_other_nodes_come_first_where_they_suffice():
    job = Job(config=WAN_14B)
    found = check(estimate(at(frames=321), job, card(vram=48, ram=48)), "host")
    (remedy,) = found.remedies
    assert (remedy.node, remedy.inputs) == ("AtlasVidScaledRoPEAligner", (("store", "disk"),))
    assert found.instead.node == PLAN and found.instead.text.startswith("Or with ")
    (images,) = check(estimate(at(frames=321), Job(images=True), card(ram=24)), "host").remedies
    assert "TiledVAEDecodeToVideo" in images.text and not images.inputs
    kept = estimate(at(), Job(), card())
    without = estimate(at(), Job(keep_steps=False), card())
    short = replace(card(), output_free_bytes=(kept.disk.output + without.disk.output) // 2)
    (steps,) = check(estimate(at(), Job(), short), "output").remedies
    assert (steps.node, steps.inputs) == ("AtlasVidDetailJointSampler", (("keep_steps", False),))


def test_two_switches_together_come_before_a_smaller_video():
    plan, job = at(2560, 1440, 641, r_t=8, proxy_height_px=1440), Job(images=True)
    file = replace(job, images=False)
    needs = [
        check(estimate(plan, j, card()), "host").need_bytes
        for j in (file, replace(job, guide_on_disk=True), replace(file, guide_on_disk=True))
    ]
    assert needs[2] < min(needs[:2])
    machine = replace(card(), host_bytes=(min(needs[:2]) + needs[2]) // 2)
    found = check(estimate(plan, job, machine), "host")
    assert [remedy.key for remedy in found.remedies] == ["to_file", "guide_on_disk"]


def test_a_switch_and_a_shorter_video_together_where_neither_suffices():
    """The guide's size follows the length, too: on disk, less of the video has to go."""
    plan, job = at(frames=321), Job(config=WAN_14B)
    machine = replace(card(), host_bytes=int(20 * GIB))
    parked = replace(job, guide_on_disk=True)
    assert not check(estimate(plan, parked, machine), "host").fits
    found = check(estimate(plan, job, machine), "host")
    switch, less = found.remedies
    assert switch.key == "guide_on_disk" and less.key == "also_smaller"
    assert "as well" in less.text and less.node == PLAN
    alone = changed(plan, **dict(less.inputs))
    assert not check(estimate(alone, job, machine), "host").fits
    assert check(estimate(alone, parked, machine), "host").fits


def test_a_remedy_breaks_no_limit_that_holds():
    """Where the temp folder has no room for the guide, it is not sent there."""
    job = Job(config=WAN_14B)
    full = replace(card(vram=48, ram=48), temp_free_bytes=2 * GIB)
    found = estimate(at(frames=321), job, full)
    assert check(found, "temp").fits
    keys = [remedy.key for remedy in check(found, "host").remedies]
    assert keys and "guide_on_disk" not in keys


def test_remedies_are_found_while_a_key_is_pressed():
    """The most that is tried, for a job that breaks every limit there is."""
    tried = []

    def fits(plan, job):
        tried.append((plan, job))
        return False

    job = Job(images=True, memory_budget_bytes=GIB)
    assert remedies(at(16384, 16384, 4097), job, fits) == ()
    assert len(tried) < 150


def test_the_nodes_that_remedies_name_have_such_inputs():
    """Ids and inputs as the node files declare them."""
    nodes = Path(__file__).resolve().parent.parent / "nodes"
    declared = {
        re.search(r'node_id="(\w+)"', text)[1]: text
        for text in (f.read_text(encoding="utf-8") for f in nodes.glob("*.py"))
        if 'node_id="' in text
    }
    job = Job(images=True, memory_budget_bytes=GIB)
    known = [switch.remedy for switch in switches(job)]
    assert len(known) == 4
    for remedy in known:
        for name, _ in remedy.inputs:
            assert f'"{name}"' in declared[remedy.node]


def test_weights_that_fit_nowhere_are_named():
    small = replace(card(vram=8, ram=16), shared=True)
    (found,) = check(estimate(at(), Job(config=WAN_14B), small), "host").remedies
    assert "weights alone take" in found.text and "fp8" in found.text and not found.inputs


def test_key_and_values_say_what_the_text_says():
    found = estimate(at(frames=641), Job(), card(vram=3, ram=8, disk=12))
    for told in (t for c in checks(found) for t in (c, *c.remedies, *filter(None, [c.instead]))):
        values = {k: NAMES.get(v, v) if k == "stage" else v for k, v in told.values}
        assert told.text == (TEXTS[told.key].format(**values) if told.key else "")


def test_weights_that_wait_are_told_not_refused():
    found = check(estimate(at(), Job(config=WAN_14B), card(vram=24)), "device")
    assert found.fits and found.need_bytes > found.have_bytes and "RAM" in found.text


def test_a_proxy_longer_than_wan_knows_is_advised_against():
    plan = at(frames=641)
    assert plan.proxy_frames_px == 161
    (told,) = advice(plan, Job())
    assert replace(plan, **dict(told.inputs)).r_t == 8
    assert at(frames=641, r_t=8).proxy_frames_px == 81
    assert advice(at(frames=321), Job()) == ()


@pytest.mark.parametrize(
    ("frames", "r_t", "better"), [(81, 1, 81), (161, 2, 81), (29, 1, 29), (125, 2, 65)]
)
def test_a_short_proxy_is_advised_against_where_no_lora_helps_it(frames, r_t, better):
    """Wan2.1 knows 81 frames; fewer, with time stretched, are what a stage-1 LoRA is for."""
    plan, best, bare = at(frames=frames), at(frames=frames, r_t=r_t), Job(stage1_lora=False)
    (told,) = advice(plan, bare)
    assert told.inputs == (("r_t", r_t),) and told.text.endswith(f"gives it {better}.")
    assert best.proxy_frames_px == better and advice(best, bare) == ()
    assert advice(plan, Job()) == advice(plan, replace(bare, proxy_steps=0)) == ()
    assert all(advice(at(frames=frames), bare) == () for frames in (1, 241, 321))


@pytest.mark.parametrize(
    ("asked", "used"),
    [
        ({"width": 1920, "height": 1080, "frames": 80, "proxy_height": 480}, (1920, 1088, 81, 480)),
        ({"width": 3, "height": 250, "frames": 1, "proxy_height": 480}, (16, 256, 1, 256)),
        ({"width": 1280, "height": 720, "frames": 83, "proxy_height": 471}, (1280, 720, 85, 464)),
        ({"width": 3840, "height": 2160, "frames": 161, "proxy_height": 480}, None),
    ],
)
def test_sizes_snap_and_say_so(asked, used):
    found, moved = snapped(asked)
    want = dict(zip(("width", "height", "frames", "proxy_height"), used)) if used else asked
    assert found == want
    assert {s.name: (s.given, s.used) for s in moved} == {
        name: (asked[name], want[name]) for name in asked if asked[name] != want[name]
    }
    assert all(s.why for s in moved)


def test_what_no_plan_can_be_is_said():
    for wrong, words in (
        ({"cube_t": 0}, "cube"),
        ({"frames": 10**7}, "frames"),
        ({"width": float("nan")}, "width"),
        ({"reach": "far"}, "reach"),
    ):
        with pytest.raises(ValueError, match=words):
            plan_of({**ASKED, **wrong})


def test_the_report_is_json_and_the_same_twice():
    found = report(ASKED, Job(), card())
    assert json.loads(json.dumps(found, allow_nan=False)) == json.loads(
        json.dumps(report(ASKED, Job(), card()))
    )
    plan = at()
    assert found["tokens"] == {"target": plan.target_tok.count, "proxy": plan.proxy_tok.count}
    assert found["ratio"]["attention"] == plan.attention_ratio()
    assert found["proxy_snap"] == {"given": 853, "used": 848}


@pytest.mark.parametrize("reach", ["own", "faces", "plane", "all"])
def test_a_drawing_holds_all_that_a_cube_sees(reach):
    plan = at(160, 144, 17, proxy_height_px=64, cube_tok=Grid(2, 4, 4), reach=reach)
    drawn, layout = drawing(plan), plan.layout
    cube = (1, 2, 2)
    near = [tuple(c + s for c, s in zip(cube, step)) for step in drawn["steps"]]
    near = [c for c in near if all(0 <= i < n for i, n in zip(c, drawn["cubes"]))]
    _, high, wide = layout.n_cubes
    number = (cube[0] * high + cube[1]) * wide + cube[2]
    assert sorted((t * high + h) * wide + w for t, h, w in near) == neighbours(
        layout, number, reach
    )
    aligned = align(layout, plan.proxy_axes())
    seen = {
        (t * plan.proxy_tok.h + h) * plan.proxy_tok.w + w
        for c in near
        for t in range(*drawn["proxy_ranges"][0][c[0]])
        for h in range(*drawn["proxy_ranges"][1][c[1]])
        for w in range(*drawn["proxy_ranges"][2][c[2]])
    }
    assert sorted(seen) == aligned_proxy(layout, reach, aligned, number)


@pytest.mark.parametrize("lat", [Grid(3, 8, 8), Grid(2, 10, 14)])
def test_vae_flops_are_those_that_torch_counts(lat):
    vae = WanVAE(dim=8).eval().requires_grad_(False)
    latent = torch.randn(1, 16, *lat)
    pixels = torch.zeros(1, 3, 4 * (lat.t - 1) + 1, 8 * lat.h, 8 * lat.w)
    for call, given, flops in (
        (vae.decode, latent, decode_flops(lat, dim=8)),
        (vae.encode, pixels, encode_flops(lat, dim=8)),
    ):
        counter = FlopCounterMode(display=False)
        with counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
            call(given)
        assert flops == counter.get_total_flops()


def test_scratch_is_what_a_decode_by_tiles_parks():
    lat = Grid(41, 270, 480)
    by_tiles = vae_plan((270, 480), 2**29, 2)
    assert by_tiles.order == "tiles"
    pixels = 161 * 2160 * 3840 * 3
    assert scratch_bytes(by_tiles, lat, 3, 2) == pixels + lat.count * 384 * 2
    assert scratch_bytes(replace(by_tiles, order="frames"), lat, 3, 2) == 0


def test_what_a_decode_goes_on_from_takes_room_too():
    """On disk one state and the next, on a card's host one that is on its way there."""
    lat = at().target_lat
    for order, budget in (("tiles", 2**29), ("frames", 2**36)):
        there = replace(card(), decode_budget_bytes=budget)
        tiles, found = tile_plan(at(), Job(), there), estimate(at(), Job(), there)
        images, kept = estimate(at(), Job(images=True), there), state_bytes(tiles)
        assert tiles.order == order and 0 < kept <= 2**30
        scratch = scratch_bytes(tiles, lat, 3, 2)
        assert found.disk.parked == (scratch + 2 * kept if order == "tiles" else 0)
        frame, latent = 2160 * 3840 * 12, 16 * 4 * lat.count
        assert stage(found, "decode").host_bytes == latent + 4 * frame + kept
        assert stage(images, "decode").host_bytes == latent + 161 * frame
        assert images.disk.parked == 0


def test_an_encode_at_4k_keeps_to_the_card_and_takes_room_in_the_temp_folder():
    found = estimate(at(), Job(enlarges=True, guide_on_disk=True), card())
    there = stage(found, "enlarge")
    assert there.device_bytes <= there.weight_bytes + card().decode_budget_bytes
    plan = tile_plan(at(), Job(), card(), encodes=True)
    lat = at().target_lat
    parked = 161 * 2160 * 3840 * 3 + lat.count * 384 * 2 if plan.order == "tiles" else 0
    assert found.disk.enlarge == parked == encode_scratch_bytes(plan, lat, 2)
    assert found.disk.temp >= found.disk.guide + parked
    small = estimate(at(640, 480, 33), Job(enlarges=True), card())
    assert small.disk.enlarge == 0


def test_on_a_cpu_the_holes_of_the_heap_are_counted():
    there, gpu = replace(card(ram=64), shared=True), card(ram=64)
    for name in ("decode", "enlarge"):
        counted, plain = (
            stage(estimate(at(640, 480, 33), Job(enlarges=True), m), name) for m in (there, gpu)
        )
        plan = tile_plan(at(640, 480, 33), Job(), gpu, encodes=name == "enlarge")
        holes = HOLES[plan.order] * min(plan.peak_bytes, HEAP_BYTES)
        assert plain.device_bytes == plain.weight_bytes + plan.peak_bytes
        assert counted.device_bytes == plain.device_bytes + int(holes)
