"""The coordinator's loop with a real socket and disk, and a host that is a few lines long."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import msgspec
import pytest

from framefleet.common.host.layout import Layout
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import JobSpec, SchedulingOptions
from framefleet.common.protocol import messages as m
from framefleet.common.protocol.transport import CoordinatorLink, HostLink
from framefleet.common.status import Summary, decode_status, nothing_made
from framefleet.coordinator.catalogue import ListedVideo
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.journal import Journal
from framefleet.coordinator.server import EXIT_INTERRUPTED, EXIT_LOST, Server
from framefleet.coordinator.simulation.hosts import LIBRARIES
from tests.helpers.keys import KEYS


class Bench:
    """A server in a thread, and one host's end of the wire."""

    def __init__(self, root: Path, videos: int = 1) -> None:
        self.layout = Layout(root)
        self.endpoint = f"ipc://{root}/socket"
        self.stop: str | None = None
        self.code: int | None = None
        self.videos = [
            ListedVideo.of(
                index=index, path=b"%d.mp4" % index, name=f"{index}.mp4", folder=str(index), size_bytes=9
            )
            for index in range(videos)
        ]
        self.thread = threading.Thread(target=self._serve)
        self.ready = threading.Event()

    def _serve(self) -> None:
        journal_path = self.layout.output / "job" / "journal.jsonl"
        with CoordinatorLink(self.endpoint, keys=KEYS, hosts=1) as link, Journal(journal_path) as journal:
            core = Core(
                JobSpec(job_id="j", status_interval_s=0.05, scheduling=SchedulingOptions(bye_wait_s=1.0)),
                selection=Selection(JobSpec(job_id="j").sampling),
                videos=self.videos,
                problems=[],
                expected=["a"],
                now=time.monotonic(),
            )
            self.ready.set()
            self.code = Server(core, link, self.layout, journal, should_stop=lambda: self.stop).run()

    def __enter__(self) -> HostLink:
        self.thread.start()
        assert self.ready.wait(10)
        self.link = HostLink(self.endpoint, keys=KEYS)
        return self.link

    def __exit__(self, *_: object) -> None:
        self.stop = self.stop or "the test is over"
        self.thread.join(20)
        self.link.close()
        assert not self.thread.is_alive()

    def say(self, message: m.FromHost | bytes) -> None:
        self.link.send(message if isinstance(message, bytes) else m.encode(message))
        for _ in range(100):
            if self.link.flush():
                return
            self.link.wait(0.02)

    def hear(self, kind: type[m.Message]) -> m.Message:
        for _ in range(500):
            for data in self.link.receive():
                message = m.decode_from_coordinator(data)
                if isinstance(message, kind):
                    return message
            self.link.wait(0.02)
        raise AssertionError(f"no {kind.__name__} came")

    def summary(self) -> Summary:
        return msgspec.json.decode((self.layout.output / "job" / "summary.json").read_bytes(), type=Summary)


HELLO = m.Hello(
    version=m.PROTOCOL_VERSION, host="a", incarnation="1", slots=1, running=[], libraries=LIBRARIES
)


def test_garbage_is_answered_and_the_job_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = Bench(tmp_path)
    with bench:
        bench.say(b"\xc1 garbage")
        bench.hear(m.ReHello)
        bench.say(HELLO)
        bench.hear(m.Welcome)
        bench.say(b"")
        bench.say(m.Ready(slots=1))
        for _ in range(2):  # the only host looks twice
            assign = bench.hear(m.Assign)
            assert isinstance(assign, m.Assign)
            bench.say(m.Probed(lease=assign.lease, found=[], refused=[(0, "not a video")], seconds=0.0))
        assert bench.hear(m.End) == m.End(failed=nothing_made(1, 1))
        assert bench.summary().failures == 1, "on disk before the end is told"
        bench.say(m.Bye(reason=""))
    assert bench.code == EXIT_LOST
    assert bench.summary().notes == ["2 messages that are none were ignored"]
    failures = (tmp_path / "processing" / "output" / "job" / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["reason"] for line in failures] == ["not a video"]
    journal = (tmp_path / "processing" / "output" / "job" / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in journal] == [
        "libraries", "host_up", "ready", "leased", "probed", "leased", "probed", "given_up", "end",
        "host_left",
    ]  # fmt: skip
    message = bench.layout.exit_message.read_bytes()
    assert len(message) <= 1024
    assert b"nothing was extracted" in message
    statuses = [decode_status(line) for line in capsys.readouterr().out.splitlines()]
    last = statuses[-1]
    assert last is not None
    assert (last.videos, last.videos_done, last.failures) == (1, 1, 1)
    assert last.outcome == "failed"
    assert (last.job_id, last.version) == ("j", 1)


def test_being_told_to_stop_ends_the_hosts_first(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    with bench:
        bench.say(HELLO)
        bench.hear(m.Welcome)
        bench.stop = "stopped by SIGTERM"
        assert bench.hear(m.End) == m.End(failed="stopped by SIGTERM")
        bench.say(m.Bye(reason=""))
    assert bench.code == EXIT_INTERRUPTED
    assert bench.summary().outcome == "interrupted"


def test_a_journal_that_cannot_be_written_stops_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def append(self: Journal, *entries: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "append", append)
    bench = Bench(tmp_path)
    with bench:
        bench.say(HELLO)
        end = bench.hear(m.End)
        assert isinstance(end, m.End)
        assert end.failed is not None
        assert "No space left on device" in end.failed
        bench.say(m.Bye(reason=""))
    assert bench.code in (EXIT_INTERRUPTED, EXIT_LOST)


class _Link(CoordinatorLink):
    """A host in the place of the socket: it does one unit, and looks at the journal when it hears."""

    def __init__(self, journal: Path) -> None:
        self.journal = journal
        self.heard: list[tuple[list[m.FromCoordinator], list[str]]] = []
        self.answers: list[m.FromHost] = [HELLO, m.Ready(slots=1)]

    def wait(self, timeout_s: float) -> set[int]:
        return set()

    def receive(self) -> list[tuple[bytes, bytes]]:
        said = [(b"a", m.encode(answer)) for answer in self.answers]
        self.answers = []
        return said

    def send(self, peer: bytes, *messages: bytes) -> bool:
        events = [json.loads(line)["event"] for line in self.journal.read_bytes().splitlines()]
        heard = [m.decode_from_coordinator(message) for message in messages]
        self.heard.append((heard, events))
        for message in heard:
            if isinstance(message, m.Assign):
                self.answers.append(
                    m.Probed(lease=message.lease, found=[], refused=[(0, "not a video")], seconds=0.0)
                )
            if isinstance(message, m.End):
                self.answers.append(m.Bye(reason=""))
        return True


def test_what_a_host_is_told_is_on_record_and_comes_at_once(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    path = layout.output / "job" / "journal.jsonl"
    link = _Link(path)
    with Journal(path) as journal:
        spec = JobSpec(job_id="j")
        video = ListedVideo.of(index=0, path=b"v", name="v", folder="v", size_bytes=1)
        core = Core(
            spec,
            selection=Selection(spec.sampling),
            videos=[video],
            problems=[],
            expected=["a"],
            now=time.monotonic(),
        )
        assert Server(core, link, layout, journal, should_stop=lambda: None).run() == EXIT_LOST
    (first, at_first), _, (last, at_last) = link.heard
    assert [type(message) for message in first] == [m.Welcome, m.Assign], "both of one wake, in their order"
    assert at_first == ["libraries", "host_up", "ready", "leased"], "of all that they tell"
    assert last == [m.End(failed=nothing_made(1, 1))]
    assert at_last == [*at_first, "probed", "leased", "probed", "given_up", "end"]
