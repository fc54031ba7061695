"""The tiny model's LoRAs come out of the trainer itself, with the presets that ship."""

from safetensors.torch import load_file

from atlasvid_core.tiny import make_loras


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
