"""Who may import whom, and what no file here may do."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORE = sorted((ROOT / "atlasvid_core").rglob("*.py"))
NODES = sorted((ROOT / "nodes").rglob("*.py"))
DEVTOOLS = [ROOT / "dev.py", *sorted((ROOT / "devtools").rglob("*.py"))]
BATCH = sorted((ROOT / "atlasvid_batch").rglob("*.py"))
BENCH = sorted((ROOT / "bench").rglob("*.py"))
OTHERS = [ROOT / "__init__.py", *sorted((ROOT / "tests").rglob("*.py"))]

HOST = {
    "comfy", "comfy_api", "comfy_config", "comfy_execution", "comfy_extras", "app", "execution",
    "folder_paths", "latent_preview", "node_helpers", "nodes", "server",
}  # fmt: skip
NETWORK = {
    "aiohttp", "asyncio", "ftplib", "http", "httpx", "requests", "socket", "urllib", "urllib3",
    "websocket", "websockets",
}  # fmt: skip
UNSAFE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "subprocess"}
MOST_LINES = 400


def imported(file: Path) -> set[str]:
    """Top-level names of all absolute imports of a file, those within functions too."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.split(".")[0])
    return names


def climbs(file: Path) -> list[str]:
    """Relative imports that leave the file's own top-level folder, as written."""
    depth = len(file.relative_to(ROOT).parts) - 1
    return [
        node.module or ""
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level > depth
    ]


def calls(file: Path) -> set[str]:
    """All functions that a file calls, as written there: `torch.load`."""
    return {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    }


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("file", CORE, ids=name_of)
def test_core_knows_nothing_of_the_host_or_the_nodes(file):
    assert not imported(file) & (HOST | {"devtools", "atlasvid_core"})
    assert not climbs(file)


@pytest.mark.parametrize("file", NODES, ids=name_of)
def test_only_the_adapter_meets_the_hosts_internals(file):
    adapter = file.stem == "host" or file.stem.startswith("host_")
    allowed = HOST if adapter else {"comfy_api"}
    assert not (imported(file) & HOST) - allowed
    assert {module.split(".")[0] for module in climbs(file)} <= {"atlasvid_core"}


@pytest.mark.parametrize("file", DEVTOOLS, ids=name_of)
def test_tools_run_without_the_environment(file):
    # dev.py checks sizes by `units`, which needs Python alone (tests/test_dev.py).
    allowed = {"devtools", "atlasvid_core"} if file.name == "dev.py" else {"atlasvid_batch"}
    if file.name in (
        "demo.py",
        "contact_sheet.py",
        "icon.py",
        "thumbnails.py",
    ):  # these run inside .venv
        allowed |= {"cv2", "numpy"}
    if file.name == "browser.py":
        allowed |= {"playwright"}
    if file.name == "screenshots.py":  # its figures are the core's
        allowed |= {"atlasvid_core"}
    if file.name == "thumbnails.py":  # it paints the tiny world
        allowed |= {"atlasvid_core", "torch"}
    if file.parent.name == "pictures":  # what they show is the core's own geometry
        allowed |= {"atlasvid_core", "torch"}
    assert imported(file) <= set(sys.stdlib_module_names) | allowed


SHEETS = ("sheet.py", "shots.py", "caption.py")  # of a batch, where Pillow and PyAV are there


@pytest.mark.parametrize("file", BATCH, ids=name_of)
def test_batches_need_python_alone(file):
    allowed = {"PIL", "av"} if file.name in SHEETS else set()
    assert imported(file) <= set(sys.stdlib_module_names) | allowed
    assert not imported(file) & UNSAFE
    assert not climbs(file)


@pytest.mark.parametrize("file", BENCH, ids=name_of)
def test_benches_measure_the_core(file):
    allowed = {"atlasvid_core", "torch", "numpy", "matplotlib", "psutil", "tomli", "safetensors"}
    if file.name in ("block.py", "decode.py", "memory.py"):  # beside the host's own
        allowed |= {"comfy", "comfyui_version", "nodes"}
    if file.name == "proxy.py":  # it writes videos
        allowed |= {"av"}
    if file.name in ("jobs.py", "kills.py"):  # on a server
        allowed |= {"devtools", "atlasvid_batch"}
    assert imported(file) <= set(sys.stdlib_module_names) | {"tomllib"} | allowed
    assert not imported(file) & NETWORK
    assert not climbs(file)


@pytest.mark.parametrize("file", CORE + NODES, ids=name_of)
def test_nothing_unsafe_and_no_network(file):
    served = {"aiohttp", "asyncio"} if file.name == "host_server.py" else set()  # it only answers
    assert not imported(file) & (NETWORK | UNSAFE) - served
    forbidden = {"eval", "exec", "compile", "__import__", "torch.load", "os.system", "os.popen"}
    assert not calls(file) & forbidden


def test_core_leaves_the_host_out_of_the_process():
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in CORE]
    modules = [name.removesuffix(".__init__") for name in modules]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"print(*sorted({HOST!r} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


@pytest.mark.parametrize("file", CORE + NODES + DEVTOOLS + BATCH + BENCH + OTHERS, ids=name_of)
def test_files_stay_short(file):
    lines = len(file.read_text(encoding="utf-8").splitlines())
    assert lines < MOST_LINES, f"{name_of(file)} has {lines} lines: split it"
