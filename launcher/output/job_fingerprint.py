"""The options that decide on the frames of a job, so that two jobs can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from hashlib import sha256
from typing import Any

import msgspec

from framefleet.common.job.image_options import DEFAULT_QUALITY
from framefleet.common.job.sampling import parse_sampling
from framefleet.common.job.selection import parse_seconds
from framefleet.common.job.spec import ImageOptions, SamplingOptions
from framefleet.common.output.shard_fields import PackOptions
from framefleet.launcher.job import JobOptions

_OF_FILES = ("timestamps", "ranges")
_WITH_QUALITY = ("jpg", "webp", "avif")


def frame_options(
    sampling: SamplingOptions,
    files: Mapping[str, bytes],
    image: ImageOptions,
    pack: PackOptions | None = None,
) -> dict[str, str]:
    """The options that decide which frames there are, how they look and in what they lie, in one form for
    each meaning.

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
    given["pack"] = None if pack is None else pack.format
    return {
        f"--{name.replace('_', '-')}": "yes" if value is True else str(value)
        for name, value in given.items()
        if value is not None and value is not False  # not `in`: 0 is a value, and equal to False
    }


def options_of(job: JobOptions) -> dict[str, str]:
    """The same of what the user asks for."""
    return frame_options(job.sampling.options, job.sampling.files, job.image, job.pack)
