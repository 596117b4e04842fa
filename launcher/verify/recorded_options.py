"""How an output's frames were chosen, named and made, as the metadata of its manifest's parts tell."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import msgspec

from framefleet.common.decoding import NOT_DECODED
from framefleet.common.errors import UserError
from framefleet.common.host.layout import OPTIONS_KEY
from framefleet.common.job.image_options import ImageOptions, check_image_options
from framefleet.common.job.sampling import parse_sampling
from framefleet.common.output.frame_names import DEFAULT_TEMPLATE, FrameNames
from framefleet.common.output.part_file import PartError, read_schema


@dataclass(frozen=True, slots=True)
class FrameOptions:
    """``rate``: frames per second, None without one; ``listed``: whether times were given in a file."""

    rate: Fraction | None
    listed: bool
    image: ImageOptions
    names: FrameNames


def read_frame_options(part: Path) -> FrameOptions | None:
    """The options of a part; None: it is of an older version, which told none.

    Raises:
        PartError: it is damaged, or its options are none.
        OSError: it cannot be read.
    """
    found = (read_schema(part).metadata or {}).get(OPTIONS_KEY.encode())
    if not found:
        return None
    try:
        given: dict[str, str] = msgspec.json.decode(found, type=dict[str, str])
        fields = {name: given.get(f"--{name.replace('_', '-')}") for name in ImageOptions.__struct_fields__}
        image = msgspec.convert(
            {name: True if value == "yes" else value for name, value in fields.items() if value is not None},
            ImageOptions,
            strict=False,
        )
        check_image_options(image)
        fps = given.get("--fps")
        rate = None if fps is None else parse_sampling(fps).rate
        return FrameOptions(
            rate, "--timestamps" in given, image, FrameNames(image.name_template or DEFAULT_TEMPLATE)
        )
    except (UserError, *NOT_DECODED) as error:
        raise PartError(part, f"it does not tell how its images were made: {error}") from error
