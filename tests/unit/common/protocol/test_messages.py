"""The wire format: what is accepted, and that nothing else ever is, by any other exception."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framefleet.common.media import Fingerprint, Timing
from framefleet.common.protocol import messages as m
from framefleet.coordinator.simulation.hosts import LIBRARIES

LEASE = m.Lease(3, 1)
FROM_HOST: list[m.FromHost] = [
    m.Hello(version=1, host="a", incarnation="x", slots=2, running=[LEASE], libraries=LIBRARIES),
    m.Ready(slots=0),
    m.Progress(units=[m.UnitProgress(3, 1, 10, 9, 0.5)]),
    m.Probed(lease=LEASE, found=[], refused=[(0, "not a video")], seconds=0.1, timing=Timing(3, 8.5)),
    m.Done(
        lease=LEASE,
        stop=7,
        frames=1,
        suspect=0,
        bytes=2,
        decoded=3,
        errors=0,
        saw_end=True,
        seconds=1.0,
        notes=["x"],
        timing=Timing(1, 12.5, 0.1, 0.2, 0.3, 0.1, 0.2, 0.1),
    ),
    m.Shrunk(lease=LEASE, stop=None),
    m.Failed(lease=LEASE, kind="crash", text="killed by SIGSEGV"),
    m.Committed(leases=[LEASE]),
    m.Bye(reason=""),
]
FROM_COORDINATOR: list[m.FromCoordinator] = [
    m.Alive(),
    m.Welcome(job_id="j", heartbeat_s=5, lease_s=30),
    m.Refuse(reason="no"),
    m.ReHello(),
    m.Assign(lease=LEASE, task=m.Probe(files=[(0, b"\xff.mp4", 1)])),
    m.Assign(
        lease=LEASE,
        task=m.Extract(
            path=b"a",
            size_bytes=1,
            video="a",
            folder="a",
            start=0,
            stop=None,
            fingerprint=Fingerprint("0a", 1, 1000, -5, 640, 360),
            duration_s=1.5,
        ),
    ),
    m.Shrink(lease=LEASE, stop=4),
    m.Commit(lease=LEASE, first_sample=7),
    m.Discard(lease=LEASE),
    m.End(failed=None),
]


@pytest.mark.parametrize("message", FROM_HOST, ids=lambda message: type(message).__name__)
def test_messages_from_hosts_come_back_as_they_were(message: m.FromHost) -> None:
    assert m.decode_from_host(m.encode(message)) == message


@pytest.mark.parametrize("message", FROM_COORDINATOR, ids=lambda message: type(message).__name__)
def test_messages_from_the_coordinator_come_back_as_they_were(message: m.FromCoordinator) -> None:
    assert m.decode_from_coordinator(m.encode(message)) == message


def test_neither_side_takes_the_messages_of_its_own() -> None:
    with pytest.raises(m.MessageError, match="Commit"):
        m.decode_from_host(m.encode(m.Commit(lease=LEASE, first_sample=0)))
    with pytest.raises(m.MessageError, match="Bye"):
        m.decode_from_coordinator(m.encode(m.Bye(reason="")))


@pytest.mark.parametrize(
    "hostile",
    [
        {"type": "Ready"},
        {"type": "Ready", "slots": "3"},
        {"type": "Ready", "slots": -1},
        {"type": "Ready", "slots": 10**9},
        {"type": "Ready", "slots": 1, "more": 1},
        {"type": "Hello", "version": 1, "host": "", "incarnation": "x", "slots": 1, "running": []},
        {"type": "Failed", "lease": [1, 1], "kind": "boredom", "text": ""},
        {"type": "Failed", "lease": [1, 0], "kind": "error", "text": ""},
        {"type": "Failed", "lease": [1, 1], "kind": "error", "text": "x" * 5000},
        {"type": "Failed", "lease": [1, 1], "kind": "error", "text": "", "timing": [-1]},
        {"type": "Failed", "lease": [1, 1], "kind": "error", "text": "", "timing": [0, float("nan")]},
        {"type": "Committed", "leases": []},
        {"type": "Done"},
        {"type": "Nonsense"},
        {"slots": 1},
        [],
        None,
        7,
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_message_error(hostile: object) -> None:
    with pytest.raises(m.MessageError):
        m.decode_from_host(msgspec.msgpack.encode(hostile))


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x91" * 100_000, b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"0" * (5 * 2**20)],
    ids=["nothing", "reserved", "deep", "huge map", "huge text", "too long"],
)
def test_bytes_that_are_no_messagepack(data: bytes) -> None:
    with pytest.raises(m.MessageError):
        m.decode_from_host(data)


@given(st.sampled_from(FROM_HOST), st.data())
def test_mutated_messages_are_messages_or_message_errors(message: m.FromHost, data: st.DataObject) -> None:
    encoded = bytearray(m.encode(message))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(encoded) - 1))
        encoded[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    for attempt in (bytes(encoded), bytes(encoded[:cut])):
        with contextlib.suppress(m.MessageError):
            m.decode_from_host(attempt)


def test_text_is_made_fit_to_travel() -> None:
    assert m.clip_text("bad \udcff name") == "bad \\udcff name"
    assert len(m.clip_text("x" * 10_000)) == m.MAX_TEXT
