"""Damaged files: a short campaign of ``media_mutations``, and a job whose input is nothing else.

What libav itself crashes on is told, but is no failure here: a slot is a process for that very reason.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest

from framefleet.common.status import Failure
from tests.campaigns.media_mutations import generated_sources, run_campaign, write_mutants
from tests.campaigns.media_mutations import summary as in_words
from tests.campaigns.media_mutators import Source
from tests.helpers.jobs import Job, check_output, rows, summary

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="memory is read in /proc, and bounded by RLIMIT_DATA"
)

SEED = 20
MUTANTS = 400
FILES_OF_JOB = 60


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    return generated_sources(tmp_path_factory.mktemp("sources"))


def test_each_mutant_gives_frames_or_a_reason_within_bounds(sources: list[Source]) -> None:
    outcomes = run_campaign(sources, seed=SEED, numbers=range(MUTANTS))
    told = in_words(outcomes)
    print(told)
    assert [kind for outcome in outcomes for kind, _ in outcome.answer.faults if kind != "crash"] == [], told
    verdicts = [outcome.verdict for outcome in outcomes]
    # else the mutants are too tame, or too wild, to find anything
    assert verdicts.count("frames") > MUTANTS // 4
    assert verdicts.count("refused") > MUTANTS // 20
    assert sum(outcome.answer.suspect for outcome in outcomes) > MUTANTS


def test_a_job_on_mutants_ends_well_and_accounts_for_every_one(sources: list[Source], tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    names = write_mutants(sources, source, seed=SEED + 1, count=FILES_OF_JOB)
    job = Job(source, tmp_path / "out", instances=2)
    assert job.wait() == 0, job.text
    check_output(job.output)
    done = summary(job.output)
    assert "lost" not in [host.state for host in done.hosts]
    lines = (job.output / "job" / "failures.jsonl").read_bytes().splitlines()
    failures = [msgspec.json.decode(line, type=Failure) for line in lines]
    reasons = {failure.video: failure.reason for failure in failures}
    assert all(reasons.values())
    with_frames = {row["video"] for row in rows(job.output)}
    assert with_frames | reasons.keys() == set(names)
    assert len(with_frames) > FILES_OF_JOB // 4
    assert reasons
