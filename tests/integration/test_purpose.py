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

from framefleet.common.host.cluster import read_cluster
from framefleet.common.status import Summary
from framefleet.launcher.sagemaker.request import build_request
from framefleet.launcher.sagemaker.source_bundle import ENTRYPOINT, REQUIREMENTS
from tests.helpers.jobs import REPOSITORY, summary
from tests.helpers.sagemaker_jobs import make_job


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


def test_work_units_go_over_zeromq_and_nothing_else() -> None:
    importers = [
        path.relative_to(REPOSITORY).as_posix()
        for top in ("common", "coordinator", "worker", "launcher")
        for path in (REPOSITORY / top).rglob("*.py")
        if re.search(r"^\s*(import|from) (zmq|socket)\b", path.read_text(), re.MULTILINE)
    ]
    assert "common/protocol/transport.py" in importers
    assert not [path for path in importers if path.startswith(("coordinator/core", "worker/slots"))]


def test_work_units_are_ranges_of_frames(output: Path) -> None:
    rows = pq.read_table(output / "manifest").to_pylist()
    assert {"unit", "unit_start", "unit_stop", "host"} <= set(rows[0])
    assert len({row["unit"] for row in rows}) > len({row["video"] for row in rows}) - 1


def test_parameters_reach_the_job(output: Path) -> None:
    part = next((output / "manifest").glob("*.parquet"))
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(part).metadata.items()}
    assert any('"5"' in value or value == "5" for value in metadata.values()), metadata


def test_dependencies_are_added_to_a_prebuilt_image() -> None:
    """``--image none``: AWS's own image installs pinned wheels and goes on as a host."""
    entry = REPOSITORY / "launcher" / "sagemaker" / Path(ENTRYPOINT[-1]).name
    text = entry.read_text()
    assert "--require-hashes" in text
    assert '"-m", "framefleet.worker"' in text
    assert re.search(r"^pyzmq==.*\n +--hash=sha256:", REQUIREMENTS.read_text(), re.MULTILINE)


def test_the_table_names_files_that_are_there() -> None:
    for line in (REPOSITORY / "docs" / "purpose.md").read_text().splitlines():
        if line.startswith("| ") and "`" in line:
            for name in re.findall(r"`([\w/]+\.py)`", line.split("|")[2]):
                assert list(REPOSITORY.glob(name)) or list(REPOSITORY.glob(f"common/protocol/{name}")), name
