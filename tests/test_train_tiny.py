"""AtlasVid-Tiny comes out of its own command; its LoRAs out of the trainer, with its presets."""

import json

import pytest
import torch
from safetensors.torch import load_file

from atlasvid_core.tiny import __main__ as tiny
from atlasvid_core.tiny import make_loras
from atlasvid_core.tiny.words import FILES
from atlasvid_core.wan.io import load_dit, load_vae


@pytest.fixture(autouse=True)
def threads_of_before():
    """The command sets their number for good, and other tests run in this process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_both_stages_run_from_world_to_files_and_go_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    changes = ("data.held_out=1", "train.batch=2", "log.sample=0", "log.validate=0")
    small = [word for change in changes for word in ("--set", change)]
    for steps in ("1", "2"):
        command = [
            "--out",
            str(tmp_path / "out"),
            "--videos",
            "5",
            *small,
            "--set",
            f"train.steps={steps}",
        ]
        assert make_loras.main(command) == 0
    said = capsys.readouterr().out
    for stage, names in (("stage1", ["stage1"]), ("guide", ["proxy", "detail"])):
        assert f"{stage}: step 2/2" in said
        assert said.count(f"{stage}: cache ready") == 2
        for name in names:
            lora = load_file(tmp_path / "out" / stage / f"{name}.safetensors")
            assert any(lora[key].any() for key in lora if key.endswith("lora_B.weight"))
    assert said.count("cache: shard 1 of 1") == 2  # one for each stage, none the second time


def test_vae_and_base_come_from_nothing_go_on_and_their_time_is_kept(tmp_path, capsys):
    out = ["--out", str(tmp_path)]
    assert tiny.main(["vae", "--steps", "1", *out]) == 0
    short = load_vae(tmp_path / "vae.safetensors").state_dict()
    for steps in ("1", "2"):
        assert tiny.main(["decoder", "--steps", steps, *out]) == 0
    full = load_vae(tmp_path / "decoder.safetensors").state_dict()
    changed = {name.split(".")[0] for name in short if not torch.equal(short[name], full[name])}
    assert changed == {"conv2", "decoder"}  # latents stay, and what was trained on them
    for steps in ("1", "2"):
        assert tiny.main(["base", "--steps", steps, "--clips", "160", *out]) == 0
    said = capsys.readouterr().out
    assert "vae 1/1 loss" in said
    assert "decoder 2/2 loss" in said
    assert "base 1/1 loss" in said
    assert "base 2/2 loss" in said
    assert said.count("cached 4: ") == 1  # the second run finds the latents of the first
    made = load_dit(tmp_path / "base.safetensors").state_dict()
    shipped = load_dit(FILES / "diffusion_models" / "atlasvid_tiny.safetensors").state_dict()
    assert {n: p.shape for n, p in made.items()} == {n: p.shape for n, p in shipped.items()}
    assert all(torch.isfinite(p).all() for p in made.values())
    times = json.loads((tmp_path / "wall_time.json").read_text())
    assert set(times) == {"vae", "decoder", "base"}
    assert f"{times['base']:.0f} s in all its runs" in said
