"""The ablations: rows that differ by what they name, cells that pair and outlive a stop."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from atlasvid_core.attention.mask import detail_mask
from atlasvid_core.joint import detail_forward
from atlasvid_core.lora_metadata import LoraFacts, to_header
from atlasvid_core.train.adapters import PREFIX, modules_of
from atlasvid_core.units import Grid
from bench import report
from bench.ablation import __main__ as command
from bench.ablation import making, masked
from bench.ablation.judging import MEASURES
from bench.ablation.keeping import Keep, complete
from bench.ablation.kit import BASE, Case, Kit, Setting
from bench.ablation.table import figures, table, text
from bench.ablation.ways import ROWS, Stage2, chosen

SETTING = dataclasses.replace(Setting.small(), steps=1, cube_tok=Grid(1, 2, 2))


@pytest.fixture(scope="module")
def loras(tmp_path_factory):
    """Random LoRAs of the tiny base, which change what it makes."""
    folder = tmp_path_factory.mktemp("loras")
    base, rank = load_file(BASE), 2
    for seed, role in enumerate(("stage1", "proxy", "detail")):
        draw, saved = torch.Generator().manual_seed(seed), {}
        for name in modules_of(role, layers=6):
            wide, narrow = base[f"{name}.weight"].shape
            for part, shape in (("A", (rank, narrow)), ("B", (wide, rank))):
                saved[f"{PREFIX}{name}.lora_{part}.weight"] = 0.1 * torch.randn(
                    shape, generator=draw
                )
        facts = LoraFacts(
            "guide", role, "tiny", (1, 4), (32, 96), (32, 96), (5, 9), (1, 2, 2), "faces", "ratio",
            (2, 4),
        )  # fmt: skip
        save_file(saved, folder / f"any name {seed}.safetensors", to_header(facts))
    return folder


@pytest.fixture(scope="module")
def kit(loras):
    return Kit(loras, SETTING)


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def run(loras, work, *more):
    quick = ("--quick", "--steps", "1", "--cells", "1", "--loras", str(loras))
    return command.main([*quick, "--work", str(work), "--json", str(work / "t.json"), *more])


def test_the_table_from_nothing_and_from_what_was_kept(loras, tmp_path, capsys):
    run(loras, tmp_path)
    first = (tmp_path / "t.json").read_text("utf-8")
    told = json.loads(first)
    assert [row["row"] for row in told["rows"]] == [row.name for row in ROWS]
    assert all(row["cells"] == 1 and MEASURES.keys() <= row.keys() for row in told["rows"])
    assert told["targets"].keys() == report.thresholds()["ablation"].keys()
    assert (tmp_path / "t.png").stat().st_size > 10_000
    said = capsys.readouterr().out
    assert "full method" in said and len([x for x in said.splitlines() if " full " in x]) == 1
    kept = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("000.*")}
    assert {p.suffix for p in kept} == {".safetensors", ".json", ".png", ".mp4"}
    assert run(loras, tmp_path) in (0, 1)
    assert (tmp_path / "t.json").read_text("utf-8") == first
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("000.*")} == kept


def test_rows_differ_and_a_row_is_the_same_again(kit):
    """Every change that a row makes to stage 2 changes the video; noise is the cell's own."""
    case, again = Case(3, kit), Case(3, kit)
    made = {row.name: making.latent_of(row.way, case) for row in ROWS}
    assert torch.equal(made["full"], making.latent_of(Stage2(), again))
    latents = {name: x for name, x in made.items() if x is not None}
    names = sorted(latents)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert not torch.equal(latents[a], latents[b]), (a, b)
    assert set(made) - set(latents) == {"bicubic"}
    assert not torch.equal(case.noise(SETTING.plan().target_lat), Case(4, kit).noise((5, 8, 8)))


def test_the_masked_forward_is_the_detail_forward(kit):
    case, plan = Case(0, kit), SETTING.plan()
    guide = making.guide_of(Stage2(), case, plan)
    model, layout = kit.dit("detail"), plan.layout
    back = layout.inverse()
    detail = detail_mask(layout, "faces")[back][:, back]
    mask = torch.cat([detail, masked.proxy_mask(plan)], dim=1)
    inputs = case.noise(plan.target_lat), torch.tensor([700.0]), case.text("closeup")
    want = detail_forward(model, *inputs, cube_tok=plan.cube_tok, reach="faces", guide=guide)
    got = masked.masked_forward(model, *inputs, guide, mask)
    assert (got - want).abs().max() < 1e-4 * want.abs().max()


def test_flat_windows_show_as_many_tokens_but_not_those_nearby():
    plan = SETTING.plan()
    mask = masked.flat_mask(plan, 28)[:, : plan.target_tok.count]
    assert mask.sum(1).median() == 27  # three windows of nine
    middle, row = plan.target_tok.count // 2, plan.target_tok.w
    assert mask[middle, middle] and not mask[middle, middle + 5 * row]  # it sees rows, not columns


def test_without_scaled_rope_only_the_keys_turn(kit):
    case, plan = Case(0, kit), SETTING.plan()
    scaled, unscaled = (making.guide_of(Stage2(scaled_rope=s), case, plan) for s in (True, False))
    assert scaled.axes.h.tolist() == unscaled.axes.h.tolist() == plan.proxy_axes().h.tolist()
    assert torch.equal(scaled.values[0], unscaled.values[0])
    assert not torch.equal(scaled.keys[0], unscaled.keys[0])
    assert torch.equal(scaled.keys[0][:, 0], unscaled.keys[0][:, 0])  # the corner is 0 in both


def test_a_stop_loses_the_cell_in_work_alone(kit, tmp_path, monkeypatch):
    rows = chosen("full,bicubic")
    keep, judge = Keep(tmp_path, kit), making.latent_of
    calls = []

    def stopping(way, case):
        calls.append((way, case.number))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return judge(way, case)

    monkeypatch.setattr("bench.ablation.keeping.latent_of", stopping)
    with pytest.raises(KeyboardInterrupt):
        complete(keep, rows, range(2), say=lambda line: None)
    said = []
    cells = complete(keep, rows, range(2), say=said.append)
    assert len(said) == 2 and all("  1  " in line for line in said)
    assert len(calls) == 5  # the third twice, no other
    assert {name: sorted(by) for name, by in cells.items()} == {"full": [0, 1], "bicubic": [0, 1]}
    assert not list(tmp_path.rglob("*.part"))


def test_other_weights_settings_or_judges_are_made_anew(kit, loras, tmp_path, monkeypatch):
    rows = chosen("full,no_lora")

    def fresh(kit) -> set[str]:
        said = []
        complete(Keep(tmp_path, kit), rows, range(1), say=said.append)
        return {line.split()[1] for line in said}

    assert fresh(kit) == {"full", "no_lora"} and fresh(kit) == set()
    other = tmp_path / "other"
    other.mkdir()
    for path in loras.iterdir():
        tensors = {name: 2 * x for name, x in load_file(path).items()}
        save_file(tensors, other / path.name, facts_of(path))
    assert fresh(Kit(other, SETTING)) == {"full"}  # the row without LoRAs is as it was
    assert fresh(Kit(other, dataclasses.replace(SETTING, shift=3.0))) == {"full", "no_lora"}
    latent = (tmp_path / "full" / "000.safetensors").stat().st_mtime_ns
    monkeypatch.setattr("bench.ablation.keeping.judges_identity", lambda: "others")
    assert fresh(Kit(other, dataclasses.replace(SETTING, shift=3.0))) == {"full", "no_lora"}
    assert (tmp_path / "full" / "000.safetensors").stat().st_mtime_ns == latent  # judged alone


def facts_of(path):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.metadata()


def test_shares_make_the_cells_that_the_table_is_made_of(loras, tmp_path, capsys):
    few = ("--rows", "bicubic,truth", "--cells", "3")
    for number in (1, 2):
        assert run(loras, tmp_path, *few, "--share", f"{number}/2") == 0
    assert not (tmp_path / "t.png").exists()
    capsys.readouterr()
    assert run(loras, tmp_path, *few) == 0
    made = [line for line in capsys.readouterr().out.splitlines() if line.endswith(" s")]
    assert not made and (tmp_path / "t.png").exists() and not (tmp_path / "t.json").exists()


def test_rows_are_paired_by_scene(kit):
    rows = chosen("full,full_start,no_proxy,bicubic,plane,all,truth")
    figure = dict.fromkeys(MEASURES, 1.0)
    cells = {row.name: {n: dict(figure) for n in range(4)} for row in rows}
    for n in range(4):  # scenes differ by far more than rows do
        cells["full"][n]["psnr_to_proxy_db"] = 20 + 10 * n
        cells["no_proxy"][n]["psnr_to_proxy_db"] = 13 + 10 * n
        cells["full"][n]["structure_error"] = 0.5 + n
        cells["bicubic"][n]["structure_error"] = 0.6 + n
        cells["no_proxy"][n]["one_hero"] = n % 2
    cells["no_proxy"][9] = cells["full"][0]  # no other row has it
    told = table(rows, cells, kit)
    assert {row["cells"] for row in told} == {4}
    found = figures(told)
    assert found["full_psnr_over_no_proxy_db"] == pytest.approx(7)
    assert found["full_structure_error_over_bicubic_high"] == pytest.approx(-0.1)
    assert found["no_proxy_heroes_over_full"] == 0.5
    none = [row | {"one_hero": 0.0} for row in told]
    assert figures(none)["no_proxy_heroes_over_full"] == 1  # 0 of 0 is no kept target
    low, high = told[0]["psnr_to_proxy_db_interval"]
    assert 20 <= low < told[0]["psnr_to_proxy_db"] == 35 < high <= 50
    assert "full method" in text(told)
    unlike = {row["row"]: row["unlike_training"] for row in told}
    assert unlike["full"] == [] and "reach is plane" in unlike["plane"][0]
    with pytest.raises(ValueError, match="no scene"):
        table(rows, cells | {"all": {7: figure}}, kit)


def test_errors_say_what_to_do(tmp_path, capsys):
    assert run(tmp_path, tmp_path, "--rows", "full") == 1
    assert "--loras" in capsys.readouterr().err
    assert run(tmp_path, tmp_path, "--rows", "half") == 1
    assert "full, full_start, no_proxy" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(tmp_path, tmp_path, "--share", "3/2")
