from __future__ import annotations

import socket
from unittest import mock

import pytest

from framefleet.common.errors import UserError
from framefleet.common.protocol.resolve_host import resolve


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


def test_of_several_addresses_one_that_answers_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        found = [(10, 1, 6, "", ("::1", port, 0, 0)), (2, 1, 6, "", ("127.0.0.1", port))]
        real = socket.getaddrinfo
        answer = lambda name, *rest: found if name == "algo-1" else real(name, *rest)  # noqa: E731
        with mock.patch.object(socket, "getaddrinfo", answer):
            endpoint = resolve(f"tcp://algo-1:{port}", budget_s=60, should_stop=lambda: False)
    assert endpoint == f"tcp://127.0.0.1:{port}"


@pytest.mark.parametrize(
    ("given", "found"),
    [("tcp://[::1]:5757", "tcp://[::1]:5757"), ("tcp://127.0.0.1:1", "tcp://127.0.0.1:1")],
)
def test_addresses_stay_what_they_are(given: str, found: str) -> None:
    assert resolve(given, budget_s=1, should_stop=lambda: False) == found


def test_a_wait_for_a_name_is_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="framefleet")

    def getaddrinfo(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    slept: list[float] = []
    with pytest.raises(UserError):
        resolve(
            "tcp://algo-1:5757", budget_s=100, should_stop=lambda: False,
            clock=lambda: sum(slept), sleep=slept.append,
        )  # fmt: skip
    told = caplog.messages
    assert 3 <= len(told) <= 5
    assert all("waiting for the primary host 'algo-1': it does not resolve" in line for line in told)


@pytest.mark.parametrize("endpoint", ["algo-1:5757", "tcp://algo-1", "http://algo-1:1", "tcp://fd77::1:5757"])
def test_an_endpoint_of_another_form_is_refused(endpoint: str) -> None:
    with pytest.raises(UserError, match=r"tcp://host:port"):
        resolve(endpoint, budget_s=1, should_stop=lambda: False)
