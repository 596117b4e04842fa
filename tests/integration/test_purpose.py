"""What the project is for, a test for each sentence of it; ``docs/purpose.md`` has the table."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import framefleet.coordinator.server
import framefleet.worker.agent
from framefleet.common.host.cluster import read_cluster
from framefleet.common.job.spec import SchedulingOptions
from framefleet.common.protocol import transport
from framefleet.common.status import Summary
from framefleet.launcher.output.completed_units import read_options
from framefleet.launcher.sagemaker.request import build_request
from tests.helpers.jobs import REPOSITORY, run_job, summary
from tests.helpers.sagemaker_jobs import make_job

PAGE = REPOSITORY / "docs" / "purpose.md"


@pytest.fixture(scope="module")
def output(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command of the purpose makes of a folder of videos."""
    folder = tmp_path_factory.mktemp("purpose")
    (folder / "videos").mkdir()
    for clip in sorted(clips.glob("*.mp4"))[:4]:
        shutil.copy(clip, folder / "videos")
    command = [sys.executable, str(REPOSITORY / "launch.py"), "--instances", "8", "--fps", "5"]
    command += ["--input", "videos", "--slots-per-instance", "1"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "output"


@pytest.fixture(scope="module")
def account(output: Path) -> Summary:
    return summary(output)


def test_python_launch_py_starts_a_job(output: Path) -> None:
    """``python launch.py --instances 8 --fps 5``"""
    assert list((output / "frames").rglob("*.jpg"))


def test_every_instance_gets_all_the_videos() -> None:
    """FullyReplicated input"""
    videos, *_ = build_request(make_job())["ProcessingInputs"]
    assert videos["InputName"] == "videos"
    assert videos["S3Input"]["S3DataDistributionType"] == "FullyReplicated"


def test_hosts_read_resourceconfig_json(tmp_path: Path) -> None:
    """``/opt/ml/config/resourceconfig.json``, as SageMaker writes it"""
    path = tmp_path / "resourceconfig.json"
    config: dict[str, Any] = {"current_host": "algo-2", "hosts": ["algo-1", "algo-2", "algo-3"]}
    path.write_text(json.dumps(config | {"network_interface_name": "eth0"}))
    cluster = read_cluster(path)
    assert (cluster.current, cluster.size, cluster.rank) == ("algo-2", 3, 1)


def test_the_number_of_instances_is_discovered(account: Summary) -> None:
    """No host is told how many there are, but by that file."""
    assert sorted(host.host for host in account.hosts) == [f"algo-{number}" for number in range(1, 9)]


def test_the_rank_0_instance_becomes_the_coordinator_and_works_too(output: Path, tmp_path: Path) -> None:
    hosts = [f"algo-{number}" for number in range(1, 9)]
    primaries = []
    for host in hosts:
        path = tmp_path / "resourceconfig.json"
        path.write_text(json.dumps({"current_host": host, "hosts": hosts}))
        cluster = read_cluster(path)
        assert cluster.is_primary == (cluster.rank == 0)
        primaries += [host] if cluster.is_primary else []
    assert primaries == ["algo-1"]
    journal = [json.loads(line) for line in (output / "job" / "journal.jsonl").read_text().splitlines()]
    assert {entry["host"] for entry in journal if "host" in entry} == set(hosts), "its own workers included"


def test_work_units_go_over_zeromq_which_one_module_knows() -> None:
    importers = [
        path.relative_to(REPOSITORY).as_posix()
        for top in ("common", "coordinator", "worker", "launcher")
        for path in (REPOSITORY / top).rglob("*.py")
        if re.search(r"^\s*(import|from) zmq\b", path.read_text(), re.MULTILINE)
    ]
    assert importers == ["common/protocol/transport.py"]
    assert vars(framefleet.worker.agent)["HostLink"] is transport.HostLink
    assert vars(framefleet.coordinator.server)["CoordinatorLink"] is transport.CoordinatorLink


def test_work_units_are_ranges_of_frames(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    shutil.copy(clips / "h264-closed.mp4", tmp_path / "videos")
    scheduling = SchedulingOptions(unit_span_s=0.5, cut="anywhere")
    run_job(tmp_path / "videos", tmp_path / "out", instances=2, fps="native", scheduling=scheduling)
    rows = pq.read_table(tmp_path / "out" / "manifest").to_pylist()
    ranges = sorted({(row["unit_start"], row["unit_stop"]) for row in rows}, key=lambda each: each[0])
    assert len(ranges) > 2
    assert ranges[0][0] == 0
    assert ranges[-1][1] is None
    assert [stop for _, stop in ranges[:-1]] == [start for start, _ in ranges[1:]], (
        "one begins where one ends"
    )


def test_parameters_reach_the_job(output: Path) -> None:
    parts = list((output / "manifest").glob("*.parquet"))
    assert parts
    assert all(read_options(part) == {"--fps": "5", "--format": "jpg", "--quality": "95"} for part in parts)


def test_the_table_names_files_and_tests_that_are_there() -> None:
    rows = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 9
    for _, files, test, _ in rows:
        for name in re.findall(r"`([^`]+)`", files):
            assert (REPOSITORY / name).is_file(), name
        ((path, name),) = re.findall(r"`([^`]+)::(\w+)`", test)
        assert f"def {name}(" in (REPOSITORY / path).read_text(), (path, name)
