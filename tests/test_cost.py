"""The cost model: the design's ratios, what torch counts, and how costs grow."""

import dataclasses
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from atlasvid_core import cost_table
from atlasvid_core.attention.mask import REACHES
from atlasvid_core.budget import ChunkPlan
from atlasvid_core.cost import (
    Calibration,
    Flops,
    attention_pairs,
    calibrate,
    detail_cost,
    guide_cost,
    parameters,
    proxy_cost,
)
from atlasvid_core.guide import Guide, make_guide
from atlasvid_core.joint import detail_forward
from atlasvid_core.plan import VideoPlan, make_plan
from atlasvid_core.units import Grid
from atlasvid_core.wan.dit import WanConfig, WanDiT

WAN_1B, WAN_14B = WanConfig(), WanConfig(5120, 13824, 40)
SMALL = WanConfig(width=128, ffn_width=256, layers=2)
MACHINE = Calibration(flops_per_second=1e12, bytes_per_second=1e10)
AT_8K = VideoPlan(7680, 4320, 81, 16, 4, 832, 480, 21, Grid(4, 8, 8), "faces", "ratio")
RATIOS = {  # by density; by footprint; by density, the proxy made anew in every step
    "faces": (1675, 1657, 1642),
    "plane": (1262, 1252, 1243),
    "all": (471, 469, 468),
}


def at_4k(frames: int = 321) -> VideoPlan:
    return make_plan(width_px=3840, height_px=2160, frames_px=frames)


def small_plan() -> VideoPlan:
    """Ragged on every axis: 5 x 9 x 10 tokens in cubes of 2 x 4 x 4."""
    return make_plan(
        width_px=160, height_px=144, frames_px=17, proxy_height_px=64, cube_tok=Grid(2, 4, 4)
    )


def counted(call) -> int:
    """FLOPs of a call, as torch counts them."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        call()
    return counter.get_total_flops()


def small_dit(config: WanConfig) -> WanDiT:
    torch.manual_seed(0)
    return WanDiT(config).eval().requires_grad_(False)


@pytest.mark.parametrize("reach", RATIOS)
def test_attention_at_8k_costs_what_the_design_says(reach):
    by_density, by_footprint, anew = RATIOS[reach]
    full = detail_cost(AT_8K, WAN_1B, "full").flops.attention
    assert round(full / detail_cost(AT_8K, WAN_1B, reach).flops.attention) == by_footprint
    pairs = attention_pairs(AT_8K, reach, count="density")
    everything = AT_8K.target_tok.count**2
    assert attention_pairs(AT_8K, "full") == everything
    assert round(everything / pairs) == by_density
    assert round(everything / (pairs + AT_8K.proxy_tok.count**2)) == anew


@pytest.mark.parametrize("kind", ["t2v", "i2v"])
def test_a_full_forward_has_the_flops_that_torch_counts(kind):
    image = kind == "i2v"
    config = dataclasses.replace(SMALL, in_channels=36 if image else 16, image=image)
    plan, model = small_plan(), small_dit(config)
    latent = torch.randn(1, config.in_channels, *plan.target_lat)
    seen = torch.randn(1, 257, 1280) if image else None
    text = torch.randn(1, 20, 4096)
    torch_says = counted(lambda: model(latent, torch.tensor([500.0]), text, seen))
    flops = detail_cost(plan, config, "full", text_tok=20).flops
    assert flops.total == pytest.approx(torch_says, rel=0.01)
    assert sum(dataclasses.asdict(flops).values()) == flops.total


def test_stage_1_has_two_full_forwards_of_the_proxy():
    plan, model = small_plan(), small_dit(SMALL)
    latent, text = torch.randn(2, 16, *plan.proxy_lat), torch.randn(2, 20, 4096)
    torch_says = counted(lambda: model(latent, torch.full((2,), 500.0), text))
    made = proxy_cost(plan, SMALL, text_tok=20)
    assert made.flops.total == pytest.approx(torch_says, rel=0.01)
    assert made.tokens == plan.proxy_tok.count


@pytest.mark.parametrize("reach", REACHES)
def test_guide_and_detail_forward_have_the_flops_that_torch_counts(reach):
    plan, model = small_plan(), small_dit(SMALL)
    proxy, latent = torch.randn(1, 16, *plan.proxy_lat), torch.randn(1, 16, *plan.target_lat)
    text, axes, kept = torch.randn(1, 20, 4096), plan.proxy_axes(), []
    torch_says = counted(lambda: kept.append(make_guide(model, proxy, axes, plan.target_tok)))
    made = guide_cost(plan, SMALL, value_bytes=4)
    assert made.flops.total == pytest.approx(torch_says, rel=0.01)
    assert made.traffic_bytes == made.memory.guide_on_host == kept[0].bytes
    torch_says = counted(
        lambda: detail_forward(
            model, latent, torch.tensor([500.0]), text, cube_tok=plan.cube_tok, reach=reach,
            guide=kept[0],
        )
    )  # fmt: skip
    made = detail_cost(plan, SMALL, reach, text_tok=20)
    assert made.flops.total == pytest.approx(torch_says, rel=0.01)


@pytest.mark.parametrize("plan", [AT_8K, at_4k(), small_plan()])
def test_more_reach_costs_more(plan):
    made = [detail_cost(plan, WAN_1B, reach) for reach in ("own", "faces", "all", "full")]
    for less, more in zip(made, made[1:], strict=False):
        assert less.flops.attention < more.flops.attention
        assert less.flops.total < more.flops.total
        assert less.seconds(MACHINE) < more.seconds(MACHINE)
        assert less.flops.projections == more.flops.projections
    plane = detail_cost(plan, WAN_1B, "plane").flops.attention
    assert made[0].flops.attention < plane < made[2].flops.attention
    assert detail_cost(plan, WAN_1B).flops == detail_cost(plan, WAN_1B, plan.reach).flops


@pytest.mark.parametrize("frames", [81, 161, 321])
def test_twice_the_frames_cost_twice_as_much(frames):
    short, long = (detail_cost(at_4k(n), WAN_1B, "faces") for n in (frames, 2 * frames - 1))
    assert long.flops.total / short.flops.total == pytest.approx(2, rel=0.05)
    full = [detail_cost(at_4k(n), WAN_1B, "full").flops for n in (frames, 2 * frames - 1)]
    assert full[1].attention / full[0].attention > 3.8


def test_memory_behind_the_hidden_state_does_not_grow_with_the_video():
    on_host = ChunkPlan(1, hidden_on_host=True)
    lengths = [detail_cost(at_4k(n), WAN_14B, "faces", chunks=on_host) for n in (81, 321, 1281)]
    assert len({made.memory.ring for made in lengths}) == 1
    ring_tok = 3 * 4 * 135 * 240
    assert lengths[0].memory.ring == 2 * ring_tok * WAN_14B.width * 2
    assert lengths[2].memory.device_bytes <= 1.01 * lengths[1].memory.device_bytes
    assert lengths[1].memory.hidden_on_host == 2_624_400 * WAN_14B.width * 2


def test_a_hidden_state_in_host_memory_is_traffic():
    plan = at_4k()
    here = detail_cost(plan, WAN_1B, chunks=ChunkPlan(1))
    there = detail_cost(plan, WAN_1B, chunks=ChunkPlan(1, hidden_on_host=True))
    assert here.memory.hidden == there.memory.hidden_on_host == 2_624_400 * 1536 * 2
    assert here.memory.hidden_on_host == there.memory.hidden == 0
    assert there.memory.device_bytes == here.memory.device_bytes - here.memory.hidden
    assert there.traffic_bytes - here.traffic_bytes == (3 * 30 + 2) * here.memory.hidden
    assert there.seconds(MACHINE) > here.seconds(MACHINE)
    assert here.memory.guide_on_host == plan.guide_gib(1536, 30) * 2**30


@pytest.mark.parametrize("reach", REACHES)
def test_what_moves_of_the_guide_is_what_a_forward_asks_for(reach):
    asked = []

    class Watched(Guide):
        def layer(self, *where):
            asked.append(super().layer(*where))
            return asked[-1]

    plan, model, chunks = small_plan(), small_dit(SMALL), ChunkPlan(1)
    with torch.no_grad():
        guide = make_guide(
            model, torch.randn(1, 16, *plan.proxy_lat), plan.proxy_axes(), plan.target_tok
        )
        watched = Watched(guide.axes, guide.target_tok, guide.keys, guide.values)
        detail_forward(
            model, torch.randn(1, 16, *plan.target_lat), torch.tensor([500.0]),
            torch.randn(1, 20, 4096), cube_tok=plan.cube_tok, reach=reach, guide=watched,
            chunks=chunks,
        )  # fmt: skip
    moved = [k.nbytes + v.nbytes for k, v in asked]
    made = detail_cost(plan, SMALL, reach, chunks=chunks, value_bytes=4)
    assert made.traffic_bytes == sum(moved)
    assert made.memory.guide == max(moved)


def test_seconds_follow_the_machine():
    made = detail_cost(at_4k(), WAN_1B)
    compute = made.flops.total / 1e12
    assert made.seconds(MACHINE) == pytest.approx(compute + made.traffic_bytes / 1e10)


def test_parameters_are_those_of_the_public_files():
    assert parameters(WAN_1B) == 1_418_996_800
    assert parameters(SMALL) == sum(p.numel() for p in WanDiT(SMALL).parameters())


def test_a_machine_can_be_measured():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        machine = calibrate("cpu", seconds=0.1)
    finally:
        torch.set_num_threads(before)
    assert 1e8 < machine.flops_per_second < 1e14
    assert 1e7 < machine.bytes_per_second < 1e12


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"reach": "near"}, "'near' .* own, faces, plane, all, full"),
        ({"count": "points"}, "'points' .* footprint, density"),
    ],
)
def test_refusals_name_what_is_allowed(arguments, says):
    with pytest.raises(ValueError, match=says):
        attention_pairs(small_plan(), **arguments)


@pytest.mark.parametrize(
    ("size", "says"),
    [((3840, 2160, 320), "frames 320 .* 317 or 321"), ((100, 96, 9), "width 100 .* 96 or 112")],
)
def test_a_size_that_is_not_allowed_is_refused(size, says, capsys):
    with pytest.raises(ValueError, match=says):
        cost_table.plan_for("1.3b", *size)
    assert cost_table.main([str(n) for n in size]) == 1
    assert "Use " in capsys.readouterr().err


def test_the_table_has_every_stage_and_its_figures_go_to_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(cost_table, "calibrate", lambda device: MACHINE)
    file = tmp_path / "cost.json"
    arguments = ["3840", "2160", "321", "--model", "14b", "--json", str(file)]
    assert cost_table.main(arguments) == 0
    printed = capsys.readouterr().out
    figures = json.loads(file.read_text())
    assert {"device", "versions", "rows", "targets"} <= figures.keys()
    stages = ["full attention", "stage 1, proxy", "guide (once)"]
    assert [row["stage"] for row in figures["rows"]] == stages + [f"stage 2, {r}" for r in REACHES]
    for row in figures["rows"]:
        assert row["stage"] in printed and f"{row['tokens']:,}" in printed
        assert Flops(**row["flops_by_kind"]).total == row["flops"]
        assert sum(row["memory_bytes"].values()) >= row["peak_device_bytes"] > 0


@pytest.mark.parametrize("model", cost_table.MODELS)
def test_dev_py_hands_a_size_over(model, tmp_path, monkeypatch):
    file = Path(__file__).resolve().parent.parent / "dev.py"
    spec = importlib.util.spec_from_file_location("atlasvid_dev_cost", file)
    dev = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dev)
    seen = []
    monkeypatch.setattr(dev, "prepared", lambda: (Path("python"), Path("host")))
    monkeypatch.setattr(dev, "run", lambda step, command, **more: seen.extend(command) or 0)
    out = tmp_path / "figures.json"
    assert dev.main(["cost", "64x32x9", "--model", model, "--json", str(out)]) == 0
    assert seen[1:] == [
        "-m", "atlasvid_core.cost_table", 64, 32, 9, "--model", model, "--json", out,
    ]  # fmt: skip
