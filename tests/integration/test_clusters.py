"""Hosts that another scheduler than SageMaker starts, on a file system that they share."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from framefleet.common.output.shard_fields import PackOptions
from framefleet.launcher.targets.local import _reserved_port
from tests.faults.held_slots import COMMAND, VARIABLE, Gate
from tests.helpers.jobs import REPOSITORY, check_output, run_job, tree

PATIENCE_S = 200
DOCS = REPOSITORY / "docs"


def plain(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "framefleet", "manual", *arguments],
        cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=PATIENCE_S,
    )  # fmt: skip
    return done.stdout


def wait_until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Pods:
    """Hosts of an Indexed Job, two at most, on a shared folder with a few videos."""

    def __init__(self, shared: Path, clips: Path, port: int, **scheduling: float) -> None:
        self.shared = shared
        self.running: list[subprocess.Popen[str]] = []
        (shared / "videos").mkdir(parents=True)
        for name in ("h264-closed.mp4", "hevc-open-mp4.mp4", "vp9.webm"):
            shutil.copy(clips / name, shared / "videos")
        plain("job", "--output", str(shared / "output"), "--hosts", "2", "--fps", "native")
        path = shared / "output" / "hosts" / "job" / "job.json"
        spec = json.loads(path.read_text())
        spec["scheduling"] = {**spec["scheduling"], "unit_span_s": 0.5, "cut": "anywhere", **scheduling}
        path.write_text(json.dumps({**spec, "port": port, "slots_per_host": 1, "log_level": "debug"}))

    def start(self, rank: int, *command: str, **environment: str) -> subprocess.Popen[str]:
        told = {name: value for name, value in os.environ.items() if name != "FRAMEFLEET_ROOT"}
        host = subprocess.Popen(
            [*(command or (sys.executable, "-m", "framefleet.worker"))],
            cwd=REPOSITORY,
            env={
                **told,
                "JOB_COMPLETION_INDEX": str(rank),
                "FRAMEFLEET_SIZE": "2",
                "FRAMEFLEET_PRIMARY": "127.0.0.1",
                "FRAMEFLEET_SHARED": str(self.shared),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.running.append(host)
        return host

    def close(self) -> None:
        for host in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(host.pid, signal.SIGKILL)
            host.wait()


@pytest.fixture
def pods(clips: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Pods]:
    with _reserved_port() as port:
        made = Pods(tmp_path / "shared", clips, port, **getattr(request, "param", {}))
        yield made
        made.close()


def test_a_job_whose_work_is_done_waits_for_no_host_that_never_came_which_ends_well_if_it_comes(
    pods: Pods,
) -> None:
    first = pods.start(0)  # in far less than the 15 minutes for which a host is expected
    told, _ = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 0, told
    late = pods.start(1)
    told, _ = late.communicate(timeout=PATIENCE_S)
    assert (late.returncode, "the job is over (completed)" in told) == (0, True), told
    assert "completed" in plain("merge", "--output", str(pods.shared / "output"))
    check_output(pods.shared / "output")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_job_whose_hosts_were_stopped_and_are_started_again_goes_on(
    pods: Pods, tmp_path: Path, order: tuple[int, ...]
) -> None:
    """As Slurm, Batch and Kubernetes do with what they put back into the queue; twice."""
    for times in (1, 2):
        gate = Gate(tmp_path, times)
        hosts = [pods.start(rank, *COMMAND, **{VARIABLE: str(gate.folder)}) for rank in order]
        wait_until(lambda gate=gate: gate.holds("host-0") or gate.holds("host-1"))  # type: ignore[misc]
        for host in hosts:
            host.terminate()
        gate.open()
        for host in hosts:
            told, _ = host.communicate(timeout=PATIENCE_S)
            assert host.returncode == 130, told
    hosts = [pods.start(rank) for rank in order]
    logs = [host.communicate(timeout=PATIENCE_S)[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], logs
    assert "completed" in plain("merge", "--output", str(pods.shared / "output"))
    check_output(pods.shared / "output")
    run_job(pods.shared / "videos", tmp_path / "local", instances=1, fps="native")
    assert tree(pods.shared / "output") == tree(tmp_path / "local")
    late = pods.start(1)
    told_late, _ = late.communicate(timeout=PATIENCE_S)
    assert (late.returncode, "its outputs are merged" in told_late) == (0, True), told_late


def test_a_job_that_was_stopped_and_merged_goes_on_as_another(pods: Pods, tmp_path: Path) -> None:
    gate = Gate(tmp_path, 1)
    host = pods.start(0, *COMMAND, **{VARIABLE: str(gate.folder)})
    wait_until(lambda: gate.holds("host-0"))
    host.terminate()
    gate.open()
    host.communicate(timeout=PATIENCE_S)
    shared, output = pods.shared, str(pods.shared / "output")
    stopped = subprocess.run(
        [sys.executable, "-m", "framefleet", "manual", "merge", "--output", output],
        cwd=REPOSITORY,
        check=False,
    )
    assert stopped.returncode == 1
    before = tree(shared / "output")
    plain("job", "--output", output, "--hosts", "1", "--fps", "native", "--resume", str(shared / "videos"))
    host = pods.start(0, FRAMEFLEET_SIZE="1")
    told, _ = host.communicate(timeout=PATIENCE_S)
    assert host.returncode == 0, told
    assert "completed" in plain("merge", "--output", output)
    check_output(shared / "output")
    run_job(shared / "videos", tmp_path / "local", instances=1, fps="native")
    assert tree(shared / "output") == tree(tmp_path / "local")
    assert before.items() <= tree(shared / "output").items()


@pytest.mark.parametrize("pods", [{"lease_s": 2.0, "heartbeat_s": 0.5}], indirect=True)
def test_a_host_that_was_cut_off_until_the_job_was_over_ends_well(pods: Pods, tmp_path: Path) -> None:
    gate = Gate(tmp_path, 0)
    hosts = [pods.start(rank, *COMMAND, **{VARIABLE: str(gate.folder)}) for rank in (0, 1)]
    wait_until(lambda: gate.holds("host-0") and gate.holds("host-1"))
    os.killpg(hosts[1].pid, signal.SIGSTOP)
    gate.open()
    told, _ = hosts[0].communicate(timeout=PATIENCE_S)
    assert hosts[0].returncode == 0, told
    os.killpg(hosts[1].pid, signal.SIGCONT)
    told, _ = hosts[1].communicate(timeout=PATIENCE_S)
    assert (hosts[1].returncode, "by its account the job is over (completed)" in told) == (0, True), told
    assert "completed" in plain("merge", "--output", str(pods.shared / "output"))
    check_output(pods.shared / "output")


@pytest.mark.parametrize("pack", [None, PackOptions(format="tar", shard_bytes=2**20)])
def test_two_pods_of_an_indexed_job(clips: Path, tmp_path: Path, pack: PackOptions | None) -> None:
    shared = tmp_path / "shared"
    (shared / "videos").mkdir(parents=True)
    for name in ("h264-closed.mp4", "hevc-open-mp4.mp4", "vp9.webm"):
        shutil.copy(clips / name, shared / "videos")
    packing = [] if pack is None else ["--pack", "tar", "--shard-mib", "1"]
    plain("job", "--output", str(shared / "output"), "--hosts", "2", "--fps", "native", *packing)
    path = shared / "output" / "hosts" / "job" / "job.json"
    with _reserved_port() as port:
        spec = json.loads(path.read_text())
        path.write_text(json.dumps({**spec, "port": port, "slots_per_host": 1, "log_level": "debug"}))
        hosts = [
            subprocess.Popen(
                [sys.executable, "-m", "framefleet.worker"],
                cwd=REPOSITORY,
                env={
                    **{name: value for name, value in os.environ.items() if name != "FRAMEFLEET_ROOT"},
                    "JOB_COMPLETION_INDEX": str(index),
                    "FRAMEFLEET_SIZE": "2",
                    "FRAMEFLEET_PRIMARY": "127.0.0.1",
                    "FRAMEFLEET_SHARED": str(shared),
                },
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for index in (1, 0)
        ]
        told = [host.communicate(timeout=PATIENCE_S)[0] for host in hosts]
    assert [host.returncode for host in hosts] == [0, 0], told
    assert "host host-1, one of 2, as Kubernetes tells" in told[0]
    assert "framefleet: sends Hello(" in told[0], "its level is the job's"
    assert "completed" in plain("merge", "--output", str(shared / "output"))
    check_output(shared / "output")
    assert {"report.html", "trace.json"} <= {path.name for path in (shared / "output" / "job").iterdir()}
    run_job(shared / "videos", tmp_path / "local", instances=1, fps="native", pack=pack)
    assert (shared / "output" / "shards").is_dir() == (pack is not None)
    assert tree(shared / "output") == tree(tmp_path / "local")


def test_the_manifests_in_the_documentation_are_whole() -> None:
    service, job = yaml.safe_load_all((DOCS / "kubernetes.yaml").read_text())
    assert service["spec"]["clusterIP"] == "None"
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {each["name"]: each["value"] for each in container["env"]}
    assert given["FRAMEFLEET_SIZE"] == str(job["spec"]["completions"])
    assert given["FRAMEFLEET_PRIMARY"] == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {"data": given["FRAMEFLEET_SHARED"], "tmp": "/tmp"}
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    batch = json.loads((DOCS / "batch.json").read_text())
    nodes = batch["nodeProperties"]
    assert nodes["mainNode"] == 0
    (group,) = nodes["nodeRangeProperties"]
    assert group["targetNodes"] == f"0:{nodes['numNodes'] - 1}"
    mounts = group["container"]["mountPoints"]
    assert {"name": "FRAMEFLEET_SHARED", "value": mounts[0]["containerPath"]} in group["container"][
        "environment"
    ]
