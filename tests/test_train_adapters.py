"""Two LoRAs on one base: who carries one, which is active where, and gradients through both."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from atlasvid_core.guide import make_guide
from atlasvid_core.joint import detail_forward
from atlasvid_core.rope import proxy_axes
from atlasvid_core.train.clips import Clips
from atlasvid_core.train.loop import run
from atlasvid_core.train.student import make_student
from atlasvid_core.train.views import seen_axes
from atlasvid_core.units import Grid
from atlasvid_core.wan.dit import WanConfig, WanDiT

from .train_common import CPU, cached, config_of, randomised


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("train")


def with_train(config, **train):
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **train))


def with_base(config, **base):
    return dataclasses.replace(config, base=dataclasses.replace(config.base, **base))


def student_of(folder, stage="guide", **train):
    config = config_of(folder, stage, **train)
    return make_student(config, CPU), Clips(config).batch(0)


def gradients(student, batch):
    student(batch).mean().backward()
    found = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    for p in student.parameters():
        p.grad = None
    return found


def layers_of(names):
    return {name.split(".lora_")[0].removeprefix("base.blocks.") for name in names}


def test_detail_gets_qkv_and_the_proxy_all_that_is_ever_read(folder):
    student, _ = student_of(folder)
    names = list(student.trainable())
    qkv = {f"{i}.self_attn.{x}" for i in range(2) for x in "qkv"}
    assert layers_of(n for n in names if ".detail." in n) == qkv
    first = {f"0.{x}" for x in ("self_attn.o", "ffn.0", "ffn.2")}
    dead = {"1.self_attn.q"}
    assert layers_of(n for n in names if ".proxy." in n) == (qkv | first) - dead
    assert all(".lora_" in n for n in names)


def test_fresh_loras_change_nothing(folder):
    student, batch = student_of(folder)
    plain = WanDiT(student.base.config)
    state = student.base.state_dict()
    plain.load_state_dict(
        {n.replace(".base_layer", ""): v for n, v in state.items() if ".lora_" not in n}
    )
    plain.requires_grad_(False)
    other = type(student).__new__(type(student))
    torch.nn.Module.__init__(other)
    other.config, other.base = student.config, plain
    other.run_layer = lambda role: lambda number, work, x: work(x)
    assert torch.equal(student(batch), other(batch))


@pytest.mark.parametrize("stage", ["stage1", "guide"])
def test_checkpointed_gradients_are_the_plain_ones(folder, stage):
    student, batch = student_of(folder, stage, checkpointing=False)
    randomised(student)
    want = gradients(student, batch)
    student.config = with_train(student.config, checkpointing=True)
    got = gradients(student, batch)
    assert got.keys() == want.keys() == student.trainable().keys()
    for name in want:
        assert torch.equal(got[name], want[name]), name
        assert want[name].any(), name


def test_each_lora_acts_on_its_own_tokens(folder):
    student, batch = student_of(folder)
    randomised(student)
    guide = student.guide(batch)

    def after_changing(role):
        for name, p in student.trainable().items():
            if f".{role}." in name:
                p.data += 0.05
        return student.guide(batch), student.detail(batch, batch.x0, batch.sigma_B, guide)

    before = student.detail(batch, batch.x0, batch.sigma_B, guide)
    same_guide, detail = after_changing("detail")
    assert all(torch.equal(a, b) for a, b in zip(same_guide.keys, guide.keys, strict=True))
    assert not torch.equal(detail, before)
    other_guide, same_detail = after_changing("proxy")
    assert torch.equal(same_detail, detail)
    assert not any(torch.equal(a, b) for a, b in zip(other_guide.keys, guide.keys, strict=True))


def test_a_crop_sees_of_the_proxy_what_its_place_in_the_picture_sees():
    """With reach `own` nothing crosses cubes, so a crop of whole cubes must come out the same."""
    torch.manual_seed(3)
    model = WanDiT(WanConfig(128, 256, 2)).eval().requires_grad_(False)
    whole, clip, offset = Grid(6, 8, 8), Grid(2, 4, 2), Grid(2, 4, 2)
    latent = torch.randn(1, 16, whole.t, 2 * whole.h, 2 * whole.w)
    proxy, text = torch.randn(1, 16, 2, 6, 6), torch.randn(1, 4, 4096)
    time = torch.tensor([500.0])

    def forward(x, guide):
        return detail_forward(
            model, x, time, text, cube_tok=Grid(2, 2, 2), reach="own", guide=guide
        )

    for alignment in ("ratio", "endpoints"):
        axes = proxy_axes(Grid(2, 3, 3), whole, alignment, 4.0)
        full = forward(latent, make_guide(model, proxy, axes, whole))
        box = (
            ...,
            slice(offset.t, offset.t + clip.t),
            slice(2 * offset.h, 2 * (offset.h + clip.h)),
            slice(2 * offset.w, 2 * (offset.w + clip.w)),
        )
        moved = seen_axes(Grid(2, 3, 3), whole, offset, alignment, 4.0)
        got = forward(latent[box], make_guide(model, proxy, moved, clip))
        assert (got - full[box]).abs().max() < 1e-4 * full.abs().max()
        still = forward(latent[box], make_guide(model, proxy, axes, clip))
        assert (still - full[box]).abs().max() > 1e-2 * full.abs().max()


def refine_after_guide(folder, tmp_path):
    """The config of `refine` on the LoRAs of a run of `guide`."""
    config = config_of(folder, "guide", out=tmp_path / "guide", steps=1)
    assert run(config) == 0
    data = dataclasses.replace(config.data, cache=str(folder / "cache-refine"))
    base = dataclasses.replace(
        config.base,
        proxy_lora=str(tmp_path / "guide" / "proxy.safetensors"),
        detail_lora=str(tmp_path / "guide" / "detail.safetensors"),
    )
    return dataclasses.replace(config, stage="refine", data=data, base=base, out=str(tmp_path))


def test_refine_takes_loras_in_their_place_and_with_their_attention_alone(folder, tmp_path):
    config = refine_after_guide(folder, tmp_path)
    swapped = {"proxy_lora": config.base.detail_lora, "detail_lora": config.base.proxy_lora}
    with pytest.raises(ValueError, match="base.proxy_lora is .* is the detail LoRA: set it to the"):
        make_student(with_base(config, **swapped), CPU)
    with pytest.raises(ValueError, match="base.detail_lora is .* is the proxy LoRA"):
        make_student(with_base(config, detail_lora=config.base.proxy_lora), CPU)
    for name, value in (("cube", (1, 3, 3)), ("reach", "own"), ("alignment", "endpoints")):
        attention = dataclasses.replace(config.attention, **{name: value})
        with pytest.raises(ValueError, match=f"attention.{name} is .* was trained with"):
            make_student(dataclasses.replace(config, attention=attention), CPU)
    bare = tmp_path / "bare.safetensors"  # of another trainer, say
    save_file(load_file(config.base.detail_lora), bare)
    make_student(with_base(config, detail_lora=str(bare)), CPU)


def test_refine_trains_the_detail_ffn_alone(folder, tmp_path):
    config = refine_after_guide(folder, tmp_path)
    cached(config)
    student = make_student(config, CPU)
    batch = Clips(config).batch(0)
    assert {n.split(".")[0] for n in student.trainable()} == {"detail_ffn"}
    before = student.guide(batch)
    want = gradients(student, batch)
    assert want.keys() == student.trainable().keys()
    for p in student.trainable().values():
        p.data += 0.1
    after = student.guide(batch)
    assert all(torch.equal(a, b) for a, b in zip(before.keys, after.keys, strict=True))
    assert not torch.equal(gradients(student, batch)["detail_ffn.0.0.weight"],
                           want["detail_ffn.0.0.weight"])  # fmt: skip
    assert run(config) == 0
    saved = load_file(tmp_path / "ffn.safetensors")
    assert {name.rpartition(".")[2] for name in saved} == {"diff", "diff_b"}
    assert all(value.any() for value in saved.values())


def test_bfloat16_with_autocast_comes_close_to_float32(folder):
    student, batch = student_of(folder)
    randomised(student)
    want = float(student(batch).mean().detach())
    base = dataclasses.replace(student.config.base, dtype="bfloat16")
    half = make_student(dataclasses.replace(student.config, base=base), CPU)
    randomised(half)
    with torch.autocast("cpu", torch.bfloat16):
        loss = half(batch).mean()
    loss.backward()
    assert float(loss.detach()) == pytest.approx(want, rel=0.02)
    assert float(loss.detach()) != want
    for name, p in half.trainable().items():
        assert p.dtype == p.grad.dtype == torch.float32, name
        assert p.grad.isfinite().all() and p.grad.any(), name
