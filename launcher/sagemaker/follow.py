"""Following a job until AWS says that it is over: status from CloudWatch Logs, state from SageMaker.

boto3's own waiter gives up after an hour and takes a stopped job for a success.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from framefleet.common.errors import UserError
from framefleet.common.status import Status, decode_status
from framefleet.launcher.aws.clients import Aws, is_temporary, translated
from framefleet.launcher.console.progress import View
from framefleet.launcher.output.combine_summaries import combine_statuses
from framefleet.launcher.sagemaker.cloudwatch_logs import OWN_LINE, LogLine, LogReader
from framefleet.launcher.sagemaker.job_description import OVER, describe, is_missing, no_such_job
from framefleet.launcher.text import program

POLL_S = 5.0
DESCRIBE_EVERY = 3  # looks into the log for each question to SageMaker, whose limits are tighter
LONGEST_WAIT_S = 60.0
MOST_DOUBLINGS = 10  # a night without a network must not overflow
JITTER = 0.2  # several launchers must not ask in step
FIRST_ANSWER_S = 180.0  # without any answer by then, something is wrong for good: the endpoint, the network
PATIENCE = 3  # failures in a row that the user is not told of

Answer = Literal["stop", "leave", "follow"]


@dataclass(frozen=True, slots=True)
class Ending:
    """How following ended.

    Attributes:
        description: SageMaker's, of the job.
        is_over: False if it was left running.
        status: the last that was known of its progress.
    """

    description: dict[str, Any]
    is_over: bool
    status: Status | None
    interrupted: bool = False


class Follower:
    """Shows one job's progress until it is over or left."""

    def __init__(
        self,
        aws: Aws,
        job: str,
        *,
        open_view: Callable[[], View],
        ask: Callable[[], Answer],
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        draw: random.Random | None = None,
    ) -> None:
        """``ask``: what to do after Ctrl-C, asked while no view is open."""
        self._aws = aws
        self._job = job
        self._open_view = open_view
        self._ask = ask
        self._sleep = sleep
        self._clock = clock
        self._began_s = clock()
        self._draw = draw or random.Random()
        self._view = open_view()
        self._description: dict[str, Any] = {}
        self._reader: LogReader | None = None
        self._statuses: dict[str, tuple[int, Status]] = {}
        self._failures = 0
        self._looks = 0
        self._is_due = True  # to ask SageMaker for the job's state
        self._told_start = False
        self._log_denied = False
        self._stopping = False

    def run(self) -> Ending:
        """Follow the job.

        Raises:
            UserError: there is no such job, or AWS can no longer be asked; the job goes on then.
        """
        try:
            while True:
                try:
                    self._sleep(self._wait_s())
                    self._look()
                    if self._description.get("ProcessingJobStatus") in OVER:
                        self._read_rest()
                        return self._ending(is_over=True)
                except KeyboardInterrupt:
                    if self._leaves():
                        return self._ending(is_over=False)
        finally:
            self._view.close()

    # ---- polling ------------------------------------------------------------------------------------

    def _look(self) -> None:
        from botocore.exceptions import BotoCoreError, ClientError

        self._is_due = self._is_due or self._looks % DESCRIBE_EVERY == 0 or self._is_said_to_be_over()
        self._looks += 1
        try:
            if self._is_due:
                self._describe()
                self._is_due = False
            self._read_log()
        except (BotoCoreError, ClientError) as error:
            is_hopeless = not self._description and self._clock() - self._began_s > FIRST_ANSWER_S
            if is_hopeless or not is_temporary(error):
                self._give_up(error)
            self._failures += 1
            if self._failures == PATIENCE:
                self._view.note(f"AWS does not answer ({error}); still trying")
            return
        if self._failures >= PATIENCE:
            self._view.note("AWS answers again")
        self._failures = 0

    def _give_up(self, error: Exception) -> NoReturn:
        try:
            with translated(f"following {self._job}", job=self._job):
                raise error
        except UserError as told:
            raise UserError(f"{told}. The job goes on: {program()} attach {self._job}") from error

    def _wait_s(self) -> float:
        """Seconds to the next look: none to the first, more and more while AWS does not answer."""
        if self._looks == 0:
            return 0.0
        base: float = min(POLL_S * 2.0 ** min(self._failures, MOST_DOUBLINGS), LONGEST_WAIT_S)
        return base * (1 + JITTER * (2 * self._draw.random() - 1))

    def _describe(self) -> None:
        self._description = describe(self._aws, self._job)
        if self._reader is None:
            created = self._description["CreationTime"].timestamp()
            self._reader = LogReader(self._aws.logs, self._job, since_ms=int(created * 1000))
        if (
            not self._told_start
            and not self._statuses
            and self._description["ProcessingJobStatus"] not in OVER
        ):
            self._told_start = True
            self._view.note(f"{self._job}: waiting for instances, their input and the first status")

    def _read_log(self) -> None:
        from botocore.exceptions import ClientError

        if self._reader is None or self._log_denied:
            return
        try:
            lines = self._reader.read()
        except ClientError as error:
            if "AccessDenied" not in error.response["Error"]["Code"]:
                raise
            self._log_denied = True
            self._view.note(f"progress cannot be shown: {error}")
            return
        fresh = [self._take(line) for line in lines]
        if any(fresh):
            statuses = [status for _, status in self._statuses.values()]
            self._view.update(statuses[0] if len(statuses) == 1 else combine_statuses(statuses))

    def _read_rest(self) -> None:
        """Read what came between the last look and the end, if that can be had."""
        from botocore.exceptions import BotoCoreError, ClientError

        with contextlib.suppress(BotoCoreError, ClientError):
            self._read_log()

    def _take(self, line: LogLine) -> bool:
        """Whether a line was a status newer than the last of its host."""
        status = decode_status(line.text)
        if status is None:
            if line.text.startswith(OWN_LINE):
                self._view.note(f"{line.host}: {line.text.removeprefix(OWN_LINE)}")
            return False
        host = status.host or line.host
        if host in self._statuses and line.at_ms < self._statuses[host][0]:
            return False
        self._statuses[host] = line.at_ms, status
        return True

    def _is_said_to_be_over(self) -> bool:
        return bool(self._statuses) and all(status.outcome for _, status in self._statuses.values())

    # ---- the end ------------------------------------------------------------------------------------

    def _leaves(self) -> bool:
        """After Ctrl-C: whether to leave the job; a job that is told to stop is followed to its end."""
        self._view.close()
        trouble = ""
        try:
            answer = "leave" if self._stopping else self._ask()
            if answer == "stop":
                try:
                    if not self._description:  # it may be anybody's
                        check_job(self._aws, self._job)
                    stop_job(self._aws, self._job)
                    self._stopping = True
                except UserError as error:
                    trouble = str(error)
        except KeyboardInterrupt:
            return True
        if answer == "leave":
            return True
        self._view = self._open_view()
        if trouble:
            self._view.note(f"{trouble}. The job goes on; Ctrl-C asks again")
        elif self._stopping:
            self._view.note("stopping the job; what is whole is kept")
        return False

    def _ending(self, *, is_over: bool) -> Ending:
        statuses = [status for _, status in self._statuses.values()]
        status = combine_statuses(statuses) if statuses else None
        return Ending(self._description, is_over, status, self._stopping or not is_over)


def check_job(aws: Aws, job: str) -> None:
    """See that there is such a job, and that it is one of Framefleet's.

    Raises:
        UserError: that is not so, or AWS cannot be asked.
    """
    with translated(f"looking at {job}", job=job):
        describe(aws, job)


def stop_job(aws: Aws, job: str) -> None:
    """Tell SageMaker to stop a job; one that is over already stays as it is.

    Raises:
        UserError: there is no such job, or AWS refuses.
    """
    from botocore.exceptions import ClientError

    with translated(f"stopping {job}", job=job):
        try:
            aws.sagemaker.stop_processing_job(ProcessingJobName=job)
        except ClientError as error:
            if is_missing(error):
                raise no_such_job(aws, job) from error
            if error.response["Error"]["Code"] != "ValidationException":
                raise
            # AWS refuses so for a job that is over; if it is not, that is to be told
            if (
                aws.sagemaker.describe_processing_job(ProcessingJobName=job)["ProcessingJobStatus"]
                not in OVER
            ):
                raise
