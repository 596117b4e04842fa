"""Following a job through every state that AWS documents, by scripted answers."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber

from framefleet.common.errors import UserError
from framefleet.common.status import Status
from framefleet.launcher.aws.clients import Aws
from framefleet.launcher.sagemaker.follow import (
    DESCRIBE_EVERY,
    FIRST_ANSWER_S,
    Answer,
    Ending,
    Follower,
    stop_job,
)
from framefleet.launcher.sagemaker.request import build_request
from framefleet.launcher.text import program
from tests.helpers.sagemaker_jobs import make_job
from tests.unit.launcher.sagemaker.test_cloudwatch_logs import NOW_MS, event, status_line

CREATED = datetime.fromtimestamp(NOW_MS / 1000, UTC)


WANTED = build_request(make_job())
OURS = {name: WANTED[name] for name in ("ProcessingInputs", "ProcessingOutputConfig")}


class Recorder:
    """A view that remembers."""

    def __init__(self) -> None:
        self.statuses: list[Status] = []
        self.notes: list[str] = []
        self.closed = 0

    def update(self, status: Status) -> None:
        self.statuses.append(status)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def close(self) -> None:
        self.closed += 1


class Job:
    """A job at AWS, as a script: what each question is answered with, and when Ctrl-C is pressed."""

    def __init__(self) -> None:
        session = boto3.Session(aws_access_key_id="x", aws_secret_access_key="x", region_name="us-east-1")
        self.aws = Aws(session, "us-east-1")
        self.view = Recorder()
        self.waits: list[float] = []
        self.interrupt_at: set[int] = set()
        self.answers: list[Answer] = []
        self.sagemaker, self.logs = Stubber(self.aws.sagemaker), Stubber(self.aws.logs)

    def state(self, state: str, **more: Any) -> None:
        """The answer to the next question for the job's state."""
        told = {
            "ProcessingJobName": "job-1",
            "ProcessingJobStatus": state,
            "CreationTime": CREATED,
            "ProcessingJobArn": "arn:aws:sagemaker:us-east-1:123456789012:processing-job/job-1",
            "ProcessingResources": {"ClusterConfig": {"VolumeSizeInGB": 30}},
            "AppSpecification": {"ImageUri": "x"},
            **OURS,
            **more,
        }
        self.sagemaker.add_response("describe_processing_job", told)

    def log(self, *texts: str, stream: str = "job-1/algo-1-1") -> None:
        """The answer to the next look into the log."""
        count = len(self.logs._queue)  # ids must differ
        self.logs.add_response(
            "filter_log_events",
            {
                "events": [
                    event(count * 100 + index, NOW_MS + count * 10 + index, text, stream)
                    for index, text in enumerate(texts)
                ]
            },
        )

    def sleep(self, wait_s: float) -> None:
        self.waits.append(wait_s)
        if len(self.waits) in self.interrupt_at:
            raise KeyboardInterrupt

    def ask(self) -> Answer:
        return self.answers.pop(0)

    def follow(self) -> Ending:
        with self.sagemaker, self.logs:
            follower = Follower(
                self.aws,
                "job-1",
                open_view=lambda: self.view,
                ask=self.ask,
                sleep=self.sleep,
                clock=lambda: sum(self.waits),
                draw=random.Random(1),
            )
            ending = follower.run()
            self.sagemaker.assert_no_pending_responses()
            self.logs.assert_no_pending_responses()
        return ending


@pytest.fixture
def job() -> Job:
    return Job()


def test_a_job_is_followed_from_its_first_instance_to_its_end(job: Job) -> None:
    job.state("InProgress")
    job.log()  # no log stream yet
    job.log()
    job.log(status_line(frames=10))
    job.state("InProgress")
    job.log("framefleet: the coordinator was killed by SIGKILL and is started again", status_line(frames=20))
    job.log(status_line(frames=30, outcome="completed"))
    job.state("Completed", ExitMessage="framefleet: completed")
    job.log()
    job.log()
    ending = job.follow()
    assert ending.is_over
    assert not ending.interrupted
    assert ending.description["ExitMessage"] == "framefleet: completed"
    assert [status.frames for status in job.view.statuses] == [10, 20, 30]
    assert ending.status is not None
    assert ending.status.frames == 30
    assert job.view.notes == [
        "job-1: waiting for instances, their input and the first status",
        "algo-1: the coordinator was killed by SIGKILL and is started again",
    ]
    assert job.view.closed
    assert job.waits[0] == 0
    assert all(4 <= wait_s <= 6 for wait_s in job.waits[1:])
    assert len(set(job.waits[1:])) == len(job.waits) - 1  # not in step with others


@pytest.mark.parametrize("state", ["Failed", "Stopped"])
def test_a_job_that_ends_otherwise_is_no_success(job: Job, state: str) -> None:
    job.state(state, FailureReason="AlgorithmError")
    job.log(status_line(frames=7))
    job.log()
    ending = job.follow()
    assert ending.is_over
    assert ending.description["ProcessingJobStatus"] == state
    assert ending.status is not None


def test_every_host_of_a_sharded_job_counts_with_its_newest_status(job: Job) -> None:
    job.state("InProgress")
    job.log(
        status_line(frames=1, host="algo-1"),
        status_line(frames=5, host="algo-2"),
        status_line(frames=10, host="algo-1"),
    )
    job.log()
    job.log()
    job.state("Completed")
    job.log()
    job.log()
    job.follow()
    assert [status.frames for status in job.view.statuses] == [15]


def test_throttling_and_lost_connections_are_outlasted_by_longer_waits(job: Job) -> None:
    job.state("InProgress")
    for code in ["ThrottlingException", "ServiceUnavailableException", "ThrottlingException"]:
        job.logs.add_client_error("filter_log_events", code, "Rate exceeded")
    job.sagemaker.add_client_error("describe_processing_job", "ThrottlingException", "Rate exceeded")
    job.state("Completed")
    job.log()
    job.log()
    ending = job.follow()
    assert ending.is_over
    assert [round(wait_s / 5) for wait_s in job.waits][:2] == [0, 2]
    assert 8 <= job.waits[1] <= 12
    assert 16 <= job.waits[2] <= 24
    assert 32 <= job.waits[3] <= 48
    assert 48 <= job.waits[4] <= 72  # and no longer
    assert sum("AWS does not answer" in note for note in job.view.notes) == 1
    assert "AWS answers again" in job.view.notes


def test_a_log_that_never_answers_again_does_not_hide_the_end(job: Job) -> None:
    job.state("InProgress")
    job.log(status_line(frames=3))
    for _ in range(4):  # the last of them after the end
        job.logs.add_client_error("filter_log_events", "ThrottlingException", "Rate exceeded")
    job.state("Completed")
    ending = job.follow()
    assert ending.is_over
    assert ending.status is not None
    assert ending.status.frames == 3


def test_a_network_that_goes_away_is_outlasted(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, outages = 0, 20

    def describe(**_: Any) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if 1 < calls <= outages + 1:
            raise EndpointConnectionError(endpoint_url="https://api.sagemaker.us-east-1.amazonaws.com")
        state = "InProgress" if calls == 1 else "Completed"
        return {
            "ProcessingJobName": "job-1",
            "ProcessingJobStatus": state,
            "CreationTime": CREATED,
            **OURS,
        }

    monkeypatch.setattr(job.aws.sagemaker, "describe_processing_job", describe)
    for _ in range(DESCRIBE_EVERY + 2):
        job.log()
    assert job.follow().is_over
    assert calls == outages + 2
    assert max(job.waits) <= 72


def test_an_endpoint_that_never_answers_at_all_is_given_up(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def describe(**_: Any) -> None:
        assert sum(job.waits) <= FIRST_ANSWER_S + 72
        raise EndpointConnectionError(endpoint_url="https://api.sagemaker.us-east-9.amazonaws.com")

    monkeypatch.setattr(job.aws.sagemaker, "describe_processing_job", describe)
    with pytest.raises(UserError, match=r"following job-1: AWS cannot be reached .*us-east-9.*--region"):
        job.follow()
    assert sum(job.waits) > FIRST_ANSWER_S


def test_a_job_of_somebody_else_is_neither_followed_nor_stopped(job: Job) -> None:
    job.state("InProgress", ProcessingInputs=[])
    with pytest.raises(UserError, match="job-1 is no job of Framefleet"):
        job.follow()
    job.waits.clear()
    job.interrupt_at, job.answers = {1}, ["stop"]  # before anything is known of the job
    job.state("InProgress", ProcessingInputs=[])
    job.state("InProgress", ProcessingInputs=[])
    with pytest.raises(UserError, match="job-1 is no job of Framefleet"):
        job.follow()
    assert any("is no job of Framefleet" in note for note in job.view.notes)


def test_a_log_that_may_not_be_read_is_told_of_once(job: Job) -> None:
    job.state("InProgress")
    job.logs.add_client_error("filter_log_events", "AccessDeniedException", "no logs:FilterLogEvents")
    job.state("Completed")
    assert job.follow().is_over
    assert sum("progress cannot be shown" in note for note in job.view.notes) == 1


@pytest.mark.parametrize(
    ("code", "message", "words"),
    [
        (
            "ValidationException",
            "Could not find requested job with name: job-1",
            "there is no job job-1 in us-",
        ),
        ("ResourceNotFound", "gone", "there is no job job-1 in us-east-1"),
        ("ExpiredTokenException", "expired", "following job-1: the AWS credentials have expired"),
        ("AccessDeniedException", "not yours", "following job-1: AWS denies DescribeProcessingJob"),
    ],
)
def test_what_cannot_be_outlasted(job: Job, code: str, message: str, words: str) -> None:
    job.sagemaker.add_client_error("describe_processing_job", code, message)
    with pytest.raises(UserError) as caught:
        job.follow()
    assert words in str(caught.value)
    assert (f"The job goes on: {program()} attach job-1" in str(caught.value)) == ("following" in words)
    assert job.view.closed


def test_after_ctrl_c_the_job_may_be_left_running(job: Job) -> None:
    job.state("InProgress")
    job.log(status_line(frames=3))
    job.interrupt_at, job.answers = {2}, ["leave"]
    ending = job.follow()
    assert not ending.is_over
    assert ending.interrupted
    assert ending.description["ProcessingJobName"] == "job-1"


def test_after_ctrl_c_the_job_may_be_stopped_and_is_seen_to_its_end(job: Job) -> None:
    job.state("InProgress")
    job.log()
    job.sagemaker.add_response("stop_processing_job", {}, {"ProcessingJobName": "job-1"})
    job.log()
    job.log()
    job.state("Stopping")
    job.log()
    job.log()
    job.log()
    job.state("Stopped")
    job.log()
    job.log()
    job.interrupt_at, job.answers = {2}, ["stop"]
    ending = job.follow()
    assert ending.is_over
    assert ending.interrupted
    assert "stopping the job; what is whole is kept" in job.view.notes


def test_after_ctrl_c_the_job_may_be_followed_on_and_a_second_one_leaves_a_stopping_job(job: Job) -> None:
    job.state("InProgress")
    job.log()
    job.sagemaker.add_response("stop_processing_job", {})
    job.interrupt_at, job.answers = {2, 3, 4}, ["follow", "stop"]
    ending = job.follow()
    assert not ending.is_over
    assert job.answers == []
    assert job.view.closed >= 3


def test_ctrl_c_while_being_asked_leaves(job: Job) -> None:
    def pressed() -> Answer:
        raise KeyboardInterrupt

    job.state("InProgress")
    job.log()
    job.interrupt_at = {2}
    job.ask = pressed  # type: ignore[method-assign]
    assert not job.follow().is_over


def test_a_job_that_cannot_be_stopped_is_followed_on_and_asked_about_again(job: Job) -> None:
    job.state("InProgress")
    job.log()
    job.sagemaker.add_client_error("stop_processing_job", "ThrottlingException", "Rate exceeded")
    job.sagemaker.add_response("stop_processing_job", {})
    job.state("Stopped")
    for _ in range(4):
        job.log()
    job.interrupt_at, job.answers = {2, 3}, ["stop", "stop"]
    ending = job.follow()
    assert ending.is_over
    assert any("takes no more calls of StopProcessingJob" in note for note in job.view.notes)
    assert job.view.notes[-1] == "stopping the job; what is whole is kept"


def test_waits_stay_bounded_over_a_night_without_a_network(job: Job) -> None:
    follower = Follower(job.aws, "job-1", open_view=lambda: job.view, ask=job.ask)
    follower._looks = follower._failures = 5000
    assert 48 <= follower._wait_s() <= 72


def add_errors(stub: Stubber, *errors: tuple[str, str]) -> None:
    for code, message in errors:
        stub.add_client_error("stop_processing_job", code, message)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda job: add_errors(job.sagemaker, ("ResourceNotFound", "none")), "there is no job job-1"),
        (
            lambda job: add_errors(job.sagemaker, ("AccessDeniedException", "no")),
            "stopping job-1: AWS denies",
        ),
    ],
)
def test_what_stopping_may_meet(job: Job, prepare: Callable[[Job], None], words: str) -> None:
    prepare(job)
    with job.sagemaker, pytest.raises(UserError, match=words):
        stop_job(job.aws, "job-1")


def test_a_job_that_is_over_needs_no_stopping(job: Job) -> None:
    add_errors(job.sagemaker, ("ValidationException", "The request was rejected: status is Completed"))
    job.state("Completed")
    with job.sagemaker:
        stop_job(job.aws, "job-1")
        job.sagemaker.assert_no_pending_responses()
