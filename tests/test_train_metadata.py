"""What a LoRA's header says of its training, and which plans contradict it."""

import dataclasses
import json
import re

import pytest

from atlasvid_core.lora_metadata import LoraFacts, contradictions, from_header, to_header
from atlasvid_core.plan import make_plan
from atlasvid_core.train.cache import _clip, cut_of
from atlasvid_core.train.config import load
from atlasvid_core.train.export import lora_facts
from atlasvid_core.units import Grid

from .conftest import ROOT

PLAN = make_plan(width_px=3840, height_px=2160, frames_px=321, proxy_height_px=480)
DETAIL = LoraFacts(
    stage="guide",
    role="detail",
    base="Wan2.1-T2V-1.3B",
    r_t=(1.0, 4.0),
    proxy_height_px=(160, 480),
    proxy_width_px=(288, 848),
    proxy_frames=(21, 81),
    cube=(4, 8, 8),
    reach="faces",
    alignment="ratio",
    ratio=(1.5, 4.6),
    steps=15000,
)
STAGE1 = LoraFacts("stage1", "stage1", "b", (4.0, 4.0), (720, 720), (1280, 1280), (81, 81))


@pytest.mark.parametrize("facts", [DETAIL, STAGE1], ids=["detail", "stage1"])
def test_the_header_comes_back_as_it_was(facts):
    header = to_header(facts)
    assert all(type(value) is str for value in header.values())
    assert from_header(header) == facts
    assert from_header(header | {"atlasvid.later": "1"}) == facts


def test_other_headers_are_none_of_ours_and_broken_ones_are_named():
    assert from_header(None) is None
    assert from_header({"format": "pt"}) is None
    for broken in ({"atlasvid.stage": "oops"}, {"atlasvid.stage": '"guide"'}):
        with pytest.raises(ValueError, match="metadata cannot be read"):
            from_header(broken)


def test_a_plan_like_the_training_contradicts_nothing():
    assert contradictions(DETAIL, PLAN, "detail") == []
    proxy = dataclasses.replace(DETAIL, role="proxy")
    assert contradictions(proxy, PLAN, "proxy") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"cube_tok": Grid(2, 8, 8)}, "cube is 2 x 8 x 8, it was trained with 4 x 8 x 8"),
        ({"reach": "all"}, "reach is all, it was trained with faces"),
        ({"alignment": "endpoints"}, "alignment is endpoints, it was trained with ratio"),
        ({"r_t": 8.0, "proxy_frames_px": 41}, "r_t is 8, it was trained with 1 to 4"),
        ({"proxy_frames_px": 9}, "proxy frames is 9, it was trained with 21 to 81"),
        ({"width_px": 5120}, "target / proxy along w is 6.0"),
        ({"proxy_height_px": 720}, r"proxy height \(px\) is 720, it was trained with 160 to 480"),
    ],
)
def test_each_contradiction_is_said_alone(change, said):
    (sentence,) = contradictions(DETAIL, dataclasses.replace(PLAN, **change), "detail")
    assert re.match(said, sentence)


def test_roles_and_timesteps():
    (sentence,) = contradictions(DETAIL, PLAN, "proxy")
    assert sentence == (
        "it is the detail LoRA and belongs on the model of LocalityPreservingPatch, not of "
        "ScaledRoPEAligner"
    )
    shared = dataclasses.replace(DETAIL, proxy_timestep="shared")
    assert "timestep 'shared'" in contradictions(shared, PLAN, "detail")[0]


def test_stage_one_is_held_to_its_size_and_time_scale_alone():
    plan = dataclasses.replace(PLAN, proxy_height_px=720, proxy_width_px=1280, reach="own")
    assert contradictions(STAGE1, plan, "stage1") == []
    (sentence,) = contradictions(STAGE1, dataclasses.replace(plan, r_t=2.0), "stage1")
    assert sentence == "r_t is 2, it was trained with 4"


def plan_of(template):
    """What a template's VideoPlan plans, as its file for the API has it."""
    path = ROOT / "workflows" / "api" / f"{template}.json"
    nodes = json.loads(path.read_text("utf-8")).values()
    (told,) = (node["inputs"] for node in nodes if node["class_type"] == "AtlasVidPlan")
    return make_plan(
        width_px=told["width"], height_px=told["height"], frames_px=told["frames"],
        fps=told["fps"], r_t=told["r_t"], proxy_height_px=told["proxy_height"],
        cube_tok=Grid(told["cube_t"], told["cube_h"], told["cube_w"]), reach=told["reach"],
        alignment=told["alignment"],
    )  # fmt: skip


def facts_of(preset, role):
    """What a LoRA of this preset says of itself, by the geometry of its clips."""
    config = load(ROOT / "atlasvid_core" / "train" / "presets" / f"{preset}.toml")
    cuts = [cut_of(config, number, 400) for number in range(300)]
    clips = [_clip(number, number, "", chosen) for number, chosen in enumerate(cuts)]
    return lora_facts(config, clips, role, 1)


TEMPLATES = [
    (model, path.stem)
    for path in sorted((ROOT / "workflows" / "api").glob("*.json"))
    for model in (("tiny",) if path.stem.startswith("tiny") else ("wan_1.3b", "wan_14b"))
]


@pytest.mark.parametrize(("model", "template"), TEMPLATES)
def test_loras_of_the_presets_fit_the_plans_of_the_templates(model, template):
    plan = plan_of(template)
    for role in ("proxy", "detail"):
        assert contradictions(facts_of(f"{model}_guide", role), plan, role) == []
    found = contradictions(facts_of(f"{model}_stage1", "stage1"), plan, "stage1")
    if plan.r_t == 4:  # templates with another have no frames for it, or no stage 1
        assert found == []
    assert [sentence for sentence in found if "(px)" in sentence] == []
