"""What is done travels as it was."""

from __future__ import annotations

import msgspec
import pytest

from framefleet.common.job.completed import Done, DoneRange, DoneVideo, decode_done, encode_done
from framefleet.coordinator.simulation.hosts import LIBRARIES


def test_what_is_done_comes_back() -> None:
    video = DoneVideo("a/Ünï.mp4", False, [DoneRange(0, 5, 5, 25), DoneRange(9, None, 1, 2)], 6, 1, 600)
    done = Done([video], LIBRARIES)
    assert decode_done(encode_done(done)) == done


def test_what_is_no_such_file_is_told() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_done(b"\xc1")
