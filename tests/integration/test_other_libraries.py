"""Jobs whose hosts have different libraries, and outputs that others made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from framefleet.common.host.shared_filesystem import LOCK_FILE
from framefleet.worker.loaded_libraries import libraries
from tests.helpers.jobs import REPOSITORY, Job, check_output, rows, run_job, summary, tree, verify


@pytest.fixture(scope="module")
def source(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("libraries") / "videos"
    folder.mkdir()
    for name in ("h264-open-mkv.mkv", "vp9.webm"):
        shutil.copy(clips / name, folder)
    return folder


@pytest.fixture(scope="module")
def made(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "out"
    run_job(source, output, instances=1)
    return output


@pytest.fixture(scope="module")
def made_by_others(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("others") / "out"
    run_job(source, output, instances=1, others=["algo-1"])
    return output


def test_a_host_with_other_libraries_is_refused_and_the_tree_is_whole(
    source: Path, made: Path, tmp_path: Path
) -> None:
    job = run_job(source, tmp_path / "out", instances=3, others=["algo-2"])
    assert tree(job.output) == tree(made)
    assert "algo-2" not in {row["host"] for row in rows(job.output)}
    assert "Trouble: algo-2 ended with exit code 1 (the coordinator refused host" in job.text
    assert "it has PyAV 0.1, and the primary host algo-1 has PyAV " in job.text
    told = summary(job.output)
    assert told.libraries == libraries()
    assert any("host algo-2 was refused" in note for note in told.notes)
    assert str(libraries()) in (job.output / "job" / "report.html").read_text()


def test_sharded_hosts_with_different_libraries_are_told(source: Path, made: Path, tmp_path: Path) -> None:
    job = run_job(source, tmp_path / "out", instances=2, mode="sharded", others=["algo-2"])
    assert tree(job.output) == tree(made), "really they are the same"
    assert "Note: frames of host algo-2 may have other bytes than those of host algo-1" in job.text
    assert summary(job.output).libraries is None


def test_a_job_is_not_gone_on_with_by_other_libraries(
    source: Path, made_by_others: Path, tmp_path: Path
) -> None:
    """The coordinator sees it too, as a launcher does not know the libraries of hosts that are elsewhere."""
    output = Path(shutil.copytree(made_by_others, tmp_path / "out"))
    next((output / "frames").rglob("*.jpg")).unlink()  # else nothing is to do
    job = Job(source, output, instances=2, resume=True, elsewhere=True)
    assert job.wait() == 1, job.text
    assert "--resume: the frames in the output were made with PyAV 0.1, and now it would be PyAV" in job.text
    assert tree(output).items() < tree(made_by_others).items(), "nothing was added"
    check_output(output)


def times(output: Path) -> dict[Path, int]:
    """When everything there was last changed, but for the lock."""
    return {path: path.stat().st_mtime_ns for path in output.rglob("*") if path.name != LOCK_FILE}


@pytest.mark.parametrize("is_told", [True, False])
def test_the_launcher_refuses_before_anything_is_touched(
    source: Path, made_by_others: Path, tmp_path: Path, is_told: bool
) -> None:
    output = Path(shutil.copytree(made_by_others, tmp_path / "out"))
    wanted = "were made with PyAV 0.1, and now it would be"
    if not is_told:
        import pyarrow.parquet as pq

        for part in (output / "manifest").iterdir():
            table = pq.read_table(part)
            known = {name: value for name, value in table.schema.metadata.items() if b"libraries" not in name}
            pq.write_table(table.replace_schema_metadata(known), part)
        wanted = "does not tell with which libraries its frames were made"
    before = times(output)
    done = subprocess.run(
        [sys.executable, "launch.py", "--input", source, "--output", output, "--fps", "5", "--resume"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert wanted in done.stderr
    assert "another --output" in done.stderr
    assert times(output) == before


def test_verify_names_libraries_that_explain_other_bytes(
    source: Path, made: Path, made_by_others: Path
) -> None:
    code, text = verify(made, "--against", source)
    assert (code, "Note" in text) == (0, False), text
    code, text = verify(made_by_others, "--against", source)
    assert code == 0, text
    assert "Note: the frames were made with PyAV 0.1, and this machine has PyAV" in text
