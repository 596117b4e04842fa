from __future__ import annotations

import pytest

from benchmarks.dispatch_profile import shares


def test_own_times_are_shares_of_parts_and_waiting_is_none() -> None:
    found = shares(
        {
            ("/x/coordinator/core/core.py", 10, "handle"): 1.0,
            ("/x/coordinator/scheduling/pool.py", 3, "take"): 0.5,
            ("~", 0, "<method 'encode' of 'msgspec.msgpack.Encoder' objects>"): 2.0,
            ("~", 0, "<built-in method builtins.len>"): 0.5,
            ("~", 0, "<built-in method builtins.compile>"): 9.0,
            ("/y/zmq/sugar/poll.py", 80, "poll"): 100.0,
            ("/x/common/protocol/transport.py", 1, "wait"): 100.0,
        }
    )
    assert [share.part.split(":")[0] for share in found] == [
        "messages",
        "state of units, hosts and videos",
        "policy",
        "other built-ins and modules",
    ]
    assert sum(share.share for share in found) == pytest.approx(1.0)
    assert found[0].share == pytest.approx(0.5)
