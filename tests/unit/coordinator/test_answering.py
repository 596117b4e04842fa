"""A coordinator that reads a long journal answers meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from framefleet.common.protocol import messages as m
from framefleet.common.protocol.transport import CoordinatorLink, HostLink
from framefleet.coordinator import __main__ as coordinator
from tests.helpers.keys import KEYS


def test_hosts_that_connect_anew_are_admitted_and_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "ANSWER_S", 0.01)
    endpoint = "ipc://@framefleet-test-answering"
    with CoordinatorLink(endpoint, keys=KEYS, hosts=1) as link, HostLink(endpoint, keys=KEYS) as host:
        host.send(m.encode(m.Ready(slots=1)))
        heard: list[bytes] = []

        def journal() -> Iterator[dict[str, object]]:
            until = time.monotonic() + 20.0
            while not heard and time.monotonic() < until:
                host.wait(0.01)
                host.flush()
                heard.extend(host.receive())
                yield {}

        for _ in coordinator.answering(link, journal()):
            pass
    assert [m.decode_from_coordinator(data) for data in heard] == [m.ReHello()]
