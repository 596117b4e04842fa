"""Names of frames' files by a template: ``{video}/img_{n:05d}.{ext}``.

A template begins with ``{video}/``, the folder of the video, which no other video has, and tells its frames
apart by ``{k}`` or ``{n}``. So no two frames have one name, and none leaves its video's folder.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from string import Formatter
from typing import TYPE_CHECKING, Final, NamedTuple

from framefleet.common.errors import UserError
from framefleet.common.output.video_names import MAX_COMPONENT_BYTES, safe_component

if TYPE_CHECKING:
    from framefleet.common.job.image_options import ImageOptions

PRESETS: Final = {
    "ffmpeg": "{video}/{n:08d}.{ext}",  # its %d counts what it writes from 1
    "epic-kitchens": "{video}/frame_{n:010d}.{ext}",
    "mmaction2": "{video}/img_{n:05d}.{ext}",
    "youtube-vis": "{video}/{k:05d}.{ext}",
}
MEANINGS: Final = {
    "video": "the video's folder, first of all",
    "stem": "its last part",
    "k": "the sample, from 0",
    "n": "the same from 1",
    "pts": "ticks of the file's clock",
    "ms": "milliseconds of it",
    "ext": "jpg, png, webp or avif, last of all",
}
FIRST: Final = "{video}/"
DEFAULT_TEMPLATE: Final = "{video}/{k:08d}.{ext}"
TEXTS: Final = ("video", "stem", "ext")
MAX_TEMPLATE: Final = 200
MAX_DIGITS: Final = 20  # of 64 bits with a sign
_WIDTH: Final = re.compile(r"(0[1-9]\d?)?d?")


class _Piece(NamedTuple):
    """Text before a field, and the field."""

    text: str
    field: str
    width: str


# what a host names so below the output is no one else's
FRAME = re.compile(r"frames/.+/\d{8,}\.(?:jpg|png|webp|avif)")
SHARD = re.compile(r"shards/[^/]+-\d{6,}\.(?:tar|parquet|images)")


def frame_pattern(image: ImageOptions) -> re.Pattern[str]:
    """What paths of a job's frames look like below the output, whatever the video."""
    if image.name_template is None:
        return FRAME
    return FrameNames(image.name_template).paths(image.suffix)


class FrameNames:
    """Names by one template.

    Raises:
        UserError: it will not do.
    """

    def __init__(self, template: str) -> None:
        self.template = PRESETS.get(template, template)
        self._pieces = _parse(self.template)

    def name(self, folder: str, *, sample: int, pts: int, time_s: float, suffix: str) -> str:
        """The path of a frame below ``frames/``."""
        return FIRST.format(video=folder) + self.template.removeprefix(FIRST).format(
            stem=folder.rpartition("/")[2],
            k=sample,
            n=sample + 1,
            pts=pts,
            ms=round(time_s * 1000),
            ext=suffix,
        )

    def check_folders(self, folders: Iterable[str], suffix: str) -> None:
        """See that these videos' frames have names that a disk can hold, and that none is another's folder.

        Raises:
            UserError: that is not so.
        """
        known = set(folders)
        for folder in sorted(known):
            longest, stem = self.most_bytes(folder, suffix), folder.rpartition("/")[2]
            if longest > MAX_COMPONENT_BYTES:
                raise UserError(
                    f"--name-template {self.template}: with {stem!r} for {{stem}} a name may have {longest} "
                    f"bytes, and {MAX_COMPONENT_BYTES} are the most: leave {{stem}} out"
                )
            parts = folder.split("/")
            for depth in range(1, len(parts)):
                above = "/".join(parts[:depth])
                if above in known and self._pattern(above, suffix).fullmatch(parts[depth]):
                    raise UserError(
                        f"--name-template {self.template} would give a frame of {above!r} the name of "
                        f"the folder {'/'.join(parts[: depth + 1])!r}: use another template"
                    )

    def most_bytes(self, folder: str, suffix: str) -> int:
        """How long a frame's name within the video's folder may become."""
        stem = folder.rpartition("/")[2]
        return sum(
            len(piece.text.encode())
            + {"stem": len(stem.encode()), "ext": len(suffix)}.get(
                piece.field, max(MAX_DIGITS, int(piece.width or 0))
            )
            for piece in self._pieces
        )

    def paths(self, suffix: str) -> re.Pattern[str]:
        """What paths of frames look like below the output, whatever the video."""
        return re.compile("frames/.+/" + self._names({"stem": "[^/]+", "ext": re.escape(suffix)}))

    def _pattern(self, folder: str, suffix: str) -> re.Pattern[str]:
        """What names of the video's frames look like."""
        return re.compile(
            self._names({"stem": re.escape(folder.rpartition("/")[2]), "ext": re.escape(suffix)})
        )

    def _names(self, texts: Mapping[str, str]) -> str:
        numbers = r"-?\d+"
        return "".join(re.escape(each.text) + texts.get(each.field, numbers) for each in self._pieces)


def _parse(template: str) -> list[_Piece]:
    """The pieces behind ``{video}/``."""

    def refuse(why: str) -> UserError:
        return UserError(
            f"--name-template {template!r} {why}: it begins with {FIRST}, has {{k}} or {{n}}, and ends with "
            f".{{ext}}, as {PRESETS['mmaction2']!r} does; or use one of {', '.join(PRESETS)}"
        )

    if len(template) > MAX_TEMPLATE:
        raise refuse(f"has more than {MAX_TEMPLATE} characters")
    if not template.startswith(FIRST):
        raise refuse(f"does not begin with {FIRST}")
    pieces = []
    try:
        found = list(Formatter().parse(template.removeprefix(FIRST)))
    except ValueError as error:
        raise refuse(f"cannot be read ({error})") from error
    before = ""
    for literal, field, width, conversion in found:
        text = before + literal
        if "/" in text or safe_component(f"x{text}x") != f"x{text}x":
            raise refuse(f"has {text!r} in it, which is not safe in a file's name")
        if field is None:  # a brace that is a text, or the end
            before = text
            continue
        before = ""
        if field not in MEANINGS or field == "video" or conversion:
            raise refuse(f"has {{{field}}} in it, which is none of {', '.join(MEANINGS)}, or {{video}} twice")
        if (field in TEXTS and width) or not _WIDTH.fullmatch(width or ""):
            raise refuse(f"has {{{field}:{width}}} in it: only numbers have a width, as {{k:08d}}")
        pieces.append(_Piece(text, field, (width or "").rstrip("d")))
    fields = [piece.field for piece in pieces]
    if before or not fields or fields[-1] != "ext" or not pieces[-1].text.endswith("."):
        raise refuse("does not end with .{ext}")
    if not {"k", "n"}.intersection(fields):
        raise refuse("has neither {k} nor {n}")
    if pieces[0].text.startswith("."):
        raise refuse("begins names with a dot, which hides them")
    for earlier, after in pairwise(pieces):
        is_number = after.field != "ext"
        if is_number and (not after.text or after.text[-1].isdigit() or after.text[-1] == "-"):
            raise refuse(
                f"has nothing between {{{earlier.field}}} and {{{after.field}}} that keeps them apart"
            )
    return pieces
