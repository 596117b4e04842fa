"""Faults in the middle of packed jobs: manifest and shards agree, and hold what an undisturbed job gives."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from framefleet.common.output.shard_fields import PackFormat, PackOptions
from tests.campaigns.monkey import HOSTS, OPTIONS, SHARD_BYTES, Undisturbed, frames_of
from tests.helpers.jobs import Job, check_output, rows, run_job, summary, tree

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes of a host are found in /proc"
)

FORMS: tuple[PackFormat, ...] = ("tar", "parquet")


@pytest.fixture(scope="module")
def undisturbed_jobs() -> dict[str, Undisturbed]:
    """Those that a test has asked for: of several processes that run tests, not each needs both."""
    return {}


@pytest.fixture
def undisturbed(
    request: pytest.FixtureRequest,
    undisturbed_jobs: dict[str, Undisturbed],
    tmp_path_factory: pytest.TempPathFactory,
) -> Undisturbed:
    form: PackFormat = request.param
    if form not in undisturbed_jobs:
        undisturbed_jobs[form] = Undisturbed(
            tmp_path_factory.mktemp(form),
            pack=PackOptions(format=form, shard_bytes=SHARD_BYTES),
            image={"dedup": 0},
        )
    return undisturbed_jobs[form]


@pytest.mark.parametrize(
    ("undisturbed", "seed"), [("tar", 2000), ("parquet", 2002)], indirect=["undisturbed"]
)
def test_faults_change_nothing(undisturbed: Undisturbed, tmp_path: Path, seed: int) -> None:
    undisturbed.disturbed(tmp_path / "out", seed)


@pytest.mark.parametrize(
    ("undisturbed", "how"), [("tar", "killed"), ("parquet", "interrupted")], indirect=["undisturbed"]
)
def test_a_job_that_was_stopped_goes_on(undisturbed: Undisturbed, tmp_path: Path, how: str) -> None:
    job = Job(undisturbed.source, tmp_path / "out", held_after=4, **undisturbed.options)
    job.until_held(*HOSTS)
    job.until_told("committed", times=4)
    if how == "interrupted":
        job.process.send_signal(signal.SIGINT)
        assert job.wait() == 130, job.text
        check_output(job.output)
        assert 0 < len(tree(job.output)) < len(undisturbed.tree)
    else:
        os.killpg(job.process.pid, signal.SIGKILL)
        job.wait()
        while job.leftovers():
            os.sched_yield()
    run_job(undisturbed.source, job.output, **undisturbed.options, resume=True)
    assert tree(job.output) == undisturbed.tree
    assert frames_of(job.output) == undisturbed.rows
    assert summary(job.output).taken_over > 0


@pytest.mark.parametrize("undisturbed", FORMS, indirect=True)
def test_a_shard_that_is_gone_or_cut_is_made_again(undisturbed: Undisturbed, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run_job(undisturbed.source, output, **undisturbed.options)
    shards = sorted({row["shard"] for row in rows(output)} - {None})
    assert len(shards) > 3
    (output / shards[0]).unlink()
    os.truncate(output / shards[1], 100_000)
    os.truncate(output / shards[2], (output / shards[2]).stat().st_size - 1)  # its images are there
    (output / "shards" / "algo-1-000099.tar").write_bytes(b"nobody names it")
    run_job(undisturbed.source, output, **undisturbed.options, resume=True)
    assert tree(output) == undisturbed.tree
    assert frames_of(output) == undisturbed.rows
    assert 0 < summary(output).taken_over < len(undisturbed.rows)


@pytest.mark.parametrize("undisturbed", ["tar"], indirect=True)
def test_sharded_hosts_pack_too(undisturbed: Undisturbed, tmp_path: Path) -> None:
    options = OPTIONS | {"pack": undisturbed.options["pack"], "mode": "sharded", "image": {"dedup": 0}}
    run_job(undisturbed.source, tmp_path / "out", **options)
    assert tree(tmp_path / "out") == undisturbed.tree
