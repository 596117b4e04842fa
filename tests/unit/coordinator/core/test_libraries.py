"""Which libraries make the frames: hosts with others are refused, and so is going on with others' frames."""

from __future__ import annotations

import av
import cv2
import msgspec
import pytest

from framefleet.common.job.completed import DoneRange, DoneVideo
from framefleet.common.libraries import Libraries, otherwise_made
from framefleet.common.protocol import messages as m
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.events import Conclude, Quit, Received, Record
from framefleet.coordinator.simulation.hosts import LIBRARIES
from framefleet.coordinator.status.summaries import summary
from framefleet.worker.loaded_libraries import libraries
from tests.helpers.core_bench import Bench, assigned, hello_of
from tests.unit.coordinator.core.test_replay import restart

OTHERS = msgspec.structs.replace(LIBRARIES, pyav="2.0", libavcodec="7.0")
WHERE = "it has PyAV 2.0, libavcodec 7.0, and the primary host a has PyAV 1.0, libavcodec 1.0"


def hello(host: str, found: Libraries | None = LIBRARIES, *, version: int = m.PROTOCOL_VERSION) -> m.Hello:
    return hello_of(host, incarnation=f"{host}-1", libraries=found, version=version)


def refusals(said: list[tuple[bytes, m.Message]]) -> list[tuple[bytes, str]]:
    return [(peer, message.reason) for peer, message in said if isinstance(message, m.Refuse)]


def test_this_process_tells_what_it_has_loaded() -> None:
    found = libraries()
    assert found.pyav == av.__version__
    assert found.libavcodec == ".".join(map(str, av.library_versions["libavcodec"]))
    assert found.opencv == cv2.__version__
    assert all(getattr(found, name) for name in Libraries.__struct_fields__), found
    assert "/" not in str(found), "no folder of the machine that built it"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(found), type=Libraries) == found


def test_a_host_with_other_libraries_is_refused_and_the_job_goes_on() -> None:
    bench = Bench(hosts=("a", "b"))
    bench.hello("a")
    ((peer, reason),) = refusals(bench.say("b", hello("b", OTHERS)))
    assert peer == b"b"
    assert WHERE in reason
    assert "one image" in reason, "what the user can do"
    assert refusals(bench.say("b", hello("b", OTHERS))), "told twice"
    assert [WHERE in note for note in bench.core.notes] == [True], "and noted once"
    restart(bench)
    assert refusals(bench.say("b", hello("b", OTHERS))), "by the coordinator that was started again, too"
    bench.hello("a")
    bench.probe_all("a", 2.0)
    while bench.running("a"):
        bench.finish("a", bench.running("a")[0])
    bench.say("a", m.Bye(reason=""))
    assert Quit() in bench.others, "who was refused is not waited for"
    account = summary(bench.core, bench.now, "completed", "")
    assert account.libraries == LIBRARIES
    assert any(WHERE in note for note in account.notes)


def test_who_comes_before_the_primary_waits_for_it() -> None:
    bench = Bench(videos=9, hosts=("a", "b", "c"))
    assert bench.say("b", hello("b", OTHERS)) == []
    assert bench.say("c", hello("c")) == []
    said = bench.say("a", hello("a"))
    assert {peer: type(message) for peer, message in said} == {
        b"a": m.Welcome, b"b": m.Refuse, b"c": m.Welcome,
    }  # fmt: skip
    assert bench.core.members.libraries == LIBRARIES, "the primary's, whoever was first"
    assert assigned(bench.say("c", m.Ready(slots=1)))


def test_a_host_that_comes_again_with_the_right_ones_takes_part() -> None:
    bench = Bench(hosts=("a", "b"))
    bench.hello("a")
    bench.say("b", hello("b", OTHERS))
    assert bench.core.members.roster.expected() == {"a"}
    restart(bench)
    assert bench.core.members.roster.expected() == {"a"}
    bench.hello("a")
    bench.hello("b", incarnation="2")
    assert bench.core.members.roster.expected() == {"a", "b"}
    restart(bench)


@pytest.mark.parametrize(
    ("found", "version", "word"),
    [(None, m.PROTOCOL_VERSION - 1, "protocol version"), (None, m.PROTOCOL_VERSION, "does not tell")],
)
def test_a_host_of_an_older_version_is_refused(found: None, version: int, word: str) -> None:
    bench = Bench(hosts=("a", "b"))
    ((_, reason),) = refusals(bench.say("b", hello("b", found, version=version)))
    assert word in reason
    assert "one image" in reason


def test_nobody_makes_a_host_unfit_that_takes_part() -> None:
    bench = Bench(hosts=("a", "b"))
    bench.hello("a")
    bench.hello("b")
    assert refusals(bench.tell(Received(peer=b"other", message=hello("b", OTHERS))))
    assert bench.core.members.roster.expected() == {"a", "b"}
    assert bench.core.notes == []


@pytest.mark.parametrize("dies", [False, True])
def test_a_job_is_not_gone_on_with_by_other_libraries(dies: bool) -> None:
    """It ends before anything is handed out, and tells both."""
    bench = Bench(hosts=("a", "b"))
    video = DoneVideo("0.mp4", False, [DoneRange(0, 5, 5, 25)], 5, 0, 100)
    before = bench.core
    bench.core = Core(
        before.spec,
        selection=before.pool.selection,
        videos=[video.listed for video in before.pool.videos],
        problems=[],
        expected=["a", "b"],
        now=bench.now,
        done={"0.mp4": video},
        made_with=OTHERS,
    )
    if dies:  # between knowing the libraries and ending
        bench.core.members.libraries = LIBRARIES
    said = bench.say("a", hello("a"))
    (end,) = [message for _, message in said if isinstance(message, m.End)]
    wanted = otherwise_made(OTHERS, LIBRARIES)
    assert "made with PyAV 2.0, libavcodec 7.0, and now it would be PyAV 1.0, libavcodec 1.0" in wanted
    assert "another --output" in wanted
    assert end.failed == f"--resume: {wanted}"
    assert Conclude(outcome="failed", reason=end.failed) in bench.others
    assert not any(
        isinstance(action, Record) and action.entry["event"] == "leased" for action in bench.others
    )
    assert [type(message) for _, message in bench.say("b", hello("b"))] == [m.Welcome, m.End]


def test_a_job_is_gone_on_with_by_the_same_libraries() -> None:
    bench = Bench(hosts=("a",))
    bench.core.made_with = LIBRARIES
    assert assigned(bench.hello("a"))
    assert otherwise_made(None, LIBRARIES) == otherwise_made(LIBRARIES, None) == ""
