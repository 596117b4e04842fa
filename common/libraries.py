"""The libraries that decide on the bytes of frames, and their versions.

Which frames there are is libavformat's to say, and what is in them libavcodec's; libswscale converts them,
with libavutil's formats, as PyAV asks it to; OpenCV looks at them (``--dedup``, ``--min-sharpness``), and the
codecs that it brings encode them. ``worker/loaded_libraries.py`` finds them: this module may load none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

LIBRARIES_KEY = "framefleet_libraries"  # in the metadata of a manifest part: what made its frames, as JSON

Version = Annotated[str, msgspec.Meta(max_length=255)]


class Libraries(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version each; the codecs' as OpenCV tells them."""

    pyav: Version
    libavformat: Version
    libavcodec: Version
    libavutil: Version
    libswscale: Version
    opencv: Version
    jpeg: Version
    png: Version
    zlib: Version
    webp: Version
    avif: Version

    def __str__(self) -> str:
        return self._text(_FIELDS)

    def unlike(self, other: Libraries) -> str:
        """In words, those of these versions that another host's differ from."""
        return self._text([name for name in _FIELDS if getattr(self, name) != getattr(other, name)])

    def _text(self, names: Sequence[str]) -> str:
        return ", ".join(f"{_NAMES.get(name, name)} {getattr(self, name)}" for name in names)


_FIELDS = Libraries.__struct_fields__
_NAMES = {"pyav": "PyAV", "opencv": "OpenCV", "jpeg": "JPEG", "png": "PNG", "webp": "WebP", "avif": "AVIF"}


def otherwise_made(frames: Libraries | None, now: Libraries | None) -> str:
    """A sentence on frames that were made with other libraries than others would be now, as far as both are
    known; empty if there is none to say."""
    if frames is None or now is None or frames == now:
        return ""
    return (
        f"the frames in the output were made with {frames.unlike(now)}, and now it would be "
        f"{now.unlike(frames)}, which may give other bytes: use the versions or the image that made them, "
        "or give another --output"
    )
