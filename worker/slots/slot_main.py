"""One slot: a process that does one task at a time, told by its agent over a pipe.

It is a process of its own because decoders crash: a crash then names its unit and costs this process.
The file of the last unit stays open, as the next unit is likely to go on in it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
import time
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait

import av
import msgspec

from framefleet.common import startup
from framefleet.common.host.layout import Layout
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import JobSpec
from framefleet.common.media import Fingerprint, VideoInfo
from framefleet.common.protocol.messages import (
    Assign,
    Extract,
    Failed,
    FailedKind,
    Lease,
    Probe,
    Probed,
    Shrink,
    Shrunk,
    UnitProgress,
    clip_text,
)
from framefleet.worker.extraction.extract import extract
from framefleet.worker.loaded_libraries import libraries
from framefleet.worker.slot_limits import EXIT_OUT_OF_MEMORY, Limits, beat, enter, give_back_memory
from framefleet.worker.slots.slot_messages import (
    Broken,
    Cancel,
    FromSlot,
    Looked,
    Running,
    SlotUp,
    Staged,
    ToSlot,
)
from framefleet.worker.staging import staging_folder
from framefleet.worker.video.file_stamp import CHANGED, ChangedError, Stamp
from framefleet.worker.video.fingerprint import ContradictionError
from framefleet.worker.video.input_file import AbsentError, ReadError
from framefleet.worker.video.open_video import MediaError, OpenVideo, ShortListError
from framefleet.worker.video.probe import probe_video

PROGRESS_S = 0.5


_encoder = msgspec.msgpack.Encoder()
_from_agent: msgspec.msgpack.Decoder[ToSlot] = msgspec.msgpack.Decoder(ToSlot)


class _Opened:
    """A file that is open.

    Attributes:
        stamp: the file's when it was opened.
        verified: what it is, once that was found.
    """

    def __init__(self, path: bytes, video: OpenVideo) -> None:
        self.path = path
        self.video = video
        self.stamp = Stamp.of(video.file.status)
        self.verified: Fingerprint | None = None

    def unverified(self, told: Fingerprint) -> Fingerprint | None:
        """``told``, if it is to be checked.

        Raises:
            ContradictionError: it is known to be wrong.
        """
        if self.verified is None:
            return told
        if self.verified != told:
            raise ContradictionError(told, self.verified)
        return None

    def has_changed(self) -> bool:
        """Whether the file was written to since.

        Raises:
            ReadError: the system does not say.
        """
        return Stamp.of(self.video.file.current_status()) != self.stamp


class Slot:
    """The loop of a slot process."""

    def __init__(self, connection: Connection, layout: Layout, spec: JobSpec) -> None:
        self._connection = connection
        self._layout = layout
        self._image = spec.image
        self._is_packing = spec.pack is not None
        self._selection = Selection.load(spec.sampling, layout.job_spec.parent)
        self._root = os.fsencode(layout.videos.resolve())
        self._open: _Opened | None = None
        self._cancelled: set[Lease] = set()
        self._running_since = self._told_at = 0.0

    def run(self) -> None:
        """Work until the agent closes the pipe."""
        self._send(SlotUp(libraries()))
        with contextlib.suppress(EOFError):
            while True:
                message = _from_agent.decode(self._connection.recv_bytes())
                if isinstance(message, Assign):
                    self._work(message)

    def _work(self, assign: Assign) -> None:
        lease, task = assign.lease, assign.task
        self._running_since = self._told_at = time.monotonic()
        kind: FailedKind
        found: Fingerprint | None = None
        try:
            if isinstance(task, Probe):
                self._probe(lease, task)
            else:
                self._extract(lease, task)
            return
        except MediaError as error:
            kind, text = "input", str(error)
        except ShortListError as error:
            kind, text = "list", str(error)
        except ReadError as error:
            kind, text = "absent" if isinstance(error, AbsentError) else "read", str(error)
        except ContradictionError as error:
            kind, text, found = "contradiction", str(error), error.found
        except ChangedError as error:
            kind, text = "changed", str(error)
        except MemoryError:
            raise  # whatever else may fail for it in this process: a new one takes over
        except av.FFmpegError as error:  # some are OSErrors, but libav writes nothing here
            kind, text = "error", f"{type(error).__name__}: {error}"
        except OSError as error:
            kind, text = "output", f"cannot write frames: {error.strerror or error}"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this unit's, and is reported
            kind, text = "error", f"{type(error).__name__}: {error}"
        stamp, has_changed = self._seen(task)
        if has_changed:  # which may well be the reason
            kind, text, found = "changed", CHANGED, None
        self._close()
        seconds = time.monotonic() - self._running_since
        failed = Failed(lease=lease, kind=kind, text=clip_text(text), seconds=seconds, found=found)
        self._send(Broken(failed, stamp))

    def _seen(self, task: Probe | Extract) -> tuple[Stamp | None, bool]:
        """Of the file of a task that failed: its stamp, and whether it has changed since it was opened."""
        if isinstance(task, Probe):
            return None, False
        opened = self._open
        with contextlib.suppress(OSError, ValueError, ReadError):
            if opened is not None and opened.path == task.path:
                return opened.stamp, opened.has_changed()
            return Stamp.of(os.stat(self._root + b"/" + task.path)), False  # noqa: PTH116 - any bytes
        return None, False

    def _probe(self, lease: Lease, task: Probe) -> None:
        found: list[tuple[int, VideoInfo]] = []
        refused: list[tuple[int, str]] = []
        stamps: list[Stamp] = []
        for index, path, size_bytes in task.files:
            try:
                with OpenVideo(self._root + b"/" + path) as video:
                    check_size(video.size_bytes, size_bytes)
                    info = probe_video(video)
                    opened = _Opened(path, video)
                    if opened.has_changed():
                        raise ChangedError
                    found.append((index, info))
                    stamps.append(opened.stamp)
            except (MediaError, ChangedError) as error:
                refused.append((index, clip_text(str(error))))
            beat()
        give_back_memory()
        seconds = time.monotonic() - self._running_since
        self._send(Looked(Probed(lease=lease, found=found, refused=refused, seconds=seconds), stamps))

    def _extract(self, lease: Lease, task: Extract) -> None:
        folder = staging_folder(self._layout, lease)
        folder.mkdir(parents=True)
        opened = self._opened(task.path)
        video = opened.video
        check_size(video.size_bytes, task.size_bytes)
        open_s = round(time.monotonic() - self._running_since, 4)
        sampling = self._selection.of(task.video)
        assert sampling is not None  # else the coordinator would not know the video
        stop = task.stop

        def checkpoint(done_to: int, frames: int) -> int | None:
            nonlocal stop
            now = time.monotonic()
            if now - self._told_at > PROGRESS_S:
                self._told_at = now
                self._send(
                    Running(
                        UnitProgress(lease.unit, lease.attempt, done_to, frames, now - self._running_since)
                    )
                )
            while self._connection.poll():
                message = _from_agent.decode(self._connection.recv_bytes())
                if isinstance(message, Cancel):
                    self._cancelled.add(message.lease)
                elif isinstance(message, Shrink) and message.lease == lease:
                    asked = max(message.stop, done_to)
                    stop = asked if stop is None else min(stop, asked)
                    self._send(Shrunk(lease=lease, stop=stop))
            if lease in self._cancelled:
                return 0
            return done_to if task.limit is not None and frames >= task.limit else stop

        result = extract(
            video,
            task.fingerprint.first_pts,
            sampling,
            task.start,
            task.stop,
            image=self._image,
            folder=folder,
            checkpoint=checkpoint,
            duration_s=task.duration_s,
            rank=task.rank,
            bundled=self._is_packing,
            told=opened.unverified(task.fingerprint),
        )
        opened.verified = task.fingerprint
        if opened.has_changed():
            raise ChangedError
        seconds = time.monotonic() - self._running_since
        timing = msgspec.structs.replace(result.timing, open_s=open_s)
        result = msgspec.structs.replace(result, seconds=seconds, timing=timing)
        self._send(Staged(lease, stop, result, opened.stamp))

    def _opened(self, path: bytes) -> _Opened:
        if self._open is None or self._open.path != path:
            self._close()
            self._open = _Opened(path, OpenVideo(self._root + b"/" + path))
        return self._open

    def _close(self) -> None:
        if self._open is not None:
            self._open.video.close()
            self._open = None
            give_back_memory()

    def _send(self, message: FromSlot) -> None:
        self._connection.send_bytes(_encoder.encode(message))


def check_size(found_bytes: int, listed_bytes: int) -> None:
    """A copy that lacks its end may open, and give frames up to there, as if the video ended early.

    Raises:
        MediaError: this host's copy is the shorter one.
        ShortListError: the one that was listed is.
    """
    if found_bytes == listed_bytes:
        return
    kind = MediaError if found_bytes < listed_bytes else ShortListError
    raise kind(
        f"has {found_bytes:,} bytes on this host, and {listed_bytes:,} in the list that the primary host "
        "made: one of the copies is not whole, or the file is still being written; run the job again with "
        "--resume when it is"
    )


def run_slot(
    connection: Connection, layout: Layout, spec: JobSpec, limits: Limits, beats: ctypes.c_uint64
) -> None:
    """Entry point of the slot process."""
    startup.set_up()
    enter(limits, beats)
    threading.Thread(target=_die_with_agent, daemon=True).start()
    try:
        Slot(connection, layout, spec).run()
    except MemoryError:
        os._exit(EXIT_OUT_OF_MEMORY)
    except BrokenPipeError:
        return


def _die_with_agent() -> None:
    agent = parent_process()
    assert agent is not None
    wait([agent.sentinel])
    os._exit(1)
