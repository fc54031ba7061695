"""A node that was renamed still loads, runs and saves under its old name."""

import asyncio

import pytest
import torch


@pytest.fixture(scope="module")
def entry(pack):
    """TinyPrompt, as if it had been called AtlasVidWords, with `words` and without `view`."""
    from atlasvid_pack.nodes.prompt import TinyPrompt
    from atlasvid_pack.nodes.renamed import Renamed

    return Renamed("AtlasVidWords", TinyPrompt, {"words": "text"}, {"view": "closeup"})


@pytest.fixture(scope="module")
def old(entry):
    from atlasvid_pack.nodes.renamed import twin

    return twin(entry)


def test_the_old_node_has_its_old_inputs_and_is_marked_deprecated(old, entry):
    info = old.GET_NODE_INFO_V1()
    assert info["name"] == "AtlasVidWords"
    assert list(info["input"]["required"]) == ["words"]
    assert info["deprecated"] is True
    assert info["output"] == ["CONDITIONING", "CONDITIONING"]
    assert list(entry.new.GET_NODE_INFO_V1()["input"]["required"]) == ["text", "view"]  # untouched


def test_the_old_node_does_what_the_new_one_does(old, entry):
    text = "a red ball crosses right under a day sky"
    want = entry.new.execute(text=text, view="closeup").args[0][0][0]
    assert torch.equal(old.execute(words=text).args[0][0][0], want)


def test_the_host_runs_it_by_its_old_name(old, host):
    """As the host's executor calls a V3 node: a locked copy of the class."""
    copy = old.PREPARE_CLASS_CLONE(None)
    made = getattr(copy, old.FUNCTION)(words="a blue box crosses left under a dusk sky")
    assert made.args[0][0][0].shape[-1] == 4096


def test_what_a_host_with_replacements_is_told(entry):
    from atlasvid_pack.nodes.renamed import register_replacements, replacement
    from comfy_api.latest import io

    told = replacement(entry)
    assert told == {
        "new_node_id": "AtlasVidTinyPrompt",
        "old_node_id": "AtlasVidWords",
        "old_widget_ids": ["words"],
        "input_mapping": [
            {"new_id": "text", "old_id": "words"},
            {"new_id": "view", "set_value": "closeup"},
        ],
        "output_mapping": [{"new_idx": i, "old_idx": i} for i in (0, 1)],
    }
    if hasattr(io, "NodeReplace"):
        assert io.NodeReplace(**told).as_dict() == told
    else:
        asyncio.run(register_replacements((entry,)))  # such a host is left alone


def test_every_old_name_is_listed_beside_the_new_nodes(pack):
    from atlasvid_pack.nodes import NODES, renamed

    listed = asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list())
    ids = [node.GET_SCHEMA().node_id for node in listed]
    assert ids[len(NODES) :] == [entry.old_id for entry in renamed.RENAMED]
    assert len(set(ids)) == len(ids)
