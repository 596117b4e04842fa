"""SageMaker's side of jobs, for tests: moto's server as S3, SageMaker and Logs, and hosts that are real.

moto has a job completed as soon as it is created; here it is in progress while ``python -m worker`` runs for
each instance, on the tree that SageMaker mounts, with what was downloaded from the bucket. What a real
account does at the end of a job that was stopped is not documented: here, what was not uploaded is lost,
unless a test asks for the contrary.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import msgspec
import pytest

from common.spec import JobSpec, SchedulingOptions
from targets.hosts import LocalHost
from targets.local import _reserved_port
from targets.sagemaker.permissions import LOG_GROUP
from targets.sagemaker.s3 import list_objects, parse_folder
from tests.jobs import REPOSITORY
from tests.sagemaker_calls import ACCOUNT, REGION, as_iam, hang_up, refuse

# whose calls these are; all others are a launcher's
OWN_AGENT, ROLE_AGENT = "the-platform", "the-role"
SCHEDULING = SchedulingOptions(unit_span_s=0.5, cut="anywhere", heartbeat_s=0.5, lease_s=3.0)
TICK_S = 0.1
SHARD_BYTES = 150_000  # the command line's least is a MiB, which these jobs do not fill
GRACE_S = 60.0  # from SIGTERM to SIGKILL; of training jobs 120 s are documented, of these nothing

LAUNCHER = """
import sys
import launch
from targets.sagemaker import aws, follow
aws.MAX_ATTEMPTS, follow.POLL_S = 2, 0.2
sys.exit(launch.main())
"""


class Platform:
    """An account with the bucket ``bucket``, the image of ``IMAGE``, and jobs that run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls: set[tuple[str, str]] = set()  # of launchers: action and resource, as IAM has them
        self.role_calls: set[tuple[str, str]] = set()  # of what acts under the job's role
        self.faults: dict[
            str, list[str]
        ] = {}  # by action, of the next calls: throttled, lost, heard (only the answer is lost)
        self.on_tick: Callable[[Run], None] = lambda run: None
        self.uploads_what_was_stopped = False
        self.url = ""
        self.run: Run | None = None  # of the newest job

    def client(self, service: str, agent: str = OWN_AGENT) -> Any:
        from botocore.config import Config

        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
            config=Config(user_agent_extra=agent),
        )

    def upload(self, folder: Path, prefix: str) -> None:
        s3 = self.client("s3")
        for path in folder.rglob("*"):
            if path.is_file():
                s3.put_object(
                    Bucket="bucket", Key=f"{prefix}/{path.relative_to(folder)}", Body=path.read_bytes()
                )

    def download(self, prefix: str, folder: Path) -> Path:
        s3 = self.client("s3")
        for key, _ in list_objects(s3, parse_folder(f"s3://bucket/{prefix}", "")):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(s3.get_object(Bucket="bucket", Key=f"{prefix}/{key}")["Body"].read())
        return folder

    def launch(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """``launch.py`` in a process of its own, which polls more often and gives up sooner."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "FRAMEFLEET_", "XDG_CONFIG"))
        }
        environment |= {
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CONFIG_FILE": str(self.folder / "no-config"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "COLUMNS": "200",
            "PYTHONPATH": str(REPOSITORY),
        }
        given: dict[str, Any] = {
            "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, **more,
        }  # fmt: skip
        return subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, *arguments], cwd=self.folder, env=environment, text=True, **given
        )

    # ---- the server ---------------------------------------------------------------------------------

    def answer(
        self, app: Callable[..., Iterable[bytes]], environ: dict[str, Any], start: Any
    ) -> Iterable[bytes]:
        """One call, as WSGI has it: answered by moto, or by a fault."""
        if OWN_AGENT in environ.get("HTTP_USER_AGENT", ""):
            return app(environ, start)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        action, resource = as_iam(environ, body)
        if ROLE_AGENT in environ.get("HTTP_USER_AGENT", ""):
            self.role_calls.add((action, resource))
            return app(environ, start)
        self.calls.add((action, resource))
        waiting = self.faults.get(action)
        fault = waiting.pop(0) if waiting else ""
        if fault == "lost":
            hang_up(environ)
        if fault == "throttled":
            return refuse(start, "ThrottlingException", "Rate exceeded")
        if action == "sagemaker:CreateProcessingJob":
            request = json.loads(body)
            if self.run is not None and self.run.name == request["ProcessingJobName"]:
                return refuse(start, "ResourceInUse", "Job name must be unique")  # moto takes it
            self.run = Run(self, request)
            answer = app(environ, start)
            self.run.thread.start()
            if fault == "heard":
                hang_up(environ)
            return answer
        return app(environ, start)

    def close(self) -> None:
        """End what still runs."""
        if self.run is not None and self.run.thread.is_alive():
            self.run.is_over = True
            self.run.thread.join()


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
                host.start((sys.executable, "-m", "worker"))
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


@contextlib.contextmanager
def run_platform(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """A platform with its server, for one test."""
    from moto.moto_api._internal.models import moto_api_backend
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
    from moto.sagemaker.exceptions import ValidationError
    from moto.sagemaker.models import FakeProcessingJob, SageMakerModelBackend
    from werkzeug.serving import make_server

    platform = Platform(folder)
    begin, describe, stop = (
        FakeProcessingJob.__init__,
        SageMakerModelBackend.describe_processing_job,
        SageMakerModelBackend.stop_processing_job,
    )

    def in_progress(self: Any, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        self.processing_job_status = "InProgress"

    def whole(self: Any, processing_job_name: str) -> dict[str, Any]:
        told = describe(self, processing_job_name)
        run = platform.run
        return (
            run.describe(told, told["ProcessingJobStatus"])
            if run and run.name == processing_job_name
            else told
        )

    def stopping(self: Any, processing_job_name: str) -> None:
        job = self.processing_jobs.get(processing_job_name)
        if job is not None and job.processing_job_status != "InProgress":
            raise ValidationError(message=f"The request was rejected: it is {job.processing_job_status}")
        stop(self, processing_job_name)
        job.processing_job_status = "Stopping"

    monkeypatch.setattr(FakeProcessingJob, "__init__", in_progress)
    monkeypatch.setattr(SageMakerModelBackend, "describe_processing_job", whole)
    monkeypatch.setattr(SageMakerModelBackend, "stop_processing_job", stopping)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = DomainDispatcherApplication(create_backend_app)
    moto_api_backend.reset()  # other tests of this process have accounts, too
    server = make_server("127.0.0.1", 0, lambda environ, start: platform.answer(app, environ, start), True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    platform.url = f"http://127.0.0.1:{server.server_port}"
    s3, ecr = platform.client("s3"), platform.client("ecr")
    s3.create_bucket(Bucket="bucket")
    ecr.create_repository(repositoryName="framefleet")
    ecr.put_image(
        repositoryName="framefleet",
        imageTag="0.1",
        imageManifest='{"schemaVersion": 2}',
        imageManifestMediaType="application/vnd.docker.distribution.manifest.v2+json",
    )
    try:
        yield platform
    finally:
        platform.close()
        server.shutdown()
        thread.join()
        server.server_close()
