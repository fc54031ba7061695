"""The benches: committed results say what their rows say, and the harness runs end to end."""

import importlib
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from atlasvid_core.attention.layout import CubeLayout
from atlasvid_core.attention.mask import neighbours
from atlasvid_core.record import device_name, versions
from atlasvid_core.units import Grid
from bench import __main__ as harness
from bench import report, sliding, soak, timing

RESULTS = sorted(harness.RESULTS.glob("*.json"))
THRESHOLDS = report.thresholds()


def bench(name: str):
    return importlib.import_module(f"bench.{name}")


# What is committed


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: file.stem)
def test_recorded_targets_follow_from_the_rows(file):
    told = json.loads(file.read_text(encoding="utf-8"))
    assert {"device", "versions", "rows", "targets"} <= told.keys()
    assert told["bench"] == file.stem and not told["quick"]
    again = report.judge(THRESHOLDS[file.stem], bench(file.stem).figures(told["rows"]))
    assert again.keys() == told["targets"].keys()
    for name, target in told["targets"].items():
        assert target["value"] == pytest.approx(again[name]["value"], rel=1e-9), name
        assert target["target"] == THRESHOLDS[file.stem][name]
        assert target["ok"] == report.holds(target["value"], target["target"])


@pytest.mark.parametrize("name", THRESHOLDS)
def test_every_threshold_has_a_bench(name):
    assert {"rows", "figures"} <= vars(bench(name)).keys()


def test_every_bench_is_measured():
    assert {file.stem for file in RESULTS} == set(THRESHOLDS)


# The harness


def test_a_quick_run_from_end_to_end(tmp_path, capsys):
    file = tmp_path / "deep" / "attention.json"
    status = harness.main(["attention", "--quick", "--json", str(file)])
    told = json.loads(file.read_text(encoding="utf-8"))
    assert (told["device"], told["versions"]) == (device_name(), versions())
    assert {row["backend"] for row in told["rows"]} >= {"dense", "sliding", "windowed"}
    assert {"own_slope", "all_slope"} <= told["targets"].keys()
    assert status == (0 if all(t["ok"] for t in told["targets"].values()) else 1)
    assert f"own_slope = {told['targets']['own_slope']['value']:.4g}" in capsys.readouterr().out
    assert {p.name for p in file.parent.iterdir()} == {"attention.json", "attention.png"}


def fake_bench(monkeypatch, value: float):
    module = SimpleNamespace(
        rows=lambda quick: [{"a": value}], figures=lambda rows: {"best": rows[0]["a"]}
    )
    monkeypatch.setattr(harness.importlib, "import_module", lambda name: module)
    monkeypatch.setattr(report, "thresholds", lambda: {"some": {"best": {"min": 2, "max": 3}}})


@pytest.mark.parametrize(("value", "status"), [(1.9, 1), (2, 0), (3, 0), (3.1, 1), (math.nan, 1)])
def test_a_missed_target_is_status_one(monkeypatch, tmp_path, value, status, capsys):
    fake_bench(monkeypatch, value)
    file = tmp_path / "some.json"
    assert harness.main(["some", "--json", str(file)]) == status
    assert json.loads(file.read_text())["targets"]["best"]["ok"] == (status == 0)
    assert ("MISSED" in capsys.readouterr().out) == (status == 1)


def test_a_quick_run_leaves_the_committed_results_alone(monkeypatch, tmp_path):
    fake_bench(monkeypatch, 2)
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    assert harness.main(["some", "--quick"]) == 0
    assert not list(tmp_path.iterdir())
    assert harness.main(["some"]) == 0
    assert [p.name for p in tmp_path.iterdir()] == ["some.json"]


def test_a_threshold_without_a_figure_is_no_kept_target():
    with pytest.raises(KeyError, match="speed"):
        report.judge({"speed": {"min": 1}}, {"spede": 2.0})
    assert report.judge({"speed": {"min": 1}}, {}, partly=True) == {}


# What benches stand on


def test_slope_of_a_power_law():
    x = [1.0, 3.0, 10.0, 40.0]
    assert timing.log_slope(x, [7 * v**1.3 for v in x]) == pytest.approx(1.3)


def test_works_take_turns():
    order = []
    works = {name: lambda name=name: order.append(name) for name in "ab"}
    taken = timing.interleaved(works, {"a": 3, "b": 1})
    assert "".join(order) == "ab" + "aba" + "a"
    assert {name: len(runs) for name, runs in taken.items()} == {"a": 3, "b": 1}


def test_the_sliding_peer_sees_its_windows():
    q, k, v = (torch.randn(1, 24, 2, 8) for _ in range(3))
    got = sliding.attend(q, k, v, block=4, blocks=3)
    for i in range(24):
        first = 4 * min(max(i // 4 - 1, 0), 3)
        seen = slice(first, first + 12)
        scores = torch.einsum("nh,lnh->nl", q[0, i], k[0, seen]) / 8**0.5
        want = torch.einsum("nl,lnh->nh", scores.softmax(-1), v[0, seen])
        assert torch.allclose(got[0, i], want, atol=1e-5)
    assert sliding.pairs(24, 4, 3) == 24 * 12


def test_the_guide_bench_counts_bytes():
    assert bench("guide").figures(bench("guide").rows(quick=True))["bytes_over_formula"] == 1


def test_the_soak_finds_every_cube_right():
    figures = soak.figures(soak.rows(quick=True))
    assert figures["finite"] == 1 and figures["fewest_cubes_a_layer"] == 16
    assert figures["worst_error"] < 1e-5


def test_the_soak_notices_one_neighbour_too_few(monkeypatch):
    def fewer(layout: CubeLayout, cube: int, reach: str) -> list[int]:
        return neighbours(layout, cube, reach)[1:]

    monkeypatch.setattr("bench.witness.neighbours", fewer)
    assert soak.figures(soak.rows(quick=True))["worst_error"] > 1e-3


def test_memory_of_a_longer_video():
    told = bench("memory").in_a_process("ours", 1)  # its own heap: others leave free blocks
    assert told["tokens"] == 32 * 64 and told["hidden_bytes"] == told["tokens"] * 768 * 4
    assert told["rss_peak_bytes"] > told["rss_before_bytes"] + told["hidden_bytes"]


def test_one_block_against_the_host(host_path, tmp_path):
    file = tmp_path / "block.json"
    command = [sys.executable, "-m", "bench", "block", "--quick", "--json", str(file)]
    env = {**os.environ, "COMFYUI_PATH": str(host_path)}
    done = subprocess.run(command, cwd=harness.RESULTS.parent.parent, env=env, timeout=200)
    assert done.returncode == 0
    told = json.loads(file.read_text())
    assert [row["forward"] for row in told["rows"]] == ["ours", "host"] * 2
    assert all(row["seconds"] > 0 for row in told["rows"])
    assert told["versions"]["host"]


def test_figures_of_a_block():
    rows = [
        {"forward": "ours", "tokens": 16_384, "seconds": 2.0, "flops": 10.0},
        {"forward": "host", "tokens": 16_384, "seconds": 6.0, "flops": 40.0},
    ]
    figures = bench("block").figures(rows)
    assert figures == {"speedup_16k": 3.0, "speedup_over_predicted_16k": 0.75}


def test_figures_of_memory():
    rows = [
        {"forward": "ours", "tokens": n, "above_bytes": above}
        for n, above in ((65_536, 100), (131_072, 120), (262_144, 80))
    ]
    figures = bench("memory").figures([*rows, {"forward": "host", "tokens": 1, "above_bytes": 1}])
    assert figures["deviation_65k_to_262k"] == pytest.approx(0.2)


def test_a_cube_on_the_border_has_its_tokens_in_the_soak():
    layout = CubeLayout(Grid(5, 9, 10), Grid(4, 8, 8))
    needed = soak._needed(layout, [[7], [0]])
    around = [set(neighbours(layout, cube, "faces")) for cube in (7, 0)]
    assert needed == [around[0], {7} | around[1], {0}]


def test_the_results_folder_holds_nothing_else():
    known = {f"{name}{end}" for name in THRESHOLDS for end in (".json", ".png")}
    assert {p.name for p in Path(harness.RESULTS).iterdir()} <= known
