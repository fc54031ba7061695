"""The route behind VideoPlan's panel: which model it takes figures for, and what it answers."""

import json

import pytest
import torch
from safetensors.torch import save_file

from atlasvid_core.cost import parameters
from atlasvid_core.cost_table import MODELS
from atlasvid_core.wan.dit import WanConfig

INPUTS = {
    "width": 192, "height": 192, "frames": 33, "fps": 16.0, "r_t": 4.0, "proxy_height": 96,
    "cube_t": 1, "cube_h": 2, "cube_w": 2, "reach": "faces", "alignment": "ratio",
}  # fmt: skip


@pytest.fixture
def ask(pack):
    from atlasvid_pack.nodes.host_machine import file_bytes, header, machine
    from atlasvid_pack.nodes.plan_route import answer

    def ask(inputs=None, **job):
        body = {"inputs": {**INPUTS, **(inputs or {})}, "job": job}
        found = answer(body, machine(), header, file_bytes)
        return json.loads(json.dumps(found, allow_nan=False))

    return ask


def test_the_model_is_read_off_the_file_that_the_workflow_loads(ask, tmp_path):
    import folder_paths

    found = ask(model_file="atlasvid_tiny.safetensors", vae_file="atlasvid_tiny_vae.safetensors")
    assert found["model"] == {"label": "AtlasVid-Tiny", "source": "file"}
    assert found["job"]["config"]["width"] == 128
    assert found["job"]["vae_dim"] == 8
    shapes = {
        "head.modulation": (1, 2, 256), "head.head.weight": (64, 256),
        "patch_embedding.weight": (256, 16, 1, 2, 2),
        "blocks.0.ffn.0.weight": (512, 256), "blocks.1.ffn.0.weight": (512, 256),
    }  # fmt: skip
    weights = {name: torch.zeros(shape).to(torch.float8_e4m3fn) for name, shape in shapes.items()}
    save_file(weights, tmp_path / "own.safetensors")
    folder_paths.add_model_folder_path("diffusion_models", str(tmp_path))
    found = ask(model_file="own.safetensors")
    assert found["job"]["config"] == {
        "width": 256, "ffn_width": 512, "layers": 2, "in_channels": 16, "out_channels": 16,
        "image": False,
    }  # fmt: skip
    assert found["job"]["weight_bytes"] == 1  # kept in 8 bits


@pytest.mark.parametrize(
    ("job", "label", "source"),
    [
        ({}, "Wan2.1 1.3B", "default"),
        ({"model_file": "wan2.1_t2v_14B_fp8.gguf"}, "Wan2.1 14B", "name"),
        ({"model_file": "../../etc/passwd"}, "Wan2.1 1.3B", "unknown"),
        ({"model_file": "wan2.2_ti2v_5B_fp16.safetensors"}, "Wan2.1 1.3B", "unknown"),
        ({"model": "14b", "model_file": "atlasvid_tiny.safetensors"}, "Wan2.1 14B", "chosen"),
    ],
)
def test_a_model_that_no_file_shows_is_named_or_chosen(ask, job, label, source):
    assert ask(**job)["model"] == {"label": label, "source": source}


@pytest.mark.parametrize("model", ["auto", "1.3b"])
def test_a_gguf_weighs_what_its_file_does(ask, tmp_path, model):
    """Of a 14B in 4 bits; the share of a bit is the same where another model is chosen."""
    import folder_paths

    folder_paths.add_model_folder_path("diffusion_models", str(tmp_path))
    size_bytes = 9_000_000_000
    with (tmp_path / "wan2.1-t2v-14b-Q4_K_M.gguf").open("wb") as file:
        file.truncate(size_bytes)  # of holes: nothing is written
    found = ask(model_file="wan2.1-t2v-14b-Q4_K_M.gguf", model=model)
    assert found["job"]["weight_bytes"] == size_bytes / parameters(MODELS["14b"])
    if model == "auto":
        detail = next(stage for stage in found["stages"] if stage["name"] == "detail")
        assert detail["weight_bytes"] == pytest.approx(size_bytes, rel=1e-9)


def test_a_loader_may_hold_any_file_in_8_bits(ask):
    tiny = {"model_file": "atlasvid_tiny.safetensors"}
    assert ask(**tiny, weight_dtype="default")["job"]["weight_bytes"] > 1
    assert ask(**tiny, weight_dtype="fp8_e4m3fn_fast")["job"]["weight_bytes"] == 1


def test_what_the_workflow_says_reaches_the_job(ask):
    found = ask(
        proxy_steps=0, detail_steps=7, reads_video=True, enlarges=True, memory_budget=1.5,
        guide_dtype="float16", guide_store="disk", keep_steps=False, images=True, codec="ffv1",
        bits="10", stage1_lora=False,
    )["job"]  # fmt: skip
    assert found["memory_budget_bytes"] == 1.5 * 2**30
    assert (found["guide_bytes"], found["guide_on_disk"]) == (2, True)
    assert (found["proxy_steps"], found["detail_steps"]) == (0, 7)
    assert (found["reads_video"], found["stage1_lora"]) == (True, False)
    assert (found["enlarges"], found["keep_steps"], found["images"]) == (True, False, True)
    assert (found["codec"], found["bits"]) == ("ffv1", 10)


@pytest.mark.parametrize(
    ("inputs", "job", "words"),
    [
        ({"cube_t": 0}, {}, "at least 1"),
        ({"frames": 1e9}, {}, "out of bounds"),
        ({"width": "wide"}, {}, "could not convert"),
        ({"width": None}, {}, "no request of VideoPlan"),
        ({}, {"model": "99b"}, "unknown"),
        ({}, {"detail_steps": "many"}, "many"),
    ],
)
def test_what_can_not_be_served_is_said(ask, inputs, job, words):
    assert words in ask(inputs, **job)["error"]


@pytest.mark.parametrize("body", [None, [], {}, {"inputs": 3}, {"inputs": INPUTS, "job": 5}])
def test_a_body_that_is_no_request_is_no_crash(pack, body):
    from atlasvid_pack.nodes.host_machine import file_bytes, header, machine
    from atlasvid_pack.nodes.plan_route import answer

    assert "no request of VideoPlan" in answer(body, machine(), header, file_bytes)["error"]


def test_a_machine_is_measured_when_idle_and_its_best_is_remembered(pack, monkeypatch, tmp_path):
    import folder_paths
    from atlasvid_pack.atlasvid_core.calibration import Calibration
    from atlasvid_pack.nodes import host_machine

    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path))
    measured = [Calibration(5.0, 3.0), Calibration(3.0, 4.0)]  # popped from the end
    monkeypatch.setattr(host_machine, "calibrate", lambda device: measured.pop())
    kept = host_machine.KeptCalibration()
    assert kept.begin(lambda: False) and len(measured) == 2  # a job runs: ask again
    for _ in range(2):
        kept.begin(lambda: True)
        kept._thread.join(10)
    assert kept.begin(lambda: True) is False
    assert kept.found() == Calibration(3.0, 4.0) and len(measured) == 1
    again = host_machine.KeptCalibration()  # the next start
    assert again.found() == Calibration(3.0, 4.0)
    assert again.begin(lambda: False) is False  # a figure is there, and no other comes
    again.begin(lambda: True)
    again._thread.join(10)
    assert again.found() == Calibration(5.0, 4.0) == host_machine.KeptCalibration().found()
    monkeypatch.setattr(host_machine, "device_name", lambda: "another machine")
    assert host_machine.KeptCalibration().found() is None


def test_the_default_model_is_wans(ask):
    assert WanConfig(**ask()["job"]["config"]) == WanConfig()
