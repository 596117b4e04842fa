"""A job of ``sagemaker_platform.py`` while it runs: its hosts, their logs, and what they upload."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from framefleet.common.job.spec import JobSpec, SchedulingOptions
from framefleet.launcher.aws.s3 import list_objects, parse_folder
from framefleet.launcher.sagemaker.iam_policies import LOG_GROUP
from framefleet.launcher.targets.local import _reserved_port
from framefleet.launcher.targets.local_host import LocalHost
from tests.helpers.sagemaker_calls import ACCOUNT, REGION

if TYPE_CHECKING:
    from tests.helpers.sagemaker_platform import Platform

ROLE_AGENT = "the-role"  # whose calls these are
SCHEDULING = SchedulingOptions(unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=3.0)
TICK_S = 0.1
SHARD_BYTES = 150_000  # the command line's least is a MiB, which these jobs do not fill
GRACE_S = 60.0  # from SIGTERM to SIGKILL; of training jobs 120 s are documented, of these nothing


class Run:
    """One job while it runs: its hosts, their logs, and what they upload."""

    def __init__(self, platform: Platform, request: dict[str, Any]) -> None:
        self.platform = platform
        self.request = request
        self.name: str = request["ProcessingJobName"]
        self.hosts: list[LocalHost] = []
        self.thread = threading.Thread(target=self._go, daemon=True)
        self.is_stopping = False
        self.is_over = False
        self.late: list[str] = []  # hosts that did not leave when they were told to
        self.started = datetime.now(UTC)
        self._s3, self._logs = platform.client("s3", ROLE_AGENT), platform.client("logs", ROLE_AGENT)
        output = request["ProcessingOutputConfig"]["Outputs"][0]["S3Output"]
        self.output = parse_folder(output["S3Uri"], "")
        self.is_continuous = output["S3UploadMode"] == "Continuous"
        self._uploaded: dict[Path, tuple[int, int]] = {}
        self._uploading = threading.Lock()
        self._told: dict[str, int] = {}

    def describe(self, told: dict[str, Any], status: str) -> dict[str, Any]:
        """A description with what moto leaves out."""
        more: dict[str, Any] = {"ProcessingResources": self.request["ProcessingResources"]}
        if status in ("Completed", "Failed", "Stopped"):
            more |= {"ProcessingStartTime": self.started, "ExitMessage": self.message}
        else:
            told.pop("ProcessingEndTime", None)
        return {**told, **more}

    @property
    def message(self) -> str:
        """What all hosts wrote for AWS to tell, as AWS cuts it."""
        texts = [
            host.layout.exit_message.read_text() for host in self.hosts if host.layout.exit_message.is_file()
        ]
        return "".join(texts)[:1024]

    def commits(self) -> int:
        """How many units the journal says to be committed."""
        journal = self.hosts[0].layout.of_run(self.name).job / "journal.jsonl"
        return journal.read_bytes().count(b'"committed"') if journal.is_file() else 0

    def hold(self) -> None:
        """Let hosts do nothing until they are let go or the job is stopped."""
        self._signal(signal.SIGSTOP)

    def let_go(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for host in self.hosts:
            if host.running and host._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(host._process.pid, number)

    @contextlib.contextmanager
    def _ticking(self) -> Iterator[None]:
        """Call ``on_tick`` meanwhile, from a thread: a busy machine may upload for longer than a job runs."""
        is_over = threading.Event()

        def tick() -> None:
            while not is_over.wait(TICK_S / 4):
                self.platform.on_tick(self)

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _go(self) -> None:
        from moto.sagemaker.models import sagemaker_backends

        job = sagemaker_backends[ACCOUNT][REGION].processing_jobs[self.name]
        status = "Failed"  # if this ends by an exception, nobody shall wait for it
        try:
            status = self._run_hosts(job)
        finally:
            job.processing_end_time = datetime.now(UTC)
            job.processing_job_status = status

    def _run_hosts(self, job: Any) -> str:
        """Let the hosts do the job; its state in the end."""
        with contextlib.ExitStack() as resources:
            self._prepare(resources)
            for host in self.hosts:
                host.start((sys.executable, "-m", "framefleet.worker"))
            resources.callback(self._end_hosts)
            resources.enter_context(self._ticking())
            kill_at = float("inf")
            while any(host.running for host in self.hosts) and not self.is_over:
                for host in self.hosts:
                    host.poll()
                self._tell_logs()
                if self.is_continuous and not self.is_stopping:
                    self.upload()
                if job.processing_job_status == "Stopping" and not self.is_stopping:
                    self.is_stopping = True
                    kill_at = time.monotonic() + GRACE_S
                    for host in self.hosts:
                        host.terminate()
                    self.let_go()
                if time.monotonic() >= kill_at:
                    self.late = [host.name for host in self.hosts if host.running]
                    break
                time.sleep(TICK_S)
            self._tell_logs()
            if not self.is_stopping or self.platform.uploads_what_was_stopped:
                self.upload()
        failed = any(host.returncode for host in self.hosts)
        return "Stopped" if self.is_stopping else "Failed" if failed else "Completed"

    def _end_hosts(self) -> None:
        for host in self.hosts:
            host.kill()
        for host in self.hosts:
            host.close()

    def _prepare(self, resources: contextlib.ExitStack) -> None:
        count = self.request["ProcessingResources"]["ClusterConfig"]["InstanceCount"]
        inputs = {one["InputName"]: one["S3Input"] for one in self.request["ProcessingInputs"]}
        files = dict(self._read(inputs["job"]["S3Uri"]))
        spec = msgspec.structs.replace(
            msgspec.json.decode(files.pop("job.json"), type=JobSpec),
            endpoint=f"tcp://127.0.0.1:{resources.enter_context(_reserved_port())}",  # all share one machine
            scheduling=SCHEDULING,
            status_interval_s=0.5,
        )
        if spec.pack is not None:
            small = msgspec.structs.replace(spec.pack, shard_bytes=SHARD_BYTES)
            spec = msgspec.structs.replace(spec, pack=small)
        videos = sorted(self._read(inputs["videos"]["S3Uri"]))
        is_sharded = inputs["videos"]["S3DataDistributionType"] == "ShardedByS3Key"
        names = [f"algo-{number}" for number in range(1, count + 1)]
        for index, name in enumerate(names):
            root = self.platform.folder / self.name / name
            mine = videos[index::count] if is_sharded else videos
            for path, data in mine:
                place = root / "downloaded" / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)
            host = LocalHost(name=name, root=root)
            host.prepare(hosts=sorted(names), videos=root / "downloaded", spec=spec, files=files)
            self.hosts.append(host)

    def _read(self, uri: str) -> Iterator[tuple[str, bytes]]:
        folder = parse_folder(uri, "")
        for name, _ in list(list_objects(self._s3, folder)):
            yield name, self._s3.get_object(Bucket=folder.bucket, Key=folder.key(name))["Body"].read()

    def _tell_logs(self) -> None:
        for host in self.hosts:
            stream = f"{self.name}/{host.name}-1"
            data = host.log.read_bytes()
            at = self._told.get(host.name, 0)
            end = data.rfind(b"\n") + 1
            if end <= at:
                continue
            if at == 0:
                with contextlib.suppress(self._logs.exceptions.ResourceAlreadyExistsException):
                    self._logs.create_log_group(logGroupName=LOG_GROUP)
                self._logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)
            self._told[host.name] = end
            now_ms = int(time.time() * 1000)
            events = [
                {"timestamp": now_ms, "message": line}
                for line in data[at:end].decode(errors="replace").splitlines()
                if line
            ]
            self._logs.put_log_events(logGroupName=LOG_GROUP, logStreamName=stream, logEvents=events)

    def upload(self) -> None:
        """Upload what is new or has changed."""
        with self._uploading:
            for host in self.hosts:
                # not rglob, which a folder that vanishes meanwhile ends by an exception
                tree = os.walk(host.layout.output)
                found = [Path(folder, name) for folder, _, names in tree for name in names]
                for path in sorted(found, reverse=True):  # manifests before frames
                    with contextlib.suppress(FileNotFoundError):
                        known = path.stat()
                        mark = known.st_mtime_ns, known.st_size
                        if self._uploaded.get(path) != mark:
                            name = str(path.relative_to(host.layout.output))
                            self._s3.put_object(
                                Bucket=self.output.bucket, Key=self.output.key(name), Body=path.read_bytes()
                            )
                            self._uploaded[path] = mark
