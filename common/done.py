"""What an earlier run of a job has done already: what the launcher tells the hosts of a resumed one."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

DONE_FILE = "done.msgpack"  # beside the job specification


class DoneRange(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Positions ``[start, stop)`` of a video (None: to its end) that lie in the output, and how many frames
    were written and displayed there."""

    start: int
    stop: int | None
    frames: int
    shown: int


class DoneVideo(msgspec.Struct, frozen=True, array_like=True):
    """What is done of a video: ranges by start, or (``is_whole``) all that is wanted of it."""

    name: str
    is_whole: bool
    ranges: list[DoneRange]
    frames: int
    suspect: int
    bytes: int
    dropped: int = 0


_decoder = msgspec.msgpack.Decoder(list[DoneVideo])


def encode_done(videos: Sequence[DoneVideo]) -> bytes:
    """The file that goes beside the job specification."""
    return msgspec.msgpack.encode(videos)


def decode_done(data: bytes) -> dict[str, DoneVideo]:
    """What such a file says, by video.

    Raises:
        msgspec.DecodeError: it is none.
    """
    return {video.name: video for video in _decoder.decode(data)}
