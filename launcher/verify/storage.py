"""Where an output and its videos lie: in folders of this machine, or in S3.

What is in S3 is brought here when it is looked at, and removed after that: at most a manifest, and the
images of one of its parts, are here at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from framefleet.common.errors import UserError
from framefleet.common.files.beneath import Below, is_relative
from framefleet.common.output.video_names import video_name
from framefleet.coordinator.catalogue import list_videos
from framefleet.launcher.aws.s3 import S3Folder, is_in_s3, list_objects, parse_folder

CONNECTIONS: Final = 16
TOPS: Final = ("frames", "shards")
SUMMARY: Final = "summary.json"


class Output(Protocol):
    """An output; its files can be read below ``root``."""

    root: Path

    def fetch(self, files: Iterable[str]) -> None:
        """See that these files, paths below the output, can be read, but for those that do not exist."""

    def drop(self, files: Iterable[str]) -> None:
        """They are not needed any more."""

    def files(self) -> Iterator[str]:
        """All files below ``frames/`` and ``shards/``, and links, which are not followed."""

    def summaries(self) -> list[str]:
        """The summaries of its jobs, which can be read now: ``job/summary.json``, or in folders there."""


class Videos(Protocol):
    """The folder of videos that a job had."""

    @contextmanager
    def video(self, name: str) -> Iterator[Path | None]:
        """A file that holds the video while the context is open; None: there is none of that name."""


class Folder:
    """An output in a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def fetch(self, files: Iterable[str]) -> None:
        """They are there already."""

    def drop(self, files: Iterable[str]) -> None:
        """They are the user's."""

    def files(self) -> Iterator[str]:
        for top in TOPS:
            with Below(self.root) as below:
                yield from (file for file, _ in below.files(top))

    def summaries(self) -> list[str]:
        with Below(self.root) as below:
            return [file for file, _ in below.files("job") if _is_summary(file)]


class Bucket:
    """An output in S3; ``root`` is a folder for what is brought here, the manifest first of all.

    Raises:
        UserError: it has none.
    """

    def __init__(self, client: Any, folder: S3Folder, root: Path) -> None:
        self.root = root
        self._client = client
        self._folder = folder
        self._names = dict.fromkeys(name for name, _ in list_objects(client, folder))
        parts = [name for name in self._names if name.startswith("manifest/") and name.endswith(".parquet")]
        if not parts:
            raise UserError(f"{folder} has no manifest/*.parquet: give the --output folder of a job")
        self.fetch(parts)

    def fetch(self, files: Iterable[str]) -> None:
        wanted = [
            file
            for file in files
            if file in self._names and is_relative(file) and not (self.root / file).exists()
        ]
        for folder in {(self.root / file).parent for file in wanted}:
            folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            for _ in pool.map(self._bring, wanted):
                pass

    def _bring(self, file: str) -> None:
        _download(self._client, self._folder, file, self.root / file)

    def drop(self, files: Iterable[str]) -> None:
        for file in files:
            (self.root / file).unlink(missing_ok=True)

    def files(self) -> Iterator[str]:
        yield from (name for name in self._names if name.startswith(tuple(f"{top}/" for top in TOPS)))

    def summaries(self) -> list[str]:
        found = sorted(filter(_is_summary, self._names))
        self.fetch(found)
        return found


def _is_summary(file: str) -> bool:
    return file.startswith("job/") and file.endswith(f"/{SUMMARY}") and is_relative(file)


class FolderOfVideos:
    """Videos of a folder.

    Raises:
        UserError: it cannot be listed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._paths = {video.name: video.path for video in list_videos(root).videos}

    def __str__(self) -> str:
        return str(self._root)

    @contextmanager
    def video(self, name: str) -> Iterator[Path | None]:
        path = self._paths.get(name)
        yield None if path is None else self._root / os.fsdecode(path)


class BucketOfVideos:
    """Videos of a folder in S3, one of which is here at a time, in the folder ``root``."""

    def __init__(self, client: Any, folder: S3Folder, root: Path) -> None:
        self._client = client
        self._folder = folder
        self._root = root
        self._keys = {video_name(key.encode()): key for key, _ in list_objects(client, folder)}

    def __str__(self) -> str:
        return str(self._folder)

    @contextmanager
    def video(self, name: str) -> Iterator[Path | None]:
        path = self._root / f"video{Path(name).suffix}"
        key = self._keys.get(name)
        try:
            yield path if key is not None and _download(self._client, self._folder, key, path) else None
        finally:
            path.unlink(missing_ok=True)


def _download(client: Any, folder: S3Folder, name: str, path: Path) -> bool:
    """Bring an object here; whether there is one."""
    from botocore.exceptions import ClientError

    try:
        client.download_file(folder.bucket, folder.key(name), str(path))
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") in ("404", "NoSuchKey"):
            return False
        raise
    return True


def open_output(place: str, client: Any, scratch: Path) -> Output:
    """The output at ``place``, a folder or ``s3://BUCKET/PREFIX``.

    Raises:
        UserError: it is no folder of S3.
    """
    if not is_in_s3(place):
        return Folder(Path(place))
    return Bucket(client, parse_folder(place, "OUTPUT"), scratch / "output")


def open_videos(place: str, client: Any, scratch: Path) -> Videos:
    """The videos at ``place``, a folder or ``s3://BUCKET/PREFIX``.

    Raises:
        UserError: it is no folder of S3, or cannot be listed.
    """
    if not is_in_s3(place):
        return FolderOfVideos(Path(place))
    (scratch / "videos").mkdir(parents=True)
    return BucketOfVideos(client, parse_folder(place, "--against"), scratch / "videos")
