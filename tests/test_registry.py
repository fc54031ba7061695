"""What the registry shows and installs, and how lint goes on where a tool of others is missing."""

import ast
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from devtools import environment, registry
from devtools.icon import FILE, icon
from devtools.steps import StepFailed

ROOT = Path(__file__).resolve().parent.parent
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
PROVIDES = {"opencv-python-headless": "cv2"}  # package -> module, where they differ
OF_THE_HOST = {"aiohttp", "psutil", "tqdm"}  # in ComfyUI's own requirements


def listed(name: str) -> list[str]:
    return re.findall(r'"([^"]+)"', re.search(rf"(?ms)^{name} = \[(.*?)^\]", PROJECT)[1])


def test_both_lists_of_requirements_are_one():
    assert environment.requirements(ROOT / "requirements.txt") == listed("dependencies")
    assert all(">=" in line for line in listed("dependencies"))


def test_every_import_of_the_nodes_is_required():
    """The trainer's own needs are an extra."""
    names = {re.split(r"[>=]", line)[0] for line in listed("dependencies")}
    known = {PROVIDES.get(name, name) for name in names} | OF_THE_HOST
    host = {"comfy", "comfy_api", "comfy_execution", "comfyui_version", "folder_paths",
            "latent_preview", "nodes", "server"}  # fmt: skip
    files = [*(ROOT / "nodes").glob("*.py"), *(ROOT / "atlasvid_core").rglob("*.py")]
    for file in files:
        if "train" in file.parts or "tiny" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            found = []
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                found = [node.module]
            for name in found:
                top = name.split(".")[0]
                assert top in known | host | set(sys.stdlib_module_names), f"{file.name}: {top}"


def test_the_icon_is_what_its_script_draws():
    kept = cv2.imread(str(FILE), cv2.IMREAD_UNCHANGED)
    assert kept.shape == (400, 400, 4)
    assert np.abs(kept.astype(int) - icon()).mean() < 0.5  # releases of OpenCV smooth edges alike
    assert f'Icon = "{FILE.relative_to(ROOT).as_posix()}"' in PROJECT


def test_the_version_has_its_changes():
    version = re.search(r'(?m)^version = "(.+)"', PROJECT)[1]
    assert f"## {version} (" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_a_tool_that_can_not_be_installed_is_passed_over(monkeypatch, capsys, tmp_path):
    def fail(*_, **__):
        raise StepFailed("pip failed: no such host")

    monkeypatch.setattr(environment, "run", fail)
    monkeypatch.setattr(registry, "TOOLS", ("atlasvid-no-such-package",) * 3)
    assert registry.check(ROOT, tmp_path, Path(sys.executable)) == 0
    assert "can't be installed, passed over: pip failed" in capsys.readouterr().out


@pytest.mark.parametrize(("status", "words", "result"), [
    (0, "All validation checks passed successfully", 0),
    (0, "Warning: License should be ...\nAll validation checks passed successfully", 1),
    (0, "Security warnings found: S102", 1),
    (1, "Could not parse pyproject.toml", 1),
])  # fmt: skip
def test_a_warning_of_the_registry_is_an_error_here(monkeypatch, tmp_path, status, words, result):
    def answer(*_, **__):
        return registry.subprocess.CompletedProcess([], status, words, "")

    monkeypatch.setattr(registry.subprocess, "run", answer)
    assert registry.validate(ROOT, tmp_path, Path(sys.executable), tmp_path) == result


def test_the_workflows_files_are_known_by_name():
    files = {path.as_posix() for path in registry.wanted_files(ROOT / "workflows")}
    assert "models/vae/wan_2.1_vae.safetensors" in files and "input/video.mp4" in files
