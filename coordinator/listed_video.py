"""An entry of the catalogue. Own module: the core must not import file-system code."""

from __future__ import annotations

from functools import lru_cache

import msgspec

from framefleet.common.output.video_names import plain_folder

FOLDERS_REMEMBERED = 4096

_folder_of = lru_cache(maxsize=FOLDERS_REMEMBERED)(plain_folder)  # each unit of a video asks for it


class ListedVideo(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A file of the input; whether it is a video is for a probe to say.

    There may be a million, so what follows from the name is not kept.

    Attributes:
        index: its place in the list that it was taken from.
        name: its path relative to the input root, as text; what users and the manifest call it.
        other_path: the path as the disk has it, where that is not the name in UTF-8.
        other_folder: where its frames go, where that is not the name without its suffix.
    """

    index: int
    name: str
    size_bytes: int
    other_path: bytes | None = None
    other_folder: str | None = None

    @classmethod
    def of(cls, *, index: int, path: bytes, name: str, folder: str, size_bytes: int) -> ListedVideo:
        """An entry with all of its names."""
        return cls(
            index=index,
            name=name,
            size_bytes=size_bytes,
            other_path=None if path == name.encode() else path,
            other_folder=None if folder == plain_folder(name) else folder,
        )

    @property
    def path(self) -> bytes:
        """Relative to the input root, as the disk has it."""
        return self.name.encode() if self.other_path is None else self.other_path

    @property
    def folder(self) -> str:
        """Where its frames go, below ``frames/``."""
        return _folder_of(self.name) if self.other_folder is None else self.other_folder
