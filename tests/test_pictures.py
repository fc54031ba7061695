"""The pictures are what their scripts draw, and well-formed."""

import xml.etree.ElementTree as ElementTree

import pytest

from devtools.pictures.all import ROOT, drawn

PICTURES = drawn()


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_its_script_draws(name):
    text = PICTURES[name]
    assert (ROOT / name).read_text(encoding="utf-8") == text, "run python -m devtools.pictures"
    svg = ElementTree.fromstring(text)
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert svg.find("{http://www.w3.org/2000/svg}title").text
