"""Tables, addresses and jobs of a batch: what goes where, and what a mistake is called."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from atlasvid_batch.cli import parser, wanted_jobs
from atlasvid_batch.jobs import make_jobs, saving_nodes
from atlasvid_batch.mapping import Target, converted, read_workflow, resolve
from atlasvid_batch.table import Row, TableError, read_table
from atlasvid_core.tiny.make_prompts import prompts
from atlasvid_core.tiny.words import encode_prompt

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def workflow() -> dict:
    def node(kind, title, **inputs):
        return {"class_type": kind, "inputs": inputs, "_meta": {"title": title}}

    return {
        "1": node("Text", "Prompt", text="a", view="full"),
        "2": node("Text", "Prompt, seen close", text="a", view="closeup"),
        "3": node("Plan", "Plan", width=64, fps=16.0, tiled=False),
        "4": node("Sampler", "Stage 1", seed=1, positive=["1", 0], plan=["3", 0]),
        "5": node("Sampler", "Stage 2", seed=1, positive=["2", 0], plan=["3", 0]),
        "6": node("SaveVideo", "Save", video=["5", 0], filename_prefix="video/x"),
    }


@pytest.fixture
def table(tmp_path):
    def write(text, name="jobs.csv"):
        (tmp_path / name).write_text(text, encoding="utf-8")
        return read_table(tmp_path / name)

    return write


# Tables


def test_rows_know_their_lines_and_empty_cells_are_left_out(table):
    rows = table('id,text,width\na,"two\nlines, one cell",64\n\n,b,\n')
    assert [(r.number, r.line) for r in rows] == [(1, 2), (2, 5)]
    assert rows[0].values == {"id": "a", "text": "two\nlines, one cell", "width": "64"}
    assert rows[1].values == {"text": "b"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_of_any_country(table, delimiter):
    rows = table("\ufeffid,text\na,b\n".replace(",", delimiter))
    assert rows[0].values == {"id": "a", "text": "b"}


def test_json_lines_keep_types(table):
    rows = table('{"width": 64, "text": ""}\n\n{"width": null, "text": "b"}\n', "jobs.jsonl")
    assert [r.values for r in rows] == [{"width": 64, "text": ""}, {"text": "b"}]
    assert rows[1].line == 3


def test_json_lines_may_hold_line_breaks_of_other_kinds(table):
    text = "a lake,\u2028at dawn\u0085"
    rows = table(f'{{"text": "{text}"}}\r\n{{"text": "b"}}\r\n', "jobs.jsonl")
    assert [(r.line, r.values["text"]) for r in rows] == [(1, text), (2, "b")]


@pytest.mark.parametrize(("text", "name", "words"), [
    ("id,text\na,b,c\n", "j.csv", "line 2: 3 cells under 2 columns"),
    ("id,id\na,b\n", "j.csv", "'id' is there twice"),
    ("id,,text\na,b,c\n", "j.csv", "column 2 has no name"),
    ("id,text\n", "j.csv", "holds no rows"),
    ('id\n"a\n', "j.csv", "line 2"),
    ('{"a": 1}\n{"a": \n', "j.jsonl", "line 2: no JSON"),
    ('["a"]\n', "j.jsonl", "line 1: a row is an object"),
    ("a", "j.xlsx", "j.xlsx: a table is one of .csv"),
])  # fmt: skip
def test_a_broken_table_is_told_with_its_line(table, text, name, words):
    with pytest.raises(TableError, match=words):
        table(text, name)


# Addresses


def test_addresses(workflow):
    assert resolve(workflow, "width") == (Target("3", "width"),)
    assert resolve(workflow, "prompt.text") == (Target("1", "text"),)
    assert resolve(workflow, "Prompt, seen close.text") == (Target("2", "text"),)
    assert resolve(workflow, "plan.fps") == resolve(workflow, "3.fps") == (Target("3", "fps"),)
    assert resolve(workflow, "*.seed") == (Target("4", "seed"), Target("5", "seed"))


@pytest.mark.parametrize(("address", "words"), [
    ("seed", r"2 inputs fit: 'Stage 1.seed', 'Stage 2.seed'; name one, or '\*.seed' for all"),
    ("Text.text", "2 inputs fit: 'Prompt.text'"),
    ("prompt", "no input is called 'prompt'; that node has 'Prompt.text', 'Prompt.view'"),
    ("height", "no input is called 'height'; there are .*width"),
    ("Plan.text", "no input is called 'text'; there are fps, tiled, width"),
    ("Stage 3.seed", r"'Stage 3': did you mean 'Stage \d'\? There are 'Plan', 'Prompt'"),
    ("xyz.seed", "'xyz'. There are 'Plan', 'Prompt'"),
    ("Stage 1.positive", "Stage 1.positive is fed by 'Prompt'"),
])  # fmt: skip
def test_an_address_that_does_not_fit_says_what_there_is(workflow, address, words):
    with pytest.raises(TableError, match=words):
        resolve(workflow, address)


@pytest.mark.parametrize(("value", "like", "result"), [
    ("24", 1, 24), ("24.0", 1, 24), (24.0, 1, 24), ("18446744073709551615", 1, 2**64 - 1),
    ("7.5", 6, 7.5), (7.5, 6, 7.5), ("7.0", 6, 7),
    ("0.5", 1.0, 0.5), (2, 1.0, 2.0), ("Yes", False, True), ("0", True, False), (True, False, True),
    (7, "a", "7"), ("7", "a", "7"), ('{"a": 1}', {"a": 0}, {"a": 1}),
])  # fmt: skip
def test_values_take_the_type_that_they_replace(value, like, result):
    assert converted(value, like) == result
    assert type(converted(value, like)) is type(result)


@pytest.mark.parametrize(("value", "like"), [
    ("a", 1), ("nan", 1), ("inf", 1), ("", 1), ("x", 1.0), ("maybe", True), ([], 1),
])  # fmt: skip
def test_values_that_can_not(value, like):
    with pytest.raises(ValueError, match="is n"):
        converted(value, like)


def test_the_canvas_format_is_told_apart(tmp_path):
    for text, words in (('{"nodes": []}', "Export"), ("[]", "no workflow"), ("{", "no JSON")):
        (tmp_path / "w.json").write_text(text)
        with pytest.raises(TableError, match=words):
            read_workflow(tmp_path / "w.json")


# Jobs


def test_jobs_have_their_rows_values_and_no_other(table, workflow):
    before = json.dumps(workflow)
    rows = table("id,prompt,*.seed,priority\na b,one,5,\nc,two,,2\n")
    mapped = {"prompt": ["Prompt.text", "Prompt, seen close.text"]}
    second, first = make_jobs(rows, workflow, mapped, {"Plan.width": "96"}, batch="b1")
    assert json.dumps(workflow) == before
    assert [n["inputs"].get("text") for n in first.workflow.values()][:2] == ["one", "one"]
    assert [first.workflow[k]["inputs"]["seed"] for k in "45"] == [5, 5]
    assert [second.workflow[k]["inputs"]["seed"] for k in "45"] == [1, 1]
    assert first.workflow["3"]["inputs"]["width"] == 96
    assert (first.name, second.name) == ("a b", "c")
    assert saving_nodes(first.workflow) == {"6": f"video/x_{first.key}_b1"}
    assert first.key.startswith("a-b-")


@pytest.mark.parametrize(("name", "words", "key"), [
    ("湖上黎明", "湖上黎明", ""), ("Zoë's café, 2", "Zoë-s-café-2", "Zo-s-caf-2"),
    ("वीडियो", "वीडियो", ""), ("lake 1", "", "lake-1"), ("a — b", "", "a-b"), ("", "", ""),
    ("湖" * 30, "湖" * 20, ""), ("e\u0301", "é", "e"),
])  # fmt: skip
def test_an_id_of_any_script_names_its_files_and_leaves_its_key(workflow, name, words, key):
    (job,) = make_jobs([Row(1, 2, {"id": name, "width": "64"})], workflow, batch="b1")
    (plain,) = make_jobs([Row(1, 2, {"width": "64"})], workflow)
    assert job.key == (f"{key}-{plain.key}" if key else plain.key)
    middle = f"{words}_" if words else ""
    assert saving_nodes(job.workflow) == {"6": f"video/x_{middle}{job.key}_b1"}


def test_a_name_that_servers_do_not_give_out_loses_its_dots(table, workflow):
    for prefix, name in (("a../wait... what..", "a../wait. what."), ("a.b\\c", "a.b\\c")):
        workflow["6"]["inputs"]["filename_prefix"] = prefix
        (job,) = make_jobs(table("width\n64\n"), workflow, batch="b1")
        assert job.workflow["6"]["inputs"]["filename_prefix"] == f"{name}_{job.key}_b1"


def test_a_key_follows_the_work_not_the_row_or_the_title(table, workflow):
    one = make_jobs(table("Prompt.text\nx\ny\ny\n"), workflow)
    workflow["1"]["_meta"]["title"] = "Words"
    other = make_jobs(table("Words.text\nnew\ny\nx\ny\n"), workflow)
    keys = {job.key for job in one}
    assert len(keys) == 3 and {job.key for job in other} > keys
    assert one[2].key == one[1].key + "-2"


@pytest.mark.parametrize(("text", "more", "words"), [
    ("Plan.width\n64\n6x\n", {}, r"row 2 \(line 3\): Plan.width: '6x' is no number"),
    ("wdth\n1\n", {}, r"column 'wdth': no input is called 'wdth'.*--map wdth=ADDRESS"),
    ("the width\n1\n", {}, r"""--map "the width"=ADDRESS, or --ignore "the width\""""),
    ("*.sed\n1\n", {}, r"""--map "\*.sed"=ADDRESS, or --ignore "\*.sed\""""),
    ("width,Plan.width\n1,2\n", {}, "columns 'width' and 'Plan.width' both set Plan.width"),
    ("width,priority\n1,high\n", {}, r"row 1 \(line 2\): column 'priority': 'high'"),
    ("width\n1\n", {"mapped": {"prompt": ["1.text"]}}, "no column 'prompt'; it has width"),
    ("width\n1\n", {"settings": {"seed": "1"}}, "--set seed: 2 inputs fit"),
])  # fmt: skip
def test_mistakes_name_row_and_column(table, workflow, text, more, words):
    with pytest.raises(TableError, match=words):
        make_jobs(table(text), workflow, **more)


def test_a_table_of_the_readme_is_queued_twice_as_the_docs_say(tmp_path, monkeypatch):
    """First with a workflow that only encodes, then with the one that makes videos."""
    (table,) = re.findall(r"(?s)```\n(id,.+?)```", (ROOT / "README.md").read_text("utf-8"))
    (tmp_path / "prompts.csv").write_text(table, encoding="utf-8")
    (tmp_path / "encode.json").write_text(json.dumps({
        "1": {"class_type": "CLIPLoader", "inputs": {"clip_name": "a", "type": "wan"}},
        "2": {"class_type": "AtlasVidCachedTextEncode", "inputs": {"clip": ["1", 0], "text": ""},
              "_meta": {"title": "Prompt"}},
        "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 1]}},
    }))  # fmt: skip
    shutil.copytree(ROOT / "workflows", tmp_path / "workflows")
    docs = (ROOT / "docs" / "batch.md").read_text(encoding="utf-8").split("\n## ")
    (section,) = [s for s in docs if s.startswith("One text encoder")]
    commands = re.findall(r"(?m)^python -m atlasvid_batch (.+)$", section)
    monkeypatch.chdir(tmp_path)
    encode, film = (wanted_jobs(parser().parse_args(shlex.split(c))) for c in commands)
    assert [j.workflow["2"]["inputs"]["text"] for j in encode] == [
        j.workflow["4"]["inputs"]["text"] for j in film
    ]
    assert len(encode) == 2 and {j.workflow["13"]["inputs"]["seed"] for j in film} == {1, 2}


def test_a_servers_refusal_names_the_column(table, workflow):
    (job,) = make_jobs(table("width\n64\n"), workflow)
    error = {"message": "too small", "details": "min 96", "extra_info": {"input_name": "width"}}
    words = "Plan.width: too small: min 96"
    assert job.blame({"3": {"errors": [error]}}) == ([f"column 'width': {words}"], True)
    error["extra_info"]["input_name"] = "fps"  # no column: the server's own want
    assert job.blame({"3": {"errors": [error]}}) == (["Plan.fps: too small: min 96"], False)


def test_tiny_prompts_are_known_and_different():
    texts = prompts(200, seed=3)
    assert len(set(texts[:192])) == 192 and prompts(200, seed=3) == texts != prompts(200, seed=4)
    for text in texts:
        encode_prompt(text)


def test_tiny_prompts_need_python_alone():
    """As the batch does: whoever tries it may have neither torch nor ComfyUI."""
    command = [sys.executable, "-S", "-m", "atlasvid_core.tiny.make_prompts", "3"]  # no packages
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 + 3
