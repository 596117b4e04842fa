"""Folders in S3: their names, what lies in them, and small files to and fro."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from framefleet.common.errors import UserError

SCHEME = "s3://"
ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")
MAX_KEY_BYTES = 1024  # S3 user guide, "Naming Amazon S3 objects"
MAX_REMOVED = 1000  # API reference, DeleteObjects: keys in one call
# docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html, in short
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, slots=True)
class S3Folder:
    """A bucket and a prefix, which is empty or ends with a slash: ``videos`` must not mean ``videos-old``."""

    bucket: str
    prefix: str

    @property
    def uri(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}"

    def __str__(self) -> str:
        return self.uri.rstrip("/")

    def below(self, path: str) -> S3Folder:
        """A folder in this one."""
        return S3Folder(self.bucket, f"{self.prefix}{path.strip('/')}/")

    def key(self, path: str) -> str:
        """The key of a file in this folder."""
        return self.prefix + path

    def overlaps(self, other: S3Folder) -> bool:
        """Whether one lies in the other, or both are one."""
        return self.bucket == other.bucket and (
            self.prefix.startswith(other.prefix) or other.prefix.startswith(self.prefix)
        )


def is_in_s3(place: str) -> bool:
    """Whether a place is told as a folder of S3."""
    return place.startswith(SCHEME)


def parse_folder(text: str, option: str) -> S3Folder:
    """``s3://bucket/some/prefix`` as a folder.

    Raises:
        UserError: it is none.
    """
    bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
    if not is_in_s3(text) or not _BUCKET.fullmatch(bucket) or ".." in bucket:
        raise UserError(f"{option} {text} is no folder in S3: give s3://BUCKET/PREFIX")
    pieces = prefix.rstrip("/")
    if any(piece in ("", ".", "..") for piece in pieces.split("/")) and pieces:
        raise UserError(
            f"{option} {text} has an empty part, '.' or '..' in its path: SageMaker makes folders of it"
        )
    return S3Folder(bucket, f"{pieces}/" if pieces else "")


def list_objects(client: Any, folder: S3Folder) -> Iterator[tuple[str, int]]:
    """Every object of a folder: its key relative to it and its size in bytes, in S3's order."""
    for found in _list(client, folder):
        yield found["Key"][len(folder.prefix) :], found["Size"]


def list_archived(client: Any, folder: S3Folder) -> Iterator[tuple[str, int, str]]:
    """The same, and the storage class of those that cannot be read as they are archived; "" of the others.

    (S3 user guide, "Understanding and managing Amazon S3 storage classes".) The archive tiers of
    INTELLIGENT_TIERING are not told in listings.
    """
    for found in _list(client, folder, OptionalObjectAttributes=["RestoreStatus"]):
        kind = found.get("StorageClass", "") if found.get("StorageClass") in ARCHIVED else ""
        if "RestoreExpiryDate" in found.get("RestoreStatus", {}):
            kind = ""  # there is a copy for a while
        yield found["Key"][len(folder.prefix) :], found["Size"], kind


def _list(client: Any, folder: S3Folder, **more: Any) -> Iterator[dict[str, Any]]:
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=folder.bucket, Prefix=folder.prefix, **more
    )
    for page in pages:
        yield from page.get("Contents", ())


def list_folders(client: Any, folder: S3Folder) -> Iterator[str]:
    """The names of the folders that lie directly in a folder."""
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=folder.bucket, Prefix=folder.prefix, Delimiter="/"
    )
    for page in pages:
        for found in page.get("CommonPrefixes", ()):
            yield found["Prefix"][len(folder.prefix) : -1]


def read_object(client: Any, folder: S3Folder, name: str) -> bytes:
    """The content of a file of a folder."""
    body: bytes = client.get_object(Bucket=folder.bucket, Key=folder.key(name))["Body"].read()
    return body


def remove_objects(client: Any, folder: S3Folder, names: Iterable[str]) -> None:
    """Remove files of a folder; those that are not there are passed over.

    Raises:
        UserError: S3 does not remove one.
    """
    keys = [{"Key": folder.key(name)} for name in names]
    for start in range(0, len(keys), MAX_REMOVED):
        told = client.delete_objects(
            Bucket=folder.bucket, Delete={"Objects": keys[start : start + MAX_REMOVED], "Quiet": True}
        )
        for error in told.get("Errors", ()):
            raise UserError(
                f"S3 does not remove s3://{folder.bucket}/{error['Key']}: "
                f"{error.get('Message') or error.get('Code')}"
            )
