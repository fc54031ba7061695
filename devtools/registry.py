"""What ComfyUI's registry and its users' tools say of the pack, without the network.

    comfy node validate   pyproject.toml and the registry's security rules (comfy-cli)
    comfy-import-guard    every name and call of comfy.* against the host at hand
    comfy-lint            the API workflows against the nodes of the host at hand

A tool that can't be installed is said and passed over: it is the pack's health that must not
depend on a package of somebody else's.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import environment
from .server import Server, ServerFailed, make_base
from .steps import StepFailed, run, say

TOOLS = ("comfy-cli", "comfy-import-guard", "comfy-lint")
SOURCES = ("__init__.py", "nodes", "atlasvid_core")


def check(root: Path, host: Path, python: Path) -> int:
    """-> 0 where nothing is wrong. Runs in the environment's own Python."""
    status = 0
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        place = Path(folder)
        for tool, tell in zip(TOOLS, (validate, guard_imports, lint_workflows), strict=True):
            if environment.brought(python, tool):
                status |= tell(root, host, python, place)
    return status


def program(python: Path, name: str) -> Path:
    """A command that pip put beside the environment's Python."""
    return python.with_name(name + (".exe" if os.name == "nt" else ""))


def validate(root: Path, _: Path, python: Path, place: Path) -> int:
    home = str(place)  # it writes settings of its own
    env = {**os.environ, "HOME": home, "USERPROFILE": home, "XDG_CONFIG_HOME": home}
    command = [program(python, "comfy"), "--skip-prompt", "--no-enable-telemetry", "node"]
    try:
        done = subprocess.run(
            [*map(str, command), "validate"], cwd=root, env=env, capture_output=True, text=True,
            encoding="utf-8", errors="replace", timeout=120,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        say("comfy node validate", f"could not run, passed over: {error}")
        return 0
    # Its exit status is 0 with warnings, too.
    words = (done.stdout + done.stderr).strip()
    if done.returncode == 0 and "passed successfully" in words and "Warning" not in words:
        say("comfy node validate", "all validation checks passed")
        return 0
    print(words)
    return 1


def guard_imports(root: Path, host: Path, python: Path, place: Path) -> int:
    """The tool reads ComfyUI from git and the pack from an install: both are made here."""
    if not shutil.which("git"):
        say("comfy-import-guard", "needs git, passed over")
        return 0
    clone, install = place / "cache" / "ComfyUI", place / "install"
    pack = install / "custom_nodes" / "atlasvid"
    pack.mkdir(parents=True)
    for name in SOURCES:
        if (root / name).is_dir():
            shutil.copytree(root / name, pack / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(root / name, pack / name)
    for file in host.rglob("*.py"):
        part = file.relative_to(host)
        if part.parts[0] in ("comfy", "comfy_api", "comfy_execution", "comfy_extras", "app") or (
            len(part.parts) == 1
        ):
            (clone / part).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, clone / part)
    who = ("-c", "user.name=host", "-c", "user.email=host@localhost", "-c", "core.autocrlf=false")
    for words in (("init", "-q"), ("add", "-f", "."), ("commit", "-q", "-m", "host")):
        run("git", ["git", *who, *words], cwd=clone, quiet=True)
    command: list = [program(python, "comfy-import-guard"), "--offline", "--quiet"]
    command += ["--cache-dir", clone.parent, "check", "--comfy-dir", install, "--target", "HEAD"]
    return run("comfy-import-guard", [*command, "--strict"], check=False)


def lint_workflows(root: Path, host: Path, python: Path, place: Path) -> int:
    try:
        nodes = declared_nodes(root, host, python, place)
    except (ServerFailed, StepFailed, OSError) as error:
        say("comfy-lint", f"no ComfyUI to ask for its nodes, passed over: {error}")
        return 0
    command: list = [program(python, "comfy-lint"), "--strict", "--schema-cache", nodes]
    files = sorted((root / "workflows" / "api").glob("*.json"))
    return run("comfy-lint", [*command, *files], check=False)


def declared_nodes(root: Path, host: Path, python: Path, place: Path) -> Path:
    """The host's /object_info with the pack, asked again when its nodes or workflows change.

    The workflows' models and inputs stand there as empty files, so that loaders list them.
    """
    read = [*sorted((root / "nodes").glob("*.py")), *sorted((root / "workflows").rglob("*.json"))]
    digest = hashlib.sha256(str(environment.version_of(host)).encode())
    for file in [*read, root / "__init__.py", host / "main.py"]:
        digest.update(file.read_bytes())
    kept = root / ".host" / f"object_info-{digest.hexdigest()[:12]}.json"
    if kept.is_file():
        return kept
    base = place / "base"
    make_base(base, root)
    for file in wanted_files(root / "workflows"):
        (base / file).parent.mkdir(parents=True, exist_ok=True)
        (base / file).touch()
    with Server(host, python, base, place / "server.log") as server:
        answer = server.client.read("/object_info")
    for old in kept.parent.glob("object_info-*.json"):
        old.unlink(missing_ok=True)
    kept.parent.mkdir(exist_ok=True)
    part = kept.with_suffix(".part")
    part.write_bytes(answer)
    part.replace(kept)
    return kept


def wanted_files(workflows: Path) -> set[Path]:
    """Models (as the save format names them) and videos that the workflows load."""
    found = set()
    for file in workflows.glob("*.json"):
        for node in json.loads(file.read_text(encoding="utf-8"))["nodes"]:
            for model in node.get("properties", {}).get("models", []):
                found.add(Path("models") / model["directory"] / model["name"])
            if node["type"] == "LoadVideo":
                found.add(Path("input") / node["widgets_values"][0])
    return found


if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent
    sys.exit(check(here, Path(sys.argv[1]).resolve(), Path(sys.executable)))
