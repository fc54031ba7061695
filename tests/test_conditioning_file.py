"""Conditioning in a file: what comes back is what went in, bit for bit."""

import pytest
import torch

from atlasvid_core.conditioning_file import (
    NotStorable,
    is_conditioning,
    load_conditioning,
    save_conditioning,
)


def same(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        kinds = (a.dtype, a.shape) == (b.dtype, b.shape)
        return kinds and torch.equal(a.view(torch.uint8), b.view(torch.uint8))
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and (a == b or a != a)


def test_every_kind_of_extra_comes_back(tmp_path):
    one = torch.randn(1, 7, 64)
    one[0, 0, 0], one[0, 0, 1] = float("nan"), -0.0
    both = [
        [one, {"pooled_output": None, "attention_mask": torch.ones(1, 7, dtype=torch.int64)}],
        [one.bfloat16(), {
            "pooled_output": torch.randn(1, 8, dtype=torch.float16), "strength": 0.1,
            "area": (1, 2),
            "nested": {"list": [one, [], {}], "yes": True, "text": "ü", "inf": float("inf")},
        }],
    ]  # fmt: skip
    path = tmp_path / "folder" / "a.safetensors"
    save_conditioning(both, path, "a prompt, ü")
    found, text = load_conditioning(path)
    assert text == "a prompt, ü" and same(found, both)
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]


def test_strided_and_shared_tensors(tmp_path):
    base = torch.arange(24.0).reshape(1, 4, 6)
    conditioning = [[base[:, :, ::2], {"pooled_output": base[:, 0], "again": base}]]
    save_conditioning(conditioning, tmp_path / "a.safetensors", "")
    found, _ = load_conditioning(tmp_path / "a.safetensors")
    assert torch.equal(found[0][0], base[:, :, ::2]) and torch.equal(found[0][1]["again"], base)


def test_what_no_file_can_hold_is_named(tmp_path):
    with pytest.raises(NotStorable, match=r"conditioning\[0\]\[1\].hooks is a object"):
        conditioning = [[torch.ones(1), {"hooks": object()}]]
        save_conditioning(conditioning, tmp_path / "a.safetensors", "")
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_foreign_file_is_no_conditioning(tmp_path):
    path = tmp_path / "a.safetensors"
    save_conditioning([[torch.ones(1, 2, 3), {}]], path, "")
    assert is_conditioning(path)
    path.write_bytes(path.read_bytes()[:-1])
    assert not is_conditioning(path)
    with pytest.raises(ValueError, match="a.safetensors can't be read .*: delete it"):
        load_conditioning(path)
