"""The launcher's options on which frames are wanted, and what they make of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:  # everything else is imported where it is needed: --help must be quick
    from framefleet.common.job.spec import SamplingOptions

DEFAULT_FPS = "5"
TIME = "S"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """What a job extracts: the options for its specification, and the files that go beside that."""

    options: SamplingOptions
    files: Mapping[str, bytes] = field(default_factory=dict)


_OPTIONS = [
    click.option(
        "--fps",
        metavar="RATE",
        help=f"Frames per second: a number, a fraction such as 30000/1001, or native for every frame.  "
        f"[default: {DEFAULT_FPS}]",
    ),
    click.option(
        "--every",
        type=click.IntRange(1),
        metavar="N",
        help="Instead of --fps: every N-th frame, the first one included.",
    ),
    click.option("--keyframes", is_flag=True, help="Instead of --fps: the keyframes, decoding nothing else."),
    click.option(
        "--timestamps",
        metavar="FILE",
        help="Instead of --fps: the frames on screen at these times. A number of seconds in each line, for "
        "every video; or a CSV with the columns video,seconds, for the videos that it names and no other.",
    ),
    click.option(
        "--start",
        metavar=TIME,
        help="Nothing before this time of each video: seconds, or h:mm:ss.sss, after its first frame.",
    ),
    click.option("--end", metavar=TIME, help="Nothing at this time of each video or later."),
    click.option(
        "--ranges",
        metavar="FILE",
        help="A CSV with the columns video,start,end: other limits for the videos that it names. "
        "An empty field is no limit.",
    ),
    click.option(
        "--max-frames-per-video",
        type=click.IntRange(1),
        metavar="M",
        help="The first M frames of each video, and no more.",
    ),
]

NAMES = ("fps", "every", "keyframes", "timestamps", "start", "end", "ranges", "max_frames_per_video")


def sampling_options(command: F) -> F:
    """Give a click command the options on sampling; their values arrive under ``NAMES``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def make_sampling(options: Mapping[str, Any]) -> SamplingRequest:
    """Check the values of the options and read the files that they name.

    Raises:
        UserError: two modes were given, or a value, a file or a line of one will not do.
    """
    from framefleet.common.errors import UserError
    from framefleet.common.job.selection import RANGES_FILE, TIMESTAMPS_FILE, base_sampling
    from framefleet.common.job.spec import MAX_COUNT, SamplingOptions
    from framefleet.launcher.options.sampling_files import read_ranges, read_timestamps

    for name in ("every", "max_frames_per_video"):
        if (options[name] or 0) > MAX_COUNT:
            option = name.replace("_", "-")
            raise UserError(f"--{option} {options[name]} is above the limit of {MAX_COUNT}: leave it out")
    other_modes = options["every"] is not None or options["keyframes"] or options["timestamps"] is not None
    made = SamplingOptions(
        fps=DEFAULT_FPS if options["fps"] is None and not other_modes else options["fps"],
        every=options["every"],
        keyframes=bool(options["keyframes"]),
        timestamps=None if options["timestamps"] is None else TIMESTAMPS_FILE,
        start=options["start"],
        end=options["end"],
        ranges=None if options["ranges"] is None else RANGES_FILE,
        max_frames_per_video=options["max_frames_per_video"],
    )
    base_sampling(made)
    files: dict[str, bytes] = {}
    for name, path, read in [
        (TIMESTAMPS_FILE, options["timestamps"], read_timestamps),
        (RANGES_FILE, options["ranges"], read_ranges),
    ]:
        if path is not None:
            files[name] = read(Path(path).expanduser())
    return SamplingRequest(made, files)
