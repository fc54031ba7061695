"""What the trainer saves, loaded by the host's own LoRA loader."""

import dataclasses
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open

from atlasvid_core.lora_metadata import contradictions, from_header
from atlasvid_core.plan import make_plan
from atlasvid_core.train import export
from atlasvid_core.train.clips import Clips
from atlasvid_core.train.student import make_student
from atlasvid_core.units import Grid

from ..train_common import CPU, config_of, randomised


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


@pytest.fixture(scope="module")
def saved(folder):
    """By stage: the student with LoRAs that matter, a batch, and the files of `export`."""

    def make(config):
        student, clips = randomised(make_student(config, CPU)), Clips(config)
        paths = export.export(student, clips.training, folder / config.stage, 7)
        return student, clips.batch(0), {path.stem: path for path in paths}

    stage1, guide = make(config_of(folder, "stage1")), make(config_of(folder, "guide"))
    config = guide[0].config
    base = dataclasses.replace(
        config.base, proxy_lora=str(guide[2]["proxy"]), detail_lora=str(guide[2]["detail"])
    )
    student = randomised(
        make_student(dataclasses.replace(config, stage="refine", base=base), CPU), 1
    )
    paths = export.export(student, Clips(config).training, folder / "refine", 7)
    return {"stage1": stage1, "guide": guide, "refine": (student, guide[1], {"ffn": paths[0]})}


@pytest.fixture(scope="module")
def loaded(host, pack, folder, saved, tmp_path_factory):
    """The base with LoRA files put on by the stock loader, every name matched, on the CPU."""
    import comfy.sd
    import folder_paths
    import nodes as host_nodes
    from atlasvid_pack.nodes import host as adapter

    place = tmp_path_factory.mktemp("loras")
    folder_paths.add_model_folder_path("loras", str(place))
    model = comfy.sd.load_diffusion_model(str(folder / "base.safetensors"))

    def load(*files):
        patched = model
        for file in files:
            name = f"trained_{file.name}"  # other tests' folders may hold files of the plain name
            shutil.copy(file, place / name)
            folder_paths.filename_list_cache.pop("loras", None)
            assert adapter.lora_unmatched(model, file) == []
            patched = host_nodes.LoraLoaderModelOnly().load_lora_model_only(patched, name, 1.0)[0]
            with safe_open(file, "pt") as opened:
                names = {n for n in opened.keys() if not n.endswith(".alpha")}  # noqa: SIM118
            assert len(names) > 0
        network = adapter.load_network(patched, (1, 16, 2, 6, 6))
        return {name: p.detach().clone() for name, p in network.named_parameters()}

    return load


def merged(student, role):
    """The student's base weights with a LoRA added in, under the network's names."""
    out = {}
    for name, module in student.base.named_modules():
        if hasattr(module, "lora_A"):
            weight = module.base_layer.weight
            if role in module.lora_A:
                weight = weight + module.get_delta_weight(role)
            out[f"{name}.weight"] = weight
    return out


@pytest.mark.parametrize(
    ("stage", "role"), [("stage1", "stage1"), ("guide", "proxy"), ("guide", "detail")]
)
def test_the_stock_loader_makes_the_weights_that_were_trained(loaded, saved, stage, role):
    student, _, files = saved[stage]
    plain, got, want = loaded(), loaded(files[role]), merged(student, role)
    changed = {name for name in got if not torch.equal(got[name], plain[name])}
    assert changed == {n for n in want if f"{role}" in student.base.get_submodule(
        n.removesuffix(".weight")).lora_A}  # fmt: skip
    for name in changed:
        step = (want[name] - plain[name]).abs().max()
        assert (got[name] - want[name]).abs().max() < 0.02 * step, name  # bfloat16 in the file


def test_the_refined_ffn_loads_beside_the_detail_lora(loaded, saved):
    student, _, files = saved["refine"]
    detail = saved["guide"][2]["detail"]
    plain, got = loaded(detail), loaded(detail, files["ffn"])
    changed = {name for name in got if not torch.equal(got[name], plain[name])}
    want = {
        f"blocks.{number}.ffn.{name}": p
        for number, ffn in enumerate(student.detail_ffn)
        for name, p in ffn.named_parameters()
    }
    assert changed == set(want)
    for name in want:
        step = (want[name] - plain[name]).abs().max()
        assert (got[name] - want[name]).abs().max() < 0.02 * step, name


def test_metadata_says_what_was_seen(saved):
    _, _, files = saved["guide"]
    with safe_open(files["detail"], "pt") as file:
        facts = from_header(file.metadata())
    assert (facts.stage, facts.role, facts.base, facts.steps) == ("guide", "detail", "random", 7)
    assert (facts.cube, facts.reach, facts.alignment) == ((1, 2, 2), "faces", "ratio")
    assert (facts.r_t, facts.proxy_timestep) == ((1.0, 2.0), "zero")
    assert facts.proxy_height_px == facts.proxy_width_px == (32, 48)
    plan = make_plan(
        width_px=96, height_px=96, frames_px=9, r_t=2, proxy_height_px=48, cube_tok=Grid(1, 2, 2)
    )
    assert contradictions(facts, plan, "detail") == []
    other = dataclasses.replace(plan, reach="own")
    assert contradictions(facts, other, "detail") == ["reach is own, it was trained with faces"]


def test_the_node_says_in_the_log_what_of_a_plan_a_lora_was_not_trained_for(
    host, pack, saved, tmp_path, caplog
):
    import comfy.sd
    import folder_paths
    from atlasvid_pack.nodes import host as adapter

    folder_paths.add_model_folder_path("loras", str(tmp_path))
    shutil.copy(saved["guide"][2]["detail"], tmp_path / "warned.safetensors")
    folder_paths.filename_list_cache.pop("loras", None)
    inputs = {"model": ["1", 0], "lora_name": "warned.safetensors", "strength_model": 1.0}
    job = {"1": {"inputs": {"unet_name": "base"}}, "2": {"inputs": inputs}}
    job["3"] = {"inputs": {"model": ["2", 0], "plan": ["9", 0]}}
    hidden = SimpleNamespace(prompt=job, unique_id="3")
    model = comfy.sd.load_diffusion_model(saved["guide"][0].config.base.file)
    fits = {"width_px": 96, "height_px": 96, "frames_px": 9, "r_t": 2, "proxy_height_px": 48}
    for cube, said in ((Grid(1, 2, 2), False), (Grid(2, 2, 2), True)):
        caplog.clear()
        plan = make_plan(**fits, cube_tok=cube)
        adapter.check_model(model, "LocalityPreservingPatch", hidden, plan)
        assert ("it was trained with 1 x 2 x 2" in caplog.text) == said, caplog.text
