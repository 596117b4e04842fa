"""The real image under the SageMaker SDK's local mode: its own client, its own containers, S3 by moto.

It differs from SageMaker: host names have random ends, all hosts share one output folder, and the first
container that exits takes the others down.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from framefleet import processor
from framefleet.launcher.targets.docker_engine import Engine
from framefleet.launcher.targets.docker_image import ensure_image
from tests.helpers.jobs import check_output, tree
from tests.helpers.sagemaker_jobs import IMAGE, ROLE, put

pytestmark = [pytest.mark.timeout(600), pytest.mark.filterwarnings("ignore")]

PLUGIN = """\
#!/bin/sh
# docker compose, version 2, by the docker-compose that is there
case "$1" in
docker-cli-plugin-metadata)
    echo '{"SchemaVersion":"0.1.0","Vendor":"tests","Version":"v2.0.0","ShortDescription":"compose"}' ;;
compose)
    shift
    [ "$1" = version ] && { echo "Docker Compose version v2.0.0"; exit; }
    exec docker-compose "$@" ;;
esac
"""


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A session on moto's server, with nothing of the user's."""
    from moto.server import ThreadedMotoServer

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    yield boto3.Session()
    server.stop()


@pytest.fixture
def compose(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``docker compose``, which the SDK calls, also where there is only ``docker-compose``."""
    if engine.compose != ("docker", "compose"):
        plugin = tmp_path / "docker" / "cli-plugins" / "docker-compose"
        plugin.parent.mkdir(parents=True)
        plugin.write_text(PLUGIN)
        plugin.chmod(0o755)
        monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


@pytest.mark.usefixtures("compose")
def test_three_hosts_of_local_mode(
    account: Any, source: Path, tmp_path: Path, expected: dict[str, str]
) -> None:
    from sagemaker.core.helper.session_helper import Session
    from sagemaker.core.local.local_session import LocalSession
    from sagemaker.core.processing import Processor

    s3 = account.client("s3")
    put(s3, **{f"videos/{path.name}": path.read_bytes() for path in source.iterdir()})
    job = processor(
        "s3://bucket/videos",
        "s3://bucket/out",
        instances=3,
        slots_per_instance=1,
        sampling={"fps": "native"},
        session=Session(boto_session=account),
        role=ROLE,
        image=IMAGE,
        upload="end",
    )
    local = LocalSession(account)
    local.config = {"local": {"container_root": str(tmp_path / "hosts")}}
    (tmp_path / "hosts").mkdir()
    image = ensure_image()
    runner = Processor(
        role=ROLE, image_uri=image, instance_count=3, instance_type="local", sagemaker_session=local,
        entrypoint=["python", "-m", "framefleet.worker"],
    )  # fmt: skip
    runner.run(inputs=job.inputs, outputs=job.outputs, job_name=job.name, wait=True, logs=False)
    output = tmp_path / "got"
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="bucket", Prefix="out/")
    for key in [found["Key"] for page in pages for found in page.get("Contents", [])]:
        path = output / key.removeprefix("out/")
        path.parent.mkdir(parents=True, exist_ok=True)
        s3.download_file("bucket", key, str(path))
    assert tree(output) == expected
    check_output(output)
