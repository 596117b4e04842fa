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

from common.layout import Layout
from common.media import VideoInfo
from common.messages import (
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
from common.selection import Selection
from common.spec import JobSpec
from worker.extract import extract
from worker.input_file import ReadError
from worker.limits import EXIT_OUT_OF_MEMORY, Limits, beat, enter, give_back_memory
from worker.media import MediaError, OpenVideo, ShortListError
from worker.pipe import Cancel, FromSlot, Running, SlotUp, Staged, ToSlot, staging_folder
from worker.probe import probe

PROGRESS_S = 0.5


_encoder = msgspec.msgpack.Encoder()
_from_agent: msgspec.msgpack.Decoder[ToSlot] = msgspec.msgpack.Decoder(ToSlot)


class Slot:
    """The loop of a slot process."""

    def __init__(self, connection: Connection, layout: Layout, spec: JobSpec) -> None:
        self._connection = connection
        self._layout = layout
        self._image = spec.image
        self._is_packing = spec.pack is not None
        self._selection = Selection.load(spec.sampling, layout.job_spec.parent)
        self._root = os.fsencode(layout.videos.resolve())
        self._open: tuple[bytes, OpenVideo] | None = None
        self._cancelled: set[Lease] = set()
        self._running_since = self._told_at = 0.0

    def run(self) -> None:
        """Work until the agent closes the pipe."""
        self._send(SlotUp())
        with contextlib.suppress(EOFError):
            while True:
                message = _from_agent.decode(self._connection.recv_bytes())
                if isinstance(message, Assign):
                    self._work(message)

    def _work(self, assign: Assign) -> None:
        lease, task = assign.lease, assign.task
        self._running_since = self._told_at = time.monotonic()
        kind: FailedKind
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
            kind, text = "read", str(error)
        except MemoryError:
            raise  # whatever else may fail for it in this process: a new one takes over
        except av.FFmpegError as error:  # some are OSErrors, but libav writes nothing here
            kind, text = "error", f"{type(error).__name__}: {error}"
        except OSError as error:
            kind, text = "output", f"cannot write frames: {error.strerror or error}"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this unit's, and is reported
            kind, text = "error", f"{type(error).__name__}: {error}"
        self._close()
        self._send(
            Failed(
                lease=lease,
                kind=kind,
                text=clip_text(text),
                seconds=time.monotonic() - self._running_since,
            )
        )

    def _probe(self, lease: Lease, task: Probe) -> None:
        found: list[tuple[int, VideoInfo]] = []
        refused: list[tuple[int, str]] = []
        for index, path, size_bytes in task.files:
            try:
                info = probe(self._root + b"/" + path)
                check_size(info.size_bytes, size_bytes)
                found.append((index, info))
            except MediaError as error:
                refused.append((index, clip_text(str(error))))
            beat()
        give_back_memory()
        seconds = time.monotonic() - self._running_since
        self._send(Probed(lease=lease, found=found, refused=refused, seconds=seconds))

    def _extract(self, lease: Lease, task: Extract) -> None:
        folder = staging_folder(self._layout, lease)
        folder.mkdir(parents=True)
        video = self._video(task.path)
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
            task.first_pts,
            sampling,
            task.start,
            task.stop,
            image=self._image,
            folder=folder,
            checkpoint=checkpoint,
            duration_s=task.duration_s,
            rank=task.rank,
            bundled=self._is_packing,
        )
        seconds = time.monotonic() - self._running_since
        timing = msgspec.structs.replace(result.timing, open_s=open_s)
        self._send(Staged(lease, stop, msgspec.structs.replace(result, seconds=seconds, timing=timing)))

    def _video(self, path: bytes) -> OpenVideo:
        if self._open is None or self._open[0] != path:
            self._close()
            self._open = path, OpenVideo(self._root + b"/" + path)
        return self._open[1]

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
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
