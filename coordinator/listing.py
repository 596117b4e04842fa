"""An entry of the catalogue; apart from it, as the core may not import what reads folders."""

from __future__ import annotations

import msgspec


class ListedVideo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file of the input; whether it is a video is for a probe to say.

    Attributes:
        index: its place in the list that it was taken from.
        path: relative to the input root, as the disk has it.
        name: the same as text; what users and the manifest call it.
        folder: where its frames go, below ``frames/``.
    """

    index: int
    path: bytes
    name: str
    folder: str
    size_bytes: int
