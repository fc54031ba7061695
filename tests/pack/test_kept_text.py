"""What names a prompt's conditioning: the prompt, the nodes before the encoder, their files."""

import copy
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from atlasvid_core.beside import beside

from ..clip_file import write_clip_l

PROMPT = {
    "1": {"class_type": "CLIPLoader", "inputs": {"clip_name": "a.safetensors", "type": "wan"}},
    "2": {"class_type": "CLIPSetLastLayer", "inputs": {"clip": ["1", 0], "stop_at_clip_layer": -1}},
    "3": {"class_type": "AtlasVidCachedTextEncode", "inputs": {"clip": ["2", 0], "text": "x"}},
    "4": {"class_type": "KSampler", "inputs": {"positive": ["3", 0], "seed": 1}},
}


@pytest.fixture
def kept(pack):
    from atlasvid_pack.nodes import kept_text

    return kept_text


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(os.urandom(3 * 2**20))
    return path


def test_a_key_follows_what_the_encoder_is_made_of(kept, file, tmp_path):
    def key(prompt=PROMPT, text="x"):
        def find(name):
            return {"text_encoders": [file]} if name == file.name else {}

        encoder = kept.encoder_of(prompt, "3", "clip", find, lambda kind: False)
        return kept.KeptTexts(tmp_path).path(text, encoder).name

    def changed(node, **inputs):
        prompt = copy.deepcopy(PROMPT)
        prompt[node]["inputs"].update(inputs)
        return key(prompt)

    first = key()
    assert changed("4", seed=2) == first == key()
    others = [changed("1", type="sd3"), changed("2", stop_at_clip_layer=-2), key(text="y")]
    assert len({first, *others}) == 4
    data = file.read_bytes()
    os.utime(file, (1, 1))
    assert key() == first  # the content counts, not the date
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert key() != first


def test_what_has_no_lasting_name_says_why(kept):
    with pytest.raises(kept.Unnamed, match="CLIPLoader may give something else"):
        kept.encoder_of(PROMPT, "3", "clip", lambda name: {}, lambda kind: kind == "CLIPLoader")
    with pytest.raises(kept.Unnamed, match="does not show"):
        kept.encoder_of(PROMPT, "9", "clip", lambda name: {}, lambda kind: False)


def test_every_file_that_a_loader_may_mean_counts(pack, kept, tmp_path, monkeypatch):
    """The host finds a file by name and kind, and only the loader knows of which kind."""
    import folder_paths
    from atlasvid_pack.nodes import host_text

    kinds = ("loras", "text_encoders", "text_encoders/more", "elsewhere")
    folders = {kind: tmp_path / kind for kind in kinds}
    for folder in folders.values():
        folder.mkdir()
        (folder / "a.safetensors").write_bytes(b"old" if folder.name != "elsewhere" else b"other")
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {
        "loras": ([str(folders["loras"])], {".safetensors"}),
        "text_encoders": (
            [str(folders["text_encoders"]), str(folders["text_encoders/more"])], {".safetensors"}
        ),
    })  # fmt: skip

    def key(name="a.safetensors"):
        prompt = copy.deepcopy(PROMPT)
        prompt["1"]["inputs"]["clip_name"] = name
        find = host_text.model_files
        return kept.fingerprint(kept.encoder_of(prompt, "3", "clip", find, lambda kind: False))

    seen = [key(), key(str(folders["elsewhere"] / "a.safetensors"))]
    folder_paths.folder_names_and_paths["same"] = ([str(folders["text_encoders"])], set())
    assert key() == seen[0]  # a pack that lists the folder again changes nothing
    for kind in kinds[:3]:
        (folders[kind] / "a.safetensors").write_bytes(f"new {kind}".encode())
        seen.append(key())
    swapped = [folders[kind] / "a.safetensors" for kind in ("loras", "text_encoders")]
    data = [file.read_bytes() for file in swapped]
    for file, other in zip(swapped, reversed(data), strict=True):
        file.write_bytes(other)
    seen.append(key())
    (folders["elsewhere"] / "a.safetensors").write_bytes(b"new")
    seen.append(key(str(folders["elsewhere"] / "a.safetensors")))
    assert len(set(seen)) == len(seen)


@pytest.mark.parametrize(("text", "name"), [
    ("A red ball, rolling", "A-red-ball-rolling"),
    ("黎明时分的山间湖泊，薄雾", "黎明时分的山间湖泊-薄雾"),
    ("Ein Café", "Ein-Caf\u00e9"), ("Ein Cafe\u0301", "Ein-Caf\u00e9"),
    ("हिन्दी में", "हिन्दी-में"), ("озеро/на:рассвете\\?", "озеро-на-рассвете"),
    ("湖" * 90, "湖" * 24), ("lake " * 90, "lake-" * 7 + "lake"), ("😀" * 90, "prompt"),
    ("❤\ufe0f .. \ud800", "prompt"), ("", "prompt"), ("CON", "CON"),
])  # fmt: skip
def test_a_kept_prompt_is_named_by_its_words_in_any_script(kept, tmp_path, text, name):
    path = kept.KeptTexts(tmp_path).path(text, "encoder")
    assert path.parent == tmp_path and path.name.startswith(f"{name}-")
    assert len(path.name) - len(name) == 45
    assert len(beside(path).name.encode()) <= 143  # as it is called while it is written
    if "\ud800" not in text:
        assert kept.KeptTexts(tmp_path).put(path, [[torch.ones(1, 2, 3), {}]], text)
        assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_a_kept_file_of_another_owner_is_read(kept, tmp_path, monkeypatch):
    store = kept.KeptTexts(tmp_path)
    path = store.path("a")
    store.put(path, [[torch.ones(1, 2, 3), {}]], "a")

    def refuse(*_, **__):
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    assert torch.equal(store.get(path, "cpu")[0][0], torch.ones(1, 2, 3))
    path.write_bytes(path.read_bytes()[:-3])
    monkeypatch.setattr(os, "unlink", refuse)
    assert not store.has(path)


def test_the_host_tells_which_nodes_change_by_themselves(pack):
    import nodes as host_nodes
    from atlasvid_pack.nodes import host_text
    from atlasvid_pack.nodes.text import CachedTextEncode, LoadConditioning

    host_nodes.NODE_CLASS_MAPPINGS |= {"AtlasVidA": CachedTextEncode, "AtlasVidB": LoadConditioning}
    kinds = ("CLIPLoader", "DualCLIPLoader", "LoraLoader", "CLIPSetLastLayer", "AtlasVidA")
    assert not any(map(host_text.changes_by_itself, kinds))
    assert all(map(host_text.changes_by_itself, ("LoadImage", "AtlasVidB", "NoSuchNode")))


def test_the_least_used_go_first(kept, tmp_path, monkeypatch):
    store = kept.KeptTexts(tmp_path)
    conditioning = [[torch.ones(1, 8, 64), {}]]
    paths = [store.path(text) for text in "abc"]
    for age, path in zip((30, 20, 10), paths, strict=True):
        assert store.put(path, conditioning, "")
        os.utime(path, (1e9 - age, 1e9 - age))
    store.get(paths[0], "cpu")
    monkeypatch.setattr(kept, "KEEP_BYTES", 2 * paths[0].stat().st_size)
    assert store.put(store.path("d"), conditioning, "")
    assert [store.has(path) for path in paths] == [True, False, True]


def test_a_damaged_file_is_encoded_anew(kept, tmp_path):
    store = kept.KeptTexts(tmp_path)
    path = store.path("a")
    store.put(path, [[torch.ones(1, 2, 3), {}]], "a")
    path.write_bytes(path.read_bytes()[:-3])
    assert not store.has(path) and not path.exists()


@contextmanager
def another_user():
    """One who may not read all; we may be that already."""
    us = os.geteuid()
    try:
        if us == 0:
            os.seteuid(65534)
    except OSError:  # a container that knows no other
        pytest.skip("there is no other user")
    try:
        yield
    finally:
        os.seteuid(us)


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users")
def test_another_users_file_is_neither_read_nor_deleted(kept, caplog):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        store = kept.KeptTexts(Path(folder))
        path = store.path("a")
        store.put(path, [[torch.ones(1, 2, 3), {}]], "a")
        path.chmod(0)
        with another_user():
            try:
                path.stat()
            except OSError:
                pytest.skip("nobody else gets into the folder of temporary files")
            assert not store.has(path) and path.exists()
    assert "can't be read" in caplog.text and "damaged" not in caplog.text


def test_a_file_that_just_went_does_not_tell_that_a_prompt_is_not_kept(kept, tmp_path):
    (tmp_path / "b.safetensors").symlink_to("nothing")  # listed, but not there
    store = kept.KeptTexts(tmp_path)
    assert store.put(store.path("a"), [[torch.ones(1, 2, 3), {}]], "a")


def test_what_a_kill_left_of_a_prompt_goes_in_time(kept, tmp_path):
    store = kept.KeptTexts(tmp_path)
    half = beside(store.path("a"))
    half.mkdir()
    for age_s, stays in ((10, True), (7200, False)):
        os.utime(half, (time.time() - age_s,) * 2)
        assert store.put(store.path("b"), [[torch.ones(1, 2, 3), {}]], "b")
        assert half.exists() == stays


def test_what_can_not_be_kept_does_not_stop_the_job(kept, tmp_path, caplog):
    store = kept.KeptTexts(tmp_path)
    assert not store.put(store.path("a"), [[torch.ones(1), {"hooks": object()}]], "a")
    assert "hooks is a object" in caplog.text


def test_a_hosts_encoder_gives_the_same_bits_through_a_file(kept, tmp_path):
    import comfy.sd
    import nodes as host_nodes
    from atlasvid_pack.nodes import host_text

    write_clip_l(tmp_path / "clip.safetensors")
    clip = comfy.sd.load_clip([str(tmp_path / "clip.safetensors")])
    (want,) = host_nodes.CLIPTextEncode().encode(clip, "a lake at dawn")
    store = kept.KeptTexts(tmp_path / "kept")
    path = store.path("a lake at dawn")
    assert store.put(path, host_text.encode(clip, "a lake at dawn"), "a lake at dawn")
    ((tensor, extras),) = store.get(path, "cpu")
    assert tensor.dtype == want[0][0].dtype and torch.equal(tensor, want[0][0])
    assert extras.keys() == want[0][1].keys()
    assert torch.equal(extras["pooled_output"], want[0][1]["pooled_output"])
    assert tensor.std() > 0.1 and tensor.isfinite().all()
