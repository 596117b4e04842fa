"""The messages between host agents and the coordinator: their types, and their form on the wire.

Every message is one MessagePack map with its type under ``type``. ``decode`` accepts nothing else: an
unknown type, a missing or unknown field, a wrong type, or a value out of its bounds is a
``MessageError``, never another exception. Nothing executable ever crosses the wire.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.libraries import Libraries
from framefleet.common.media import (
    Bytes,
    Count,
    Duration,
    Fingerprint,
    Ordinal,
    Position,
    Timing,
    VideoInfo,
    Word,
)

PROTOCOL_VERSION = 6
MAX_MESSAGE_BYTES = 4 * 2**20
MAX_TEXT = 4096  # characters of a reason that travel; the rest stays in the host's log
MAX_SLOTS = 4096
MAX_PROBE_BATCH = 64
MAX_RUNNING = 65536  # attempts in a Hello

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_TEXT)]
PathBytes = Annotated[bytes, msgspec.Meta(min_length=1, max_length=8192)]
LongName = Annotated[str, msgspec.Meta(min_length=1, max_length=32768)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]

# Why an attempt failed. "input": the file cannot be read as a video, here or anywhere; "read": the system
# refused to read it, which is this host's failure; "absent": it is not there any more; "error": an exception;
# "crash": the slot process died; "output": the host could not write; "list": the file is larger here than the
# list tells, so it is the coordinator's copy that lacks its end; "contradiction": the video is not what its
# probe told, but ``Failed.found``; "changed": the file is not as it was when this host opened it first.
FailedKind = Literal[
    "input", "read", "absent", "error", "crash", "output", "list", "contradiction", "changed"
]


class MessageError(Exception):
    """Bytes that are not a message of this protocol."""


class Message(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=True, tag_field="type"
):
    """Base of all messages."""


class Lease(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A unit and the number of one leasing of it: what fences late answers."""

    unit: Count
    attempt: Ordinal


class Probe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="probe"):
    """Find out what these files are: (video index, path relative to the input root, bytes).

    A file of another size than the list tells is refused: this host's copy of it is not the same.
    """

    files: Annotated[
        list[tuple[Count, PathBytes, Bytes]], msgspec.Meta(min_length=1, max_length=MAX_PROBE_BATCH)
    ]


class Extract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="extract"):
    """Write the samples at positions ``[start, stop)`` of a video; ``stop`` None means to its end.

    ``size_bytes``: as in the list; a copy of another size is not read. ``fingerprint``: as the probe told; of
    a file that has another one nothing is written.

    ``rank``: how many displayed frames the limits admit before ``start`` (every N-th frame; a guess, which
    the answer's ``shown`` puts right). ``limit``: more frames than these are not wanted of this unit.
    """

    path: PathBytes
    size_bytes: Bytes
    video: LongName
    folder: LongName
    start: Position
    stop: Position | None
    fingerprint: Fingerprint
    duration_s: Duration
    rank: Position = 0
    limit: Ordinal | None = None


# ---- from a host ------------------------------------------------------------------------------------


class Hello(Message, frozen=True):
    """A host introduces itself, or does so again after ``ReHello``, with what it still runs or holds.

    ``libraries``: those that its slots have loaded. A host of an older version tells none, and is to be
    refused for its version, not as one whose messages cannot be read.
    """

    version: Count
    host: Name
    incarnation: Name
    slots: Annotated[int, msgspec.Meta(ge=1, le=MAX_SLOTS)]
    running: Annotated[list[Lease], msgspec.Meta(max_length=MAX_RUNNING)]
    libraries: Libraries | None = None


class Ready(Message, frozen=True):
    """How many slots of this host can work now, busy or not (fewer while one is being restarted)."""

    slots: Annotated[int, msgspec.Meta(ge=0, le=MAX_SLOTS)]


class UnitProgress(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How far a running attempt is: every sample below ``done_to`` is staged."""

    unit: Count
    attempt: Ordinal
    done_to: Position
    frames: Count
    busy_s: Seconds


class Progress(Message, frozen=True):
    """The heartbeat: it renews the leases of all that the host holds, and tells how far each unit is."""

    units: Annotated[list[UnitProgress], msgspec.Meta(max_length=MAX_SLOTS)]


class Probed(Message, frozen=True):
    """Answer to ``Probe``: for each file what it is, or why it is no video."""

    lease: Lease
    found: Annotated[list[tuple[Count, VideoInfo]], msgspec.Meta(max_length=MAX_PROBE_BATCH)]
    refused: Annotated[list[tuple[Count, Text]], msgspec.Meta(max_length=MAX_PROBE_BATCH)]
    seconds: Seconds
    timing: Timing | None = None


class Done(Message, frozen=True):
    """Answer to ``Extract``: the frames are staged and wait for ``Commit``.

    ``shown`` counts the displayed frames of the range, written or not, and ``dropped`` those of ``frames``
    that are rows without an image. ``stop`` is where the range ended after all ``Shrink`` that the attempt
    heeded, whether or not ``Shrunk`` arrived; None: at the video's end.
    """

    lease: Lease
    stop: Position | None
    frames: Count
    suspect: Count
    bytes: Bytes
    decoded: Count
    errors: Count
    saw_end: bool
    seconds: Seconds
    notes: Annotated[list[Text], msgspec.Meta(max_length=16)]
    shown: Count = 0
    timing: Timing | None = None
    dropped: Count = 0


class Shrunk(Message, frozen=True):
    """Answer to ``Shrink``: the attempt will end at position ``stop`` (None: at the video's end).

    It may lie behind the one asked for, and is where the attempt was to end anyway if it is beyond that.
    """

    lease: Lease
    stop: Position | None


class Failed(Message, frozen=True):
    """An attempt gave nothing; its staged files are gone. ``seconds`` is the time it took of its slot.

    ``found``: the video's fingerprint on this host, if it contradicts that of ``Extract``.
    """

    lease: Lease
    kind: FailedKind
    text: Text
    seconds: Seconds = 0.0
    timing: Timing | None = None
    found: Fingerprint | None = None


class Trimmed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What is left of an attempt of which ``Commit`` kept a part."""

    lease: Lease
    suspect: Count
    bytes: Bytes
    dropped: Count = 0


class Committed(Message, frozen=True):
    """These attempts are on the host's disk for good: files in place, manifest rows written.

    ``trimmed`` corrects ``Done`` for those of them that were kept in part.
    """

    leases: Annotated[list[Lease], msgspec.Meta(min_length=1, max_length=65536)]
    trimmed: Annotated[list[Trimmed], msgspec.Meta(max_length=65536)] = []


class Discarded(Message, frozen=True):
    """Answer to ``Discard``: the host has heard it."""

    lease: Lease


class Bye(Message, frozen=True):
    """The host leaves; whatever it still holds will not be finished."""

    reason: Text


# ---- from the coordinator ---------------------------------------------------------------------------


class Welcome(Message, frozen=True):
    """The host is part of the job."""

    job_id: Word
    heartbeat_s: Seconds
    lease_s: Seconds


class Refuse(Message, frozen=True):
    """The host cannot take part (another protocol version, other libraries); it ends with this reason."""

    reason: Text


class ReHello(Message, frozen=True):
    """The coordinator does not know the sender: introduce yourself again."""


class Alive(Message, frozen=True):
    """The coordinator's heartbeat: a host that hears nothing for its budget gives up."""


class Assign(Message, frozen=True):
    """Do this task under this lease."""

    lease: Lease
    task: Probe | Extract


class Shrink(Message, frozen=True):
    """End this attempt at position ``stop``, or as soon behind it as may be.

    The answer is ``Shrunk``, or ``Done`` if it is complete.
    """

    lease: Lease
    stop: Position


class Commit(Message, frozen=True):
    """Publish the staged attempt, or the first ``keep`` of its frames and drop the rest.

    ``first_sample`` is the first frame's sample number where frames are numbered in their order, else 0.
    """

    lease: Lease
    first_sample: Position
    keep: Count | None = None


class Discard(Message, frozen=True):
    """Drop all there is of an attempt: running, staged, or already published."""

    lease: Lease


class End(Message, frozen=True):
    """The job is over; flush, say ``Bye`` and leave. ``failed`` tells why, if it did not succeed."""

    failed: Text | None


FromHost = Hello | Ready | Progress | Probed | Done | Shrunk | Failed | Committed | Discarded | Bye
FromCoordinator = Alive | Welcome | Refuse | ReHello | Assign | Shrink | Commit | Discard | End

T = TypeVar("T")

_encoder = msgspec.msgpack.Encoder()
_from_host: msgspec.msgpack.Decoder[FromHost] = msgspec.msgpack.Decoder(FromHost)
_from_coordinator: msgspec.msgpack.Decoder[FromCoordinator] = msgspec.msgpack.Decoder(FromCoordinator)


def encode(message: Message) -> bytes:
    """The message as MessagePack."""
    return _encoder.encode(message)


def decode_from_host(data: bytes) -> FromHost:
    """Bytes from a host as a message, or ``MessageError``."""
    return _decode(_from_host, data)


def decode_from_coordinator(data: bytes) -> FromCoordinator:
    """Bytes from the coordinator as a message, or ``MessageError``."""
    return _decode(_from_coordinator, data)


def _decode(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    if len(data) > MAX_MESSAGE_BYTES:
        raise MessageError(f"{len(data)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    try:
        return decoder.decode(data)
    except NOT_DECODED as error:
        raise MessageError(str(error)) from error


def clip_text(text: str) -> str:
    """``text`` as it may travel: at most ``MAX_TEXT`` characters, storable as UTF-8."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
