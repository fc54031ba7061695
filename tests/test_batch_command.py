"""The command of a batch: what it takes, what it says, how it is started."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from atlasvid_batch.cli import distinct, main, with_scheme
from atlasvid_batch.jobs import make_jobs
from atlasvid_batch.manifest import Manifest
from atlasvid_batch.table import Row

ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = {
    "1": {"class_type": "Plan", "inputs": {"width": 64, "reach": "faces"}},
    "2": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0], "filename_prefix": "x"}},
}
A = "http://a"


def test_a_server_may_be_named_without_its_scheme():
    assert with_scheme("127.0.0.1:8188") == with_scheme("http://127.0.0.1:8188/")
    assert with_scheme("https://far.example/comfy/") == "https://far.example/comfy"


def test_a_server_that_is_named_twice_is_one():
    urls = ["http://localhost:8188", A, "http://127.0.0.1:8188", A, "http://127.0.0.1:8189"]
    assert distinct(urls) == ["http://localhost:8188", A, "http://127.0.0.1:8189"]


def test_mistakes_have_status_two_and_no_server_is_asked(tmp_path, capsys):
    (tmp_path / "w.json").write_text(json.dumps(WORKFLOW))
    (tmp_path / "t.csv").write_text("width\n64\nwide\n")
    command = [str(tmp_path / "t.csv"), "--workflow", str(tmp_path / "w.json")]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert "row 2 (line 3): Plan.width: 'wide' is no number" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_check_that_no_server_could_help_with_is_no_clean_bill(tmp_path, capsys):
    with socket.socket() as taken:  # a port that nobody listens at
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        (tmp_path / "a.csv").write_text("width\n64\n")
        flow = tmp_path / "flow.json"
        flow.write_text(json.dumps(WORKFLOW))
        command = [str(tmp_path / "a.csv"), "--workflow", str(flow), "--server", url, "--check"]
        assert main(command) == 2
    said = capsys.readouterr().err
    assert said.startswith("atlasvid_batch: 1 job: ") and url in said and "not checked" in said


def test_a_setting_without_quotes_is_told_to_take_some(tmp_path, capsys):
    command = ["a.csv", "--workflow", "b.json", "--set", "Prompt,", "seen", "close.text=x"]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 2
    assert 'unrecognised: seen close.text=x. text with spaces needs "quotes"' in (
        capsys.readouterr().err
    )


def test_a_terminal_that_lacks_letters_stops_no_batch(tmp_path):
    (tmp_path / "a.csv").write_text("width\n64\n")
    (tmp_path / "flow.json").write_text(json.dumps(WORKFLOW))
    with Manifest(tmp_path / "湖" / "manifest.jsonl") as manifest:
        (job,) = make_jobs([Row(1, 2, {"width": "64"})], WORKFLOW, batch=manifest.batch)
        manifest.add(job.key, "done", files=[])
    command = [sys.executable, "-m", "atlasvid_batch", "a.csv", "--workflow", "flow.json"]
    command += ["--out", "湖", "--no-sheet", "--server", "127.0.0.1:9"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env)
    assert done.returncode == 0 and "1 job into ?, 1 done before" in done.stdout, done.stderr


def test_the_command_needs_nothing_but_python(tmp_path):
    command = [sys.executable, "-I", "-S", "-c", (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.argv = ['x', '--help']\n"
        "from atlasvid_batch.cli import main; main()"
    )]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0 and "--workflow" in done.stdout, done.stderr


@pytest.mark.parametrize("words", [
    ("--ahead", "0"), ("--ahead", "-1"), ("--tries", "0"), ("--patience", "-1"),
    ("--patience", "nan"), ("--ahead", "two"),
])  # fmt: skip
def test_numbers_with_which_no_job_would_ever_run_are_refused(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["a.csv", "--workflow", "b.json", *words])
    assert ended.value.code == 2
    assert f"argument {words[0]}: '{words[1]}': give a" in capsys.readouterr().err


@pytest.mark.parametrize("folder", ["atlasvid_batch", "atlasvid_core/train"])
def test_a_python_that_looks_in_no_current_folder_takes_a_path(tmp_path, folder):
    """As the one of ComfyUI's portable for Windows, to which -m says nothing."""
    command = [sys.executable, "-I", str(ROOT / folder), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "usage: " in done.stdout, done.stderr
