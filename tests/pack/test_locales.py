"""Every word of the nodes is there in every language of the pack, and no word that is gone."""

import json
import re

import pytest

from devtools.make_locales import LOCALES, english, leaves

LANGUAGES = sorted(path.name for path in LOCALES.iterdir())
HAN = re.compile(r"[\u4e00-\u9fff]")


def words_of(language: str) -> dict:
    return json.loads((LOCALES / language / "nodeDefs.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def now(pack) -> dict:
    from atlasvid_pack.nodes import NODES

    infos = {n.GET_SCHEMA().node_id: n.GET_NODE_INFO_V1() for n in NODES}
    return english(infos)


def test_english_is_what_the_nodes_say(now):
    assert words_of("en") == now, "run python -m devtools.make_locales --host DIR"


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_is_missing_and_none_is_stale(now, language):
    assert "zh" in LANGUAGES
    want, have = dict(leaves(now)), dict(leaves(words_of(language)))
    assert sorted(want.keys() - have.keys()) == [], "missing"
    assert sorted(have.keys() - want.keys()) == [], "stale"


def test_chinese_is_chinese(now):
    for key, text in leaves(words_of("zh")):
        if not key.endswith(".name"):  # vae and cfg are what they are
            assert HAN.search(text), f"{key}: {text}"


def test_the_host_serves_them(server, now):
    served = server.client.get("/i18n")
    for language in LANGUAGES:
        assert served[language]["nodeDefs"] == words_of(language)
