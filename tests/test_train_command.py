"""The trainer's command: what it says of itself, and what it wants before it begins."""

import re
import shlex
import sys

import pytest

from atlasvid_core.train import __main__ as command
from atlasvid_core.train.config import load

from .conftest import ROOT

PRESETS = ROOT / "atlasvid_core" / "train" / "presets"


def test_the_examples_of_the_help_work_when_typed_into_a_shell():
    said = " ".join(command.parser().format_help().split())
    examples = re.search("change one setting, such as (.*) or (.*)$", said).groups()
    changes = [shlex.split(example)[0] for example in examples]
    config = load(PRESETS / "tiny_guide.toml", changes)
    assert (config.train.steps, config.data.cache) == (100, "cache/a")


@pytest.mark.parametrize("module", ["accelerate", "peft", "transformers", "tensorboard", "cv2"])
def test_a_missing_package_is_named_before_the_cache_begins(
    tmp_path, monkeypatch, capsys, module
):  # fmt: skip
    monkeypatch.setitem(sys.modules, module, None)  # so that no import finds it
    monkeypatch.chdir(tmp_path)
    config = ["--config", str(PRESETS / "wan_1.3b_guide.toml")]
    package = {"cv2": "opencv-python-headless"}.get(module, module)
    assert command.main(["cache", *config]) == 2
    assert f"Do: pip install {package}\n" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_python_3_10_is_told_of_the_reader_of_its_config(monkeypatch, capsys):
    monkeypatch.setattr(sys, "version_info", (3, 10, 0))
    monkeypatch.setitem(sys.modules, "tomli", None)
    assert command.main(["cache", "--config", str(PRESETS / "tiny_guide.toml")]) == 2
    assert "pip install tomli" in capsys.readouterr().err


@pytest.mark.parametrize("page", ["README.md", "docs/training.md"])
def test_the_pages_name_all_that_the_trainer_takes(page):
    (line,) = re.findall("^pip install .*accelerate.*$", (ROOT / page).read_text("utf-8"), re.M)
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    (extra,) = re.findall(r"^train = \[(.*)\]$", project, re.M)
    named = set(shlex.split(line)[2:])
    assert set(re.findall('"([^"]+)"', extra)) <= named
    assert {"-r", "requirements.txt"} <= named
