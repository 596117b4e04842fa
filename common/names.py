"""Names of videos, and of the folders that their frames go to.

File names are bytes and may be anything. What leaves this module is text that can be stored as UTF-8,
and folder names that are safe on any disk and in any object store, unique, and the same on every host.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence

MAX_COMPONENT_BYTES = 255  # of a name in common file systems
HASH_DIGITS = 16

# Files that lie beside videos. Whether one is a video is only known when it is opened, long after names
# are given; these keep their suffix always, so that they do not make "a.mp4" keep its own.
SIDECARS = frozenset(
    """txt md csv tsv json jsonl xml yaml yml html htm log pdf srt vtt ass ssa sub idx nfo sha256 md5 part
    jpg jpeg png gif webp bmp tif tiff wav mp3 m4a aac flac opus zip gz tar parquet npy npz py""".split()  # noqa: SIM905
)

# Control characters, what some file system or S3 tool forbids or mistakes, and the escape itself.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f\\:*?"<>|%\ud800-\udfff]')
_FRAME_FILE = re.compile(r"\d{8,}\.[^.]+")


def video_names(paths: Sequence[bytes]) -> list[str]:
    """The name of each video: its path as text, with bytes that are not UTF-8 as ``%FF``; all unique."""
    names = [_text(path) for path in paths]
    return _distinct(names, paths)


def output_folders(paths: Sequence[bytes]) -> list[str]:
    """The folder below ``frames/`` of each video, in the order of ``paths``.

    It is the path without its suffix; videos that differ by suffix alone keep theirs. All are unique,
    relative, and free of unsafe characters and of components that could be taken for a frame's file.
    """
    full = ["/".join(safe_component(part) for part in _decoded(path).split("/")) for path in paths]
    short = [_without_suffix(name) for name in full]
    while True:
        seen = Counter(short)
        clashing = [place for place, name in enumerate(short) if seen[name] > 1 and name != full[place]]
        if not clashing:
            break
        for place in clashing:
            short[place] = full[place]
    folders = ["/".join(_unlike_a_frame(part) for part in name.split("/")) for name in short]
    return _distinct(folders, paths)


def safe_component(part: str) -> str:
    """One component of a path, with unsafe characters percent-escaped, at most 255 bytes long."""
    safe = _UNSAFE.sub(_escape, part)
    if safe in ("", ".", ".."):
        safe = "".join(f"%{ord(char):02X}" for char in safe) or "%00"
    safe = _without_loose_end(safe)
    encoded = safe.encode()
    if len(encoded) > MAX_COMPONENT_BYTES:
        keep = MAX_COMPONENT_BYTES - HASH_DIGITS - 1
        safe = f"{encoded[:keep].decode(errors='ignore')}~{_digest(part)}"
    return safe


def _decoded(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _text(path: bytes) -> str:
    return re.sub(r"[\ud800-\udfff]", _escape, _decoded(path))


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode("utf-8", "surrogateescape"))


def _without_loose_end(part: str) -> str:
    """A trailing dot or space is dropped by some systems, and would make two names one: escape it."""
    return f"{part[:-1]}%{ord(part[-1]):02X}" if part[-1] in ". " else part


def _without_suffix(name: str) -> str:
    folder, slash, base = name.rpartition("/")
    stem, dot, suffix = base.rpartition(".")
    if not stem.strip(".") or not dot or suffix.lower() in SIDECARS:
        return name
    return folder + slash + _without_loose_end(stem)


def _unlike_a_frame(part: str) -> str:
    """A component that looks like ``00000000.jpg`` gets its dot escaped: that name is for files."""
    if _FRAME_FILE.fullmatch(part):
        return part.replace(".", "%2E")
    return part


def _distinct(names: list[str], paths: Sequence[bytes]) -> list[str]:
    """``names``, where several are equal, with a digest of the path on all of them."""
    seen = Counter(names)
    if len(seen) == len(names):
        return names
    return [
        name if seen[name] == 1 else f"{_cut(name)}~{_digest(_decoded(path))}"
        for name, path in zip(names, paths, strict=True)
    ]


def _cut(name: str) -> str:
    """``name`` with room for a digest in its last component."""
    folder, slash, base = name.rpartition("/")
    keep = MAX_COMPONENT_BYTES - HASH_DIGITS - 1
    return folder + slash + base.encode()[:keep].decode(errors="ignore")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:HASH_DIGITS]
