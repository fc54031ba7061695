"""A server killed in stage 2, in a decode, in the final write and in a save, at random moments of
each: the same job, queued again, ends in the same bytes. On its first run, previews and texts come.

`python dev.py bench kills` does more of it, with other seeds. ATLASVID_SEED repeats what failed.
"""

import os
from collections import Counter

import cv2
import numpy as np
import pytest

from bench.kills import PHASES, STEPS, demo, tell

from .common import watched

SEED = int(os.environ.get("ATLASVID_SEED", "20261124"))
KILLS = {"stage 2": 2, "decode": 2, "final write": 1, "save": 1}


@pytest.fixture(scope="module")
def story(host_path, tmp_path_factory):
    base, previews = tmp_path_factory.mktemp("killed"), ("--preview-method", "latent2rgb")
    return tell(host_path, base, KILLS, SEED, previews, watched)


def test_every_phase_was_hit_and_every_job_ended_in_the_same_bytes(story):
    told = f"ATLASVID_SEED={story.seed} repeats it: {story.rows}"
    assert Counter(row["phase"] for row in story.rows) == KILLS, told
    assert story.wrong == [] and story.left == [], told


def test_a_killed_job_goes_on_where_it_was(story):
    went_on = {p: [row["went_on"] for row in story.rows if row["phase"] == p] for p in PHASES}
    assert all(went_on["stage 2"]) and any(went_on["decode"]) and all(went_on["final write"])


def test_previews_of_both_stages_arrive_and_are_small(story):
    pictures = [
        cv2.imdecode(np.frombuffer(p, np.uint8), cv2.IMREAD_COLOR) for p in story.first.previews
    ]
    assert len(pictures) == 2 + STEPS  # one for each step of either stage
    assert all(max(p.shape[:2]) == 512 and p.std() > 1 for p in pictures)
    assert max(map(len, story.first.previews)) < 200_000


def test_the_bar_moves_inside_a_step(story):
    sampler = next(k for k, n in demo().items() if n["class_type"] == "AtlasVidDetailJointSampler")
    bar = [p["value"] for p in story.first.progress if p["node"] == sampler]
    assert bar == sorted(bar) and bar[-1] == 100 * STEPS
    assert any(value % 100 for value in bar)
