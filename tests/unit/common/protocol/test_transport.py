"""The two ends of the wire on real sockets, and the resolving of names."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest
import zmq

from framefleet.common.errors import UserError
from framefleet.common.protocol.keys import JobKeys
from framefleet.common.protocol.resolve_host import tcp_endpoint
from framefleet.common.protocol.transport import SPARE_PEERS, CoordinatorLink, HostLink, _hang_up
from tests.helpers.keys import KEYS, OTHER_KEYS, stranger_keys

T = TypeVar("T")


def wait_for(
    link: CoordinatorLink | HostLink,
    receive: Callable[[], list[T]],
    *,
    meanwhile: CoordinatorLink | HostLink | None = None,
) -> list[T]:
    for _ in range(2000):
        link.wait(0.005)
        if meanwhile is not None:
            meanwhile.wait(0)
        found = receive()
        if found:
            return found
    raise AssertionError("nothing came")


def connect(coordinator: CoordinatorLink, *hosts: HostLink) -> list[bytes]:
    """Let hosts say something, and return their routing ids."""
    peers = []
    for host in hosts:
        host.send(b"here")
        for _ in range(2000):
            coordinator.wait(0.005)
            host.wait(0)
            if host.flush():
                break
        ((peer, data),) = wait_for(coordinator, lambda: list(coordinator.receive()))
        assert data == b"here"
        peers.append(peer)
    return peers


@contextlib.contextmanager
def stranger(endpoint: str, keys: JobKeys | None, identity: bytes = b"") -> Iterator[zmq.Socket[bytes]]:
    """A socket that is no ``HostLink``."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        if identity:
            dealer.setsockopt(zmq.IDENTITY, identity)
        if keys is not None:
            dealer.setsockopt(zmq.CURVE_SERVERKEY, keys.server_public.encode())
            dealer.setsockopt(zmq.CURVE_PUBLICKEY, keys.client_public.encode())
            dealer.setsockopt(zmq.CURVE_SECRETKEY, keys.client_secret.encode())
        dealer.connect(endpoint)
        yield dealer


@pytest.fixture
def endpoint(tmp_path: Path) -> str:
    return f"ipc://{tmp_path}/socket"


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


def test_messages_go_both_ways_and_wake_the_other_side(endpoint: str) -> None:
    with CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator, HostLink(endpoint, keys=KEYS) as host:
        (peer,) = connect(coordinator, host)
        assert coordinator.send(peer, b"welcome", b"to work")
        assert wait_for(host, lambda: list(host.receive())) == [b"welcome", b"to work"]


def test_a_host_may_be_there_before_the_coordinator(endpoint: str) -> None:
    with HostLink(endpoint, keys=KEYS) as host:
        host.send(b"one")
        host.send(b"two")
        assert not host.flush()
        host.forget()
        with CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator:
            connect(coordinator, host)


def test_a_coordinator_started_again_with_the_same_keys_has_its_hosts_back(port: int) -> None:
    endpoint = f"tcp://127.0.0.1:{port}"
    with HostLink(endpoint, keys=KEYS) as host:
        for _ in range(3):
            with CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator:
                for _ in range(500):
                    host.wait(0.01)
                    host.send(b"here")  # the first ones may go to a connection whose end it has not seen yet
                    coordinator.wait(0.01)
                    if list(coordinator.receive()):
                        break
                else:
                    raise AssertionError("it did not come back")


def test_a_coordinator_ends_with_handshakes_half_done(endpoint: str) -> None:
    with CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator, HostLink(endpoint, keys=KEYS):
        assert coordinator._zap.poll(10_000)  # the question about the host's key, which nobody answers


@pytest.mark.parametrize(
    "keys", [None, OTHER_KEYS, stranger_keys()], ids=["no keys", "another job's", "unknown client"]
)
def test_whoever_lacks_the_keys_is_not_heard(endpoint: str, keys: JobKeys | None) -> None:
    with CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator, stranger(endpoint, keys) as dealer:
        dealer.send(b"let me in")
        with HostLink(endpoint, keys=KEYS) as host:
            for _ in range(20):
                (peer,) = connect(coordinator, host)
                assert coordinator.send(peer, b"yes")
                assert wait_for(host, lambda: list(host.receive())) == [b"yes"]


def test_a_host_with_another_client_key_is_told_at_once(endpoint: str) -> None:
    with (
        CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator,
        HostLink(endpoint, keys=stranger_keys()) as host,
        pytest.raises(UserError, match=r"refused this host's key; give all hosts .* same job specification"),
    ):
        wait_for(host, list, meanwhile=coordinator)


def test_a_host_with_another_server_key_gives_up_after_some_tries(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framefleet.common.protocol.transport.WRONG_KEYS_S", 0.3)
    endpoint = f"tcp://127.0.0.1:{port}"
    with (
        HostLink(endpoint, keys=OTHER_KEYS) as host,
        CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator,
        pytest.raises(UserError, match=r"closed \d+ connections during the handshake; give all hosts"),
    ):
        wait_for(host, list, meanwhile=coordinator)


def test_a_host_waits_for_a_coordinator_that_is_not_there(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framefleet.common.protocol.transport.WRONG_KEYS_S", 0.0)
    monkeypatch.setattr("framefleet.common.protocol.transport.WRONG_KEYS_TRIES", 1)
    with HostLink(f"tcp://127.0.0.1:{port}", keys=KEYS) as host:
        for _ in range(20):
            host.wait(0.05)


def test_a_host_dials_again_after_an_end_that_libzmq_takes_for_final(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("framefleet.common.protocol.transport.REDIAL_S", 0.05)
    endpoint = f"tcp://127.0.0.1:{port}"
    with HostLink(endpoint, keys=KEYS) as host:
        with zmq.Context() as context, context.socket(zmq.ROUTER) as unprotected:
            unprotected.setsockopt(zmq.LINGER, 0)
            unprotected.bind(endpoint)
            while not host._failures:
                host.wait(0.05)
        with CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator:
            connect(coordinator, host)


def test_keys_that_are_no_pairs_are_refused(endpoint: str) -> None:
    odd = msgspec.structs.replace(KEYS, client_public=OTHER_KEYS.client_public)
    with pytest.raises(UserError, match="no pairs"):
        HostLink(endpoint, keys=odd)


def test_connections_that_say_nothing_are_bounded_and_keep_nobody_out(port: int) -> None:
    silent = SPARE_PEERS + 1
    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(CoordinatorLink(f"tcp://127.0.0.1:{port}", keys=KEYS, hosts=1))
        held = []
        for _ in range(silent + 40):
            held.append(stack.enter_context(socket.create_connection(("127.0.0.1", port))))
            coordinator.wait(0.005)
        ended = [False] * len(held)
        for _ in range(200):
            coordinator.wait(0.005)
            for number, connection in enumerate(held):
                connection.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    ended[number] = ended[number] or connection.recv(100) == b""
            if sum(ended) == 40:
                break
        assert ended == [True] * 40 + [False] * silent, "the oldest ones"
        host = stack.enter_context(HostLink(f"tcp://127.0.0.1:{port}", keys=KEYS))
        connect(coordinator, host)


def test_hanging_up_needs_no_descriptor_and_spares_files(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ours, theirs, (tmp_path / "file").open("wb") as file:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # no new one, whatever is open
        try:
            with pytest.raises(OSError, match="Too many open files"):
                os.dup(ours.fileno())
            _hang_up(ours.fileno())
            _hang_up(file.fileno())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert theirs.recv(1) == b""
        file.write(b"whole")
    assert (tmp_path / "file").read_bytes() == b"whole"


def test_peers_with_the_key_are_bounded_too(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("framefleet.common.protocol.transport.SPARE_PEERS", 0)
    monkeypatch.setattr("framefleet.common.protocol.transport.HANDSHAKE_S", 0.3)
    with contextlib.ExitStack() as stack:
        coordinator = stack.enter_context(CoordinatorLink(endpoint, keys=KEYS, hosts=1))
        leaves = stack.enter_context(contextlib.ExitStack())
        for holder in (leaves, stack):  # one by one: only one may be silent
            connect(coordinator, holder.enter_context(HostLink(endpoint, keys=KEYS)))
        third = stack.enter_context(HostLink(endpoint, keys=KEYS))
        third.send(b"me too")
        for _ in range(40):
            coordinator.wait(0.01)
            third.wait(0)
            assert not third.flush()
        leaves.close()
        for _ in range(1000):  # it is asked to come again
            coordinator.wait(0.02)
            third.wait(0)
            if third.flush():
                break
        assert [data for _, data in wait_for(coordinator, lambda: list(coordinator.receive()))] == [b"me too"]


def test_nobody_takes_the_place_of_a_connection_that_is_there(endpoint: str) -> None:
    with CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator, HostLink(endpoint, keys=KEYS) as host:
        (peer,) = connect(coordinator, host)
        with stranger(endpoint, KEYS, identity=peer) as impostor:
            for _ in range(100):
                impostor.send(b"it is me")
                coordinator.wait(0.005)
                assert all(sender != peer for sender, _ in coordinator.receive())
            assert coordinator.send(peer, b"for the host")
            assert wait_for(host, lambda: list(host.receive())) == [b"for the host"]
            assert not impostor.poll(0)


def test_an_unknown_peer_cannot_be_sent_to_and_nothing_raises(endpoint: str) -> None:
    with CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator:
        assert not coordinator.send(b"nobody", b"x")


def test_a_peer_that_sends_many_frames_or_none_does_no_harm(endpoint: str) -> None:
    with CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator, stranger(endpoint, KEYS) as dealer:
        dealer.send_multipart([b""])
        dealer.send_multipart([b"a", b"b", b"c"])
        dealer.send_multipart([b"a"] * 1000)
        dealer.send_multipart([b"last"])
        found: list[bytes] = []
        while len(found) < 4:
            found += wait_for(coordinator, lambda: [data for _, data in coordinator.receive()])
        assert found == [b"", b"", b"", b"last"]


def test_a_peer_that_goes_while_much_of_it_is_unread_does_no_harm(endpoint: str) -> None:
    """libzmq would abort this process at its next heartbeat."""
    with CoordinatorLink(endpoint, keys=KEYS, hosts=2) as coordinator, HostLink(endpoint, keys=KEYS) as host:
        assert coordinator._socket.getsockopt(zmq.HEARTBEAT_IVL) == 0
        assert host._socket.getsockopt(zmq.HEARTBEAT_IVL) == 0
        connect(coordinator, host)
        with stranger(endpoint, KEYS) as dealer:
            while dealer.poll(200, zmq.POLLOUT):  # until all there is of queues and buffers is full
                dealer.send(bytes(10_000))
                coordinator.wait(0)
        host.send(b"here")
        found: list[bytes] = []
        while b"here" not in found:
            found += wait_for(coordinator, lambda: [data for _, data in coordinator.receive()])
            assert host.flush()


def test_watched_descriptors_wake_the_loop(endpoint: str) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, HostLink(endpoint, keys=KEYS) as host:
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
            CoordinatorLink(address, keys=KEYS, hosts=2)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this system has no IPv6")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_coordinator_is_reached_by_either_kind_of_address(address: str) -> None:
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    with (
        CoordinatorLink(f"tcp://*:{port}", keys=KEYS, hosts=2) as link,
        HostLink(tcp_endpoint(address, port), keys=KEYS) as host,
    ):
        connect(link, host)
