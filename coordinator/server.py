"""The loop around the core: the only part of the coordinator that polls sockets, clocks and files."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from framefleet.common.files.durable import write_exit_message, write_whole
from framefleet.common.host.layout import Layout
from framefleet.common.log import LOG
from framefleet.common.protocol import messages
from framefleet.common.protocol.transport import CoordinatorLink
from framefleet.common.status import Failure, Outcome, Summary
from framefleet.coordinator.core.core import TICK_S, Core
from framefleet.coordinator.events import (
    Action,
    Conclude,
    Event,
    Garbled,
    Quit,
    Received,
    Record,
    Send,
    Stop,
    Tick,
    Unreachable,
)
from framefleet.coordinator.journal import Journal
from framefleet.coordinator.status.reporter import Telling
from framefleet.coordinator.status.summaries import summary

BEAT_S = 5.0
EXIT_LOST = 1
EXIT_INTERRUPTED = 130


class Server:
    """Drives one core over one socket until it quits.

    Only a spokesman leaves an exit message when all is well: in a sharded job each host has a coordinator.
    """

    def __init__(
        self,
        core: Core,
        link: CoordinatorLink,
        layout: Layout,
        journal: Journal,
        *,
        should_stop: Callable[[], str | None],
        telling: Telling | None = None,
        is_spokesman: bool = True,
    ) -> None:
        self._core = core
        self._link = link
        self._layout = layout
        self._journal: Journal | None = journal
        self._should_stop = should_stop
        self._telling = telling or Telling(core)
        self._is_spokesman = is_spokesman
        self._todo: deque[Action] = deque()
        self._entries: list[dict[str, Any]] = []
        self._outgoing: dict[bytes, list[bytes]] = {}
        self._summary: Summary | None = None
        self._quit = False

    def run(self) -> int:
        """Serve until the job is over; return the process's exit code."""
        tick_at = beat_at = time.monotonic()
        while not self._quit:
            self._link.wait(TICK_S)
            woke_at = time.monotonic()
            for peer, data in self._link.receive():
                self._handle(_event(peer, data))
            now = time.monotonic()
            if now >= tick_at:
                tick_at = now + TICK_S
                reason = self._should_stop()
                if reason is not None:
                    self._handle(Stop(reason=reason))
                self._handle(Tick())
                if self._journal is not None and now >= beat_at:
                    beat_at = now + BEAT_S
                    self._journal.beat()
            self._todo.extend(self._core.schedule(now))
            self._execute()
            self._telling.woke(time.monotonic() - woke_at)
            self._telling.tell(now)
        self._telling.tell(time.monotonic(), last=True)
        return self._exit_code()

    def _handle(self, event: Event) -> None:
        self._todo.extend(self._core.handle(event, time.monotonic()))

    def _execute(self) -> None:
        """Do what the core decided in this wake.

        Its entries reach the journal in one write, and before any message leaves: what a host acts on is on
        record. Messages for one peer leave together, which spares most of what the system takes for each.
        """
        while self._todo or self._entries or self._outgoing:
            while self._todo:
                match self._todo.popleft():
                    case Send(peer=peer, message=message):
                        self._outgoing.setdefault(peer, []).append(messages.encode(message))
                    case Record(entry=entry):
                        self._entries.append(entry)
                    case Conclude(outcome=outcome, reason=reason):
                        self._flush()
                        self._conclude(outcome, reason)
                    case Quit():
                        self._quit = True
            self._flush()

    def _flush(self) -> None:
        entries, outgoing = self._entries, self._outgoing
        self._entries, self._outgoing = [], {}
        if entries:
            self._record(entries)
        for peer, data in outgoing.items():
            if not self._link.send(peer, *data):
                self._handle(Unreachable(peer=peer))

    def _record(self, entries: list[dict[str, Any]]) -> None:
        if self._journal is None:
            return
        try:
            self._journal.append(*entries)
        except OSError as error:
            self._journal = None  # the disk is full or gone: one report, then stop in good order
            reason = f"the coordinator cannot write its journal: {error.strerror}"
            self._handle(Stop(reason=reason))

    def _conclude(self, outcome: Outcome, reason: str) -> None:
        self._summary = summary(self._core, time.monotonic(), outcome, reason)
        job = self._layout.job
        try:
            if self._journal is not None:
                self._journal.sync(time.monotonic())
            write_failures(job / "failures.jsonl", self._core.failures.failures)
            write_whole(
                job / "summary.json",
                msgspec.json.format(msgspec.json.encode(self._summary), indent=2) + b"\n",
            )
        except OSError as error:
            LOG.error("cannot write %s: %s", job, error.strerror)
        if self._is_spokesman or self._exit_code():
            write_exit_message(self._layout.exit_message, exit_message(self._summary))

    def _exit_code(self) -> int:
        if self._summary is None or self._summary.outcome == "interrupted":
            return EXIT_INTERRUPTED
        fatal = self._core.spec.on_error == "fail" and self._summary.failures > 0
        return EXIT_LOST if self._summary.frames_lost or fatal else 0


def _event(peer: bytes, data: bytes) -> Event:
    try:
        return Received(peer=peer, message=messages.decode_from_host(data))
    except messages.MessageError as error:
        return Garbled(peer=peer, reason=str(error))


def exit_message(done: Summary) -> str:
    """A sentence on how the job ended, for the platform's exit message."""
    text = (
        f"framefleet: {done.outcome}; {done.frames} frames of {done.videos_done} videos in "
        f"{done.makespan_s:.0f} s, {done.failures} failures"
    )
    return f"{text}; {done.reason}" if done.reason else text


def write_failures(path: Path, failures: list[Failure]) -> None:
    """One JSON line for each failure; an empty file when there is none."""
    encoder = msgspec.json.Encoder()
    write_whole(path, b"".join(encoder.encode(failure) + b"\n" for failure in failures))
