"""What an earlier run of a job has done already: what the launcher tells the hosts of a resumed one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from common.errors import UserError
from common.imaging import DEFAULT_QUALITY
from common.sampling import parse_sampling
from common.selection import parse_seconds
from common.spec import ImageOptions, SamplingOptions

DONE_FILE = "done.msgpack"  # beside the job specification

_OF_FILES = ("timestamps", "ranges")
_WITH_QUALITY = ("jpg", "webp", "avif")


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


_decoder = msgspec.msgpack.Decoder(list[DoneVideo])


def encode_done(videos: Sequence[DoneVideo]) -> bytes:
    """The file that goes beside the job specification."""
    return msgspec.msgpack.encode(videos)


def read_done(folder: Path) -> dict[str, DoneVideo]:
    """What is done, by video; nothing if the job is not a resumed one.

    Raises:
        UserError: the file cannot be read.
    """
    path = folder / DONE_FILE
    try:
        return {video.name: video for video in _decoder.decode(path.read_bytes())}
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"cannot read {path}, a part of the job ({error}): start the job again") from error


def frame_options(
    sampling: SamplingOptions, files: Mapping[str, bytes], image: ImageOptions
) -> dict[str, str]:
    """The options that decide which frames there are and how they look, in one form for each meaning.

    Those that have their default are left out. ``files``: those that ``sampling`` names.
    """
    given: dict[str, Any] = {
        **msgspec.structs.asdict(sampling),
        **{
            name: value
            for name, value in msgspec.structs.asdict(image).items()
            if name == "format" or value != getattr(ImageOptions(), name)
        },
    }
    if sampling.fps is not None:
        rate = parse_sampling(sampling.fps).rate
        given["fps"] = "native" if rate is None else rate
    for name in ("start", "end"):
        text = given[name]
        given[name] = None if text is None else parse_seconds(text)
    if given["start"] == Fraction(0):
        given["start"] = None
    for name in _OF_FILES:
        if given[name] is not None:
            given[name] = f"a file with SHA-256 {sha256(files[given[name]]).hexdigest()[:12]}"
    if image.format in _WITH_QUALITY:
        given["quality"] = image.quality or DEFAULT_QUALITY
    return {
        f"--{name.replace('_', '-')}": "yes" if value is True else str(value)
        for name, value in given.items()
        if value not in (None, False)
    }
