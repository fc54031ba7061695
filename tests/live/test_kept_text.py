"""On a live server, with a text encoder of the host's own kind: a kept prompt loads no encoder."""

import pytest
import torch
from safetensors.torch import save_file

from atlasvid_core.conditioning_file import load_conditioning

from ..clip_file import write_clip_l

FILE = "atlasvid_test_clip.safetensors"


@pytest.fixture(scope="module")
def encoder(server):
    path = server.base / "models" / "text_encoders" / FILE
    write_clip_l(path)
    yield FILE
    path.unlink()


@pytest.fixture
def ask(server, encoder):
    """-> run(text): the kinds of nodes that ran, what the node says; on a server that forgot."""

    def run(text: str, **loader) -> tuple[set[str], str]:
        server.forget()
        loader = {"clip_name": encoder, "type": "stable_diffusion", "device": "default"} | loader
        workflow = {
            "1": {"class_type": "CLIPLoader", "inputs": loader},
            "2": {
                "class_type": "AtlasVidCachedTextEncode",
                "inputs": {"clip": ["1", 0], "text": text},
            },
            "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}},
        }
        ran = set()

        def note(kind, data):
            if kind == "executing" and data["node"] is not None:
                ran.add(workflow[data["node"]]["class_type"])

        entry = server.queue(workflow, note)
        return ran, entry["outputs"]["3"]["text"][0]

    return run


def test_a_kept_prompt_loads_no_encoder(ask, server):
    everything = {"CLIPLoader", "AtlasVidCachedTextEncode", "PreviewAny"}
    ran, said = ask("a lake at dawn")
    assert ran == everything and said.startswith("encoded, kept as a-lake-at-dawn-")
    name = said.removeprefix("encoded, kept as ")
    first, text = load_conditioning(server.output / "atlasvid" / "conditioning" / name)
    assert text == "a lake at dawn" and first[0][0].shape == (1, 77, 768)
    assert first[0][1]["pooled_output"].shape == (1, 768)

    ran, said = ask("a lake at dawn")
    assert ran == everything - {"CLIPLoader"} and said == f"read from {name}"
    assert ask("a lake at dusk")[0] == everything  # another prompt
    assert ask("a lake at dawn", device="cpu")[0] == everything  # another setting
    ran, said = ask("a lake at dawn")
    assert ran == everything - {"CLIPLoader"}

    path = server.output / "atlasvid" / "conditioning" / name
    path.write_bytes(path.read_bytes()[:-5])
    assert ask("a lake at dawn")[0] == everything  # damaged: encoded anew
    again, _ = load_conditioning(path)
    assert torch.equal(again[0][0], first[0][0])


def test_a_prompt_with_an_embedding_is_not_kept(ask, server):
    """Its file may be another the next time."""
    folder = server.base / "models" / "embeddings"
    folder.mkdir(parents=True, exist_ok=True)
    text, found = "a lake, (embedding:atlasvid_test:1.2)", []
    for seed in (1, 2):
        torch.manual_seed(seed)
        save_file({"emb_params": torch.randn(2, 768)}, folder / "atlasvid_test.safetensors")
        ran, said = ask(text)
        found.append("CLIPLoader" in ran and said)
    words = "encoded, not kept: the prompt reads a file by embedding:, which may change"
    assert found == [words, words]


def test_a_kept_file_serves_without_an_encoder(ask, server):
    name = ask("两条船")[1].rsplit(" ", 1)[1]
    assert name.startswith("两条船-")
    workflow = {
        "1": {"class_type": "AtlasVidLoadConditioning", "inputs": {"file": name}},
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
    }
    assert server.queue(workflow)["outputs"]["2"]["text"] == ["两条船"]
