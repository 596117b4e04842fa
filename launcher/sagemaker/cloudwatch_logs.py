"""The job's log in CloudWatch, read as it grows.

Events may come late, twice, or not at all for minutes after the start: each look begins a little before
the newest event seen, and what was seen is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from framefleet.common.status import STATUS_EVENT
from framefleet.launcher.sagemaker.iam_policies import LOG_GROUP

OVERLAP_MS = 60_000  # how late an event may come; CloudWatch promises nothing, seconds are usual
OWN_LINE = "framefleet: "  # how lines for people begin on a host's standard error
PATTERN = f'?"{STATUS_EVENT}" ?"{OWN_LINE.strip()}"'
MAX_PAGES = 20  # of one look, so that progress shows while an old job's log is read


@dataclass(frozen=True, slots=True)
class LogLine:
    """One event: ``at_ms`` by the host's clock since the epoch, ``host`` as the name of its stream has it."""

    at_ms: int
    host: str
    text: str


class LogReader:
    """Reads the log lines of one job that tell of its progress, each once."""

    def __init__(self, client: Any, job: str, *, since_ms: int = 0) -> None:
        """``since_ms``: when the job was created, since the epoch."""
        self._client = client
        self._prefix = f"{job}/"
        self._since_ms = max(0, since_ms - OVERLAP_MS)
        self._seen: dict[str, int] = {}
        self._token: str | None = None

    def read(self) -> list[LogLine]:
        """What has come since the last look, oldest first; nothing while there is no log yet.

        Raises:
            botocore.exceptions.ClientError, BotoCoreError: CloudWatch cannot be asked; ask again.
        """
        lines: list[LogLine] = []
        for _ in range(MAX_PAGES):
            page = self._page()
            for event in page.get("events", ()):
                self._take(event, lines)
            self._token = page.get("nextToken")
            if self._token is None:
                self._forget()
                break
        lines.sort(key=lambda line: line.at_ms)
        return lines

    def _page(self) -> dict[str, Any]:
        from botocore.exceptions import ClientError

        query: dict[str, Any] = {
            "logGroupName": LOG_GROUP,
            "logStreamNamePrefix": self._prefix,
            "startTime": self._since_ms,
            "filterPattern": PATTERN,
        }
        if self._token is not None:
            query["nextToken"] = self._token
        try:
            page: dict[str, Any] = self._client.filter_log_events(**query)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return {}  # the account's first job has not written a line yet
            if self._token is not None and error.response["Error"]["Code"] == "InvalidParameterException":
                return {}  # the token has expired: the next look begins anew
            raise
        return page

    def _take(self, event: dict[str, Any], lines: list[LogLine]) -> None:
        stream = event.get("logStreamName", "")
        if not stream.startswith(self._prefix) or event["eventId"] in self._seen:
            return
        self._seen[event["eventId"]] = event["timestamp"]
        text = event["message"].rstrip("\r\n")
        if STATUS_EVENT in text or text.startswith(OWN_LINE):
            host = stream.removeprefix(self._prefix).rpartition("-")[0]
            lines.append(LogLine(event["timestamp"], host, text))

    def _forget(self) -> None:
        """Begin the next look before the newest event; older ones need not be remembered."""
        if self._seen:
            self._since_ms = max(self._since_ms, max(self._seen.values()) - OVERLAP_MS)
            self._seen = {key: at for key, at in self._seen.items() if at >= self._since_ms}


def last_lines(client: Any, job: str, *, since_ms: int, count: int) -> list[LogLine]:
    """The last lines of whatever hosts wrote, for a job that has failed; oldest first.

    Raises:
        botocore.exceptions.ClientError, BotoCoreError: CloudWatch cannot be asked.
    """
    prefix = f"{job}/"
    found: list[LogLine] = []
    pages = client.get_paginator("describe_log_streams").paginate(
        logGroupName=LOG_GROUP, logStreamNamePrefix=prefix
    )
    for stream in (stream for page in pages for stream in page["logStreams"]):
        name = stream["logStreamName"]
        told = client.get_log_events(
            logGroupName=LOG_GROUP,
            logStreamName=name,
            startTime=max(0, since_ms),
            limit=count,
            startFromHead=False,
        )
        host = name.removeprefix(prefix).rpartition("-")[0]
        found += [
            LogLine(event["timestamp"], host, event["message"].rstrip("\r\n"))
            for event in told["events"]
            if STATUS_EVENT not in event["message"]
        ]
    found.sort(key=lambda line: line.at_ms)
    return found[-count:]
