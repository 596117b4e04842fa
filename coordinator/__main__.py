"""``python -m framefleet.coordinator``: started by the agent of the primary host, never by hand."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from framefleet.common import startup
from framefleet.common.decoding import NOT_DECODED
from framefleet.common.errors import EXIT_CRASHED, UserError
from framefleet.common.files.durable import write_exit_message
from framefleet.common.host.cluster import Cluster
from framefleet.common.host.detect_cluster import detect_cluster
from framefleet.common.host.layout import Layout
from framefleet.common.host.shared_filesystem import SHARED_VARIABLE
from framefleet.common.job.completed import DONE_FILE, NOTHING_DONE, Done, decode_done
from framefleet.common.job.selection import Selection
from framefleet.common.job.spec import JobSpec, read_spec
from framefleet.common.log import LOG, set_level, set_up_logging
from framefleet.common.output.frame_names import FrameNames
from framefleet.common.protocol import messages
from framefleet.common.protocol.transport import CoordinatorLink
from framefleet.coordinator.catalogue import (
    FILES,
    Listing,
    list_videos,
    read_listing,
    select,
    shard,
    write_listing,
)
from framefleet.coordinator.core.core import Core
from framefleet.coordinator.core.replay import check_first_entry, first_entry, replay
from framefleet.coordinator.journal import Journal, cut_torn_line, elapsed_since, read_clock, read_journal
from framefleet.coordinator.server import EXIT_LOST, Server
from framefleet.coordinator.status.reporter import Telling, open_exporter

ANSWER_S = 1.0
# What the core keeps holds no cycles, and grows to millions of objects: looking through them for cycles as
# often as Python does takes a tenth of the time.
GC_THRESHOLDS = (100_000, 20, 100)


def main() -> int:
    """Serve the job of this host's tree; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m framefleet.coordinator", description=__doc__)
    parser.add_argument("--bind", required=True, help="ZeroMQ endpoint to listen on")
    bind = parser.parse_args().bind
    gc.set_threshold(*GC_THRESHOLDS)
    stop_reason: list[str] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        stop_reason.append(f"stopped by {signal.Signals(number).name}")

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    parent = os.getppid()

    def should_stop() -> str | None:
        if stop_reason:
            return stop_reason[0]
        return "the agent of the primary host has died" if os.getppid() != parent else None

    layout = Layout.from_environment()
    try:
        began, started_at = datetime.now(UTC), time.monotonic()
        spec, (_, cluster) = read_spec(layout.job_spec), detect_cluster(layout, os.environ)
        set_level(spec.log_level)
        layout = layout.of_run(spec.run, cluster.current if spec.is_dealt_out else "")
        selection = Selection.load(spec.sampling, layout.job_spec.parent)
        keys, hosts = spec.link_keys(), 1 if spec.mode == "sharded" else cluster.size
        with CoordinatorLink(bind, keys=keys, hosts=hosts) as link:
            path, files = layout.job / "journal.jsonl", layout.job / FILES
            cut_torn_line(path)
            earlier = read_journal(path)
            first = next(earlier, None)
            # what units and journal refer to is the list of the first start, whatever the folder holds now
            kept = read_listing(files) if first is not None else None
            listing = kept or _list_input(spec, layout, cluster, selection)
            alone = spec.mode == "sharded"
            if alone:
                whole = msgspec.structs.replace(spec.scheduling, cut="never")
                spec = msgspec.structs.replace(spec, scheduling=whole)
            start = first_entry(spec, listing.videos, began.isoformat(timespec="milliseconds"), read_clock())
            elapsed_s = 0.0
            if first is None:
                write_listing(files, listing)
            else:
                check_first_entry(first, start)
                elapsed_s = elapsed_since(first, path)
            done = _read_done(layout.job_spec.with_name(DONE_FILE))
            core = Core(
                spec,
                selection=selection,
                videos=listing.videos,
                problems=listing.problems,
                expected=[cluster.current] if alone else cluster.hosts,
                now=started_at - elapsed_s,
                done={video.name: video for video in done.videos},
                made_with=done.libraries,
                is_account_shared=SHARED_VARIABLE in os.environ,
            )
            del kept, listing, done  # the core forgets what is done of them
            if first is not None:
                replay(core, answering(link, earlier), now=time.monotonic)
                core.restarts += 1
                if core.outcome is None:  # what a run that was stopped told of its end is not true any more
                    for name in ("summary.json", "failures.jsonl"):
                        (layout.job / name).unlink(missing_ok=True)
            with Journal(path, elapsed_s=time.monotonic() - core.started_at) as journal:
                journal.append(start if first is None else {"event": "restarted"})
                telling = Telling(core, host=cluster.current, exporter=open_exporter(spec.metrics))
                server = Server(
                    core,
                    link,
                    layout,
                    journal,
                    should_stop=should_stop,
                    telling=telling,
                    is_spokesman=cluster.is_primary,
                )
                return server.run()
    except (UserError, OSError) as error:
        LOG.error("%s", error)
        write_exit_message(layout.exit_message, f"framefleet: {error}")
        return EXIT_LOST
    except Exception:  # noqa: BLE001 - a bug, told as such; the agent starts this again, from the journal
        traceback.print_exc()
        return EXIT_CRASHED


def _list_input(spec: JobSpec, layout: Layout, cluster: Cluster, selection: Selection) -> Listing:
    """What this coordinator's job is to extract: all of the input, or this host's share of it."""
    # a platform that deals out fewer videos than hosts may make no folder where there are none
    listed = list_videos(layout.videos, may_be_missing=spec.is_dealt_out)
    listing = select(listed, selection)
    if spec.image.name_template is not None:
        names = FrameNames(spec.image.name_template)
        names.check_folders([video.folder for video in listing.videos], spec.image.suffix)
    if spec.is_dealt_out:  # that others have what is not here is for the launcher to check
        return Listing(listing.videos, listed.problems)
    if spec.mode == "sharded":
        problems = listing.problems if cluster.is_primary else []
        return Listing(shard(listing.videos, cluster.rank, cluster.size), problems)
    return listing


def _read_done(path: Path) -> Done:
    """What an earlier run has done, if this one goes on with its job."""
    try:
        return decode_done(path.read_bytes()) if path.exists() else NOTHING_DONE
    except (OSError, *NOT_DECODED) as error:
        raise UserError(f"cannot read {path}, a part of the job ({error}): start the job again") from error


def answering(link: CoordinatorLink, entries: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The entries; a million take a minute, in which hosts must not take this process for dead."""
    asked_at = time.monotonic()
    for entry in entries:
        if time.monotonic() - asked_at > ANSWER_S:
            link.wait(0)  # hosts connect anew, and are admitted by it
            for peer, _ in link.receive():
                link.send(peer, messages.encode(messages.ReHello()))
            asked_at = time.monotonic()
        yield entry


if __name__ == "__main__":
    startup.set_up()
    set_up_logging()
    sys.exit(main())
