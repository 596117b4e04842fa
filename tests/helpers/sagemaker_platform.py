"""SageMaker's side of jobs, for tests: moto's server as S3, SageMaker and Logs, and hosts that are real.

moto has a job completed as soon as it is created; here it is in progress while a host runs for each
instance, on the tree that SageMaker mounts, with what was downloaded from the bucket. What a real
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
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest

from framefleet.launcher.aws.s3 import list_objects, parse_folder
from tests.helpers.jobs import PATIENCE_S, REPOSITORY
from tests.helpers.sagemaker_calls import REGION, as_iam, hang_up, refuse
from tests.helpers.sagemaker_run import ROLE_AGENT, Run

# whose calls these are; all others are a launcher's
OWN_AGENT = "the-platform"

LAUNCHER = """
import sys
from framefleet.launcher.cli import main as launch
from framefleet.launcher.aws import clients as aws
from framefleet.launcher.sagemaker import follow
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

    def end_early(
        self,
        arguments: Sequence[str],
        ending: Literal["stopped", "failed"],
        *,
        is_enough: Callable[[Run], bool],
        uploads: bool,
    ) -> str:
        """Launch a job that is stopped by the user, or whose second host is killed, once ``is_enough``.

        ``uploads``: what is there by then is uploaded. Returns what the launcher printed.
        """
        ours, theirs = os.openpty()
        process = self.launch(*arguments, stdin=theirs)
        is_done = False

        def disturb(run: Run) -> None:
            nonlocal is_done
            if is_done or not is_enough(run) or not run.hosts[1].running:
                return
            run.hold()  # else the job may be done before this is
            if uploads:
                run.upload()
            is_done = True
            if ending == "stopped":
                os.write(ours, b"s\n")  # the answer to what Ctrl-C asks
                process.send_signal(signal.SIGINT)
            else:
                run.hosts[1].kill()
                run.let_go()

        self.on_tick = disturb
        text, _ = process.communicate(timeout=PATIENCE_S)
        os.close(ours)
        os.close(theirs)
        assert is_done
        assert process.returncode == {"stopped": 130, "failed": 1}[ending], text
        assert "the same command with --resume" in text
        return text

    def close(self) -> None:
        """End what still runs."""
        if self.run is not None and self.run.thread.is_alive():
            self.run.is_over = True
            self.run.thread.join()


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
