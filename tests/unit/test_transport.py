"""The two ends of the wire on real sockets, and the resolving of names."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import zmq

from common.errors import UserError
from common.transport import CoordinatorLink, HostLink, resolve

T = TypeVar("T")


def wait_for(link: CoordinatorLink | HostLink, receive: Callable[[], list[T]]) -> list[T]:
    for _ in range(200):
        link.wait(0.05)
        found = receive()
        if found:
            return found
    raise AssertionError("nothing came")


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/socket"


def test_messages_go_both_ways_and_wake_the_other_side(endpoint: str) -> None:
    with CoordinatorLink(endpoint) as coordinator, HostLink(endpoint, identity="a/1") as host:
        host.send(b"hello")
        for _ in range(100):
            if host.flush():
                break
            host.wait(0.05)
        assert wait_for(coordinator, lambda: list(coordinator.receive())) == [(b"a/1", b"hello")]
        assert coordinator.send(b"a/1", b"welcome", b"to work")
        assert wait_for(host, lambda: list(host.receive())) == [b"welcome", b"to work"]


def test_a_host_may_be_there_before_the_coordinator(endpoint: str) -> None:
    with HostLink(endpoint, identity="a/1") as host:
        host.send(b"one")
        host.send(b"two")
        assert not host.flush()
        host.forget()
        host.send(b"three")
        with CoordinatorLink(endpoint) as coordinator:
            for _ in range(200):
                if host.flush():
                    break
                host.wait(0.05)
            assert wait_for(coordinator, lambda: list(coordinator.receive())) == [(b"a/1", b"three")]


def test_an_unknown_peer_cannot_be_sent_to_and_nothing_raises(endpoint: str) -> None:
    with CoordinatorLink(endpoint) as coordinator:
        assert not coordinator.send(b"nobody", b"x")


def test_a_peer_that_sends_many_frames_or_none_does_no_harm(endpoint: str) -> None:
    with CoordinatorLink(endpoint) as coordinator:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        stranger = context.socket(zmq.DEALER)
        stranger.connect(endpoint)
        stranger.send_multipart([b""])
        stranger.send_multipart([b"a", b"b", b"c"])
        found: list[bytes] = []
        while len(found) < 2:
            found += wait_for(coordinator, lambda: [data for _, data in coordinator.receive()])
        assert found == [b"", b"abc"]
        stranger.close(0)
        context.term()


def test_watched_descriptors_wake_the_loop(endpoint: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, HostLink(endpoint, identity="a/1") as host:
        host.watch(ours.fileno())
        assert host.wait(0) == set()
        theirs.send(b"x")
        assert host.wait(5) == {ours.fileno()}
        host.unwatch(ours.fileno())
        assert host.wait(0) == set()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UserError, match=address):
            CoordinatorLink(address)


def test_names_are_resolved_with_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def getaddrinfo(name: str, port: int, *_: object) -> list[tuple[object, ...]]:
        tries.append(name)
        if len(tries) < 4:
            raise socket.gaierror(-2, "Name or service not known")
        return [(2, 1, 6, "", ("10.0.0.7", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    waits: list[float] = []
    found = resolve(
        "tcp://algo-1:5757", budget_s=60, should_stop=lambda: False, clock=lambda: 0.0, sleep=waits.append
    )
    assert found == "tcp://10.0.0.7:5757"
    assert waits == [0.1, 0.2, 0.4]


def test_a_name_that_never_resolves_is_an_error_within_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    slept: list[float] = []
    with pytest.raises(UserError, match=r"algo-1.*60 s"):
        resolve(
            "tcp://algo-1:5757",
            budget_s=60,
            should_stop=lambda: False,
            clock=lambda: sum(slept),
            sleep=slept.append,
        )
    assert 50 < sum(slept) <= 60
    assert max(slept) == 5.0


@pytest.mark.parametrize("endpoint", ["algo-1:5757", "tcp://algo-1", "http://algo-1:1"])
def test_an_endpoint_of_another_form_is_refused(endpoint: str) -> None:
    with pytest.raises(UserError, match=r"tcp://host:port"):
        resolve(endpoint, budget_s=1, should_stop=lambda: False)
