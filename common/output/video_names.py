"""Names of videos, and of the folders that their frames go to.

File names are bytes and may be anything. What leaves this module is text that can be stored as UTF-8,
and folder names that are safe on any disk and in any object store. All escaping is one-to-one, so
different paths have different names, whatever else is in the list.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

MAX_COMPONENT_BYTES = 255  # of a name in common file systems
MAX_FOLDER_BYTES = 768  # an S3 key has 1,024 at most; the job's prefix and the file's name need some of them

# Files that lie beside videos. Whether one is a video is only known when it is opened, long after names
# are given; these keep their suffix always, so that they do not make "a.mp4" keep its own.
SIDECARS = frozenset(
    """txt md csv tsv json jsonl xml yaml yml html htm log pdf srt vtt ass ssa sub idx nfo sha256 md5 part
    jpg jpeg png gif webp bmp tif tiff wav mp3 m4a aac flac opus zip gz tar parquet npy npz py""".split()  # noqa: SIM905
)

# Bytes that are not UTF-8 (surrogates, once decoded), and what could be taken for an escape of ours.
_UNSHOWABLE = re.compile(r"[\ud800-\udfff]|%(?=25|[89A-F][0-9A-F])")

_SHOWN = re.compile(rb"%(25|[89A-F][0-9A-F])")  # as it is shown then

# Those; control characters and what XML, so an S3 listing, cannot hold; what Windows or Hadoop forbids.
_UNSAFE = re.compile(
    r'[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff\ud800-\udfff/\\:*?"<>|]|%(?=[0-9A-F]{2}|~)'
)
_LOOSE_ENDS = ". "  # dropped by some systems; and a dot there makes "." and ".." what they are
_FRAME_FILE = re.compile(r"[0-9]{8,}\.[^.]+")
_HALF_ESCAPE = re.compile(r"%[0-9A-F]?\Z")
_SEVERAL = -1  # in place of the one path that would have a name
_SHORTENED = "%~"  # escaping leaves none of these, so that no other name can look like a shortened one


def video_name(path: bytes) -> str:
    """The path as text that UTF-8 can hold. A byte that is not UTF-8 is shown as ``%FF``.

    Different paths have different names: a ``%`` that reads like such an escape is shown as ``%25``.
    """
    return _UNSHOWABLE.sub(_escape, _decoded(path))


def output_folders(paths: Sequence[bytes]) -> list[str]:
    """The folder below ``frames/`` of each of these different paths, in their order.

    It is the path without its suffix; videos that differ by suffix alone keep theirs. All are unique,
    relative, and free of unsafe characters and of components that could be taken for a frame's file.
    """
    parents: dict[str, str] = {}
    return [_folder(text, parents) for text in _without_suffixes([_decoded(path) for path in paths])]


def possible_folders(name: str) -> tuple[str, str]:
    """The folders that a video of this name may have: that of its path without its suffix, and with it."""
    path = _SHOWN.sub(lambda match: bytes.fromhex(match[1].decode()), name.encode("utf-8", "replace"))
    text = _decoded(path)
    return _folder(_without_suffix(text), {}), _folder(text, {})


def _folder(text: str, parents: dict[str, str]) -> str:
    """The folder of a path; ``parents``: those that are known already."""
    parent, slash, name = text.rpartition("/")
    if parent not in parents:
        parents[parent] = "/".join(safe_component(part) for part in parent.split("/"))
    folder = f"{parents[parent]}/{safe_component(name)}" if slash else safe_component(name)
    if len(folder) * 4 > MAX_FOLDER_BYTES and len(folder.encode()) > MAX_FOLDER_BYTES:
        whole_parents = _cut(folder, MAX_FOLDER_BYTES - MAX_COMPONENT_BYTES).rpartition("/")[0]
        folder = f"{whole_parents}/{_SHORTENED}{_digest(text)}"
    return folder


def plain_folder(name: str) -> str:
    """The folder that most videos of this name have: the name without its suffix."""
    return _without_suffix(name)


def safe_component(part: str, *, limit_bytes: int = MAX_COMPONENT_BYTES) -> str:
    """One component of a path, with what is unsafe percent-escaped; 1 to ``limit_bytes`` bytes long.

    Different components (bytes that are not UTF-8 being surrogates, as ``os.fsdecode`` has them) give
    different results.
    """
    safe = _UNSAFE.sub(_escape, part) or _SHORTENED
    if safe[-1] in _LOOSE_ENDS:
        safe = f"{safe[:-1]}%{ord(safe[-1]):02X}"
    if _FRAME_FILE.fullmatch(safe):
        safe = safe.replace(".", "%2E")
    if len(safe) * 4 > limit_bytes and len(safe.encode()) > limit_bytes:
        digest = _digest(part)
        safe = _cut(safe, limit_bytes - len(_SHORTENED) - len(digest)) + _SHORTENED + digest
    return safe


def _without_suffixes(texts: list[str]) -> list[str]:
    """Every path without its suffix where that leaves it different from all others, else as it is."""
    short = [_without_suffix(text) for text in texts]
    owner: dict[str, int] = {}
    for place, name in enumerate(short):
        owner[name] = _SEVERAL if name in owner else place
    kept: list[str] = []
    for place, text in enumerate(texts):
        if short[place] == text or owner[short[place]] == _SEVERAL:
            short[place] = text
            kept.append(text)
    for text in kept:  # it grows: a suffix kept for one path's sake may be what makes another keep its own
        place = owner.get(text, _SEVERAL)
        if place != _SEVERAL and short[place] != texts[place]:
            short[place] = texts[place]
            kept.append(texts[place])
    return short


def _without_suffix(text: str) -> str:
    stem, _, suffix = text[text.rfind("/") + 1 :].rpartition(".")
    if not stem.strip(".") or suffix.lower() in SIDECARS:
        return text
    return text[: -len(suffix) - 1]


def _decoded(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode("utf-8", "surrogateescape"))


def _cut(text: str, limit_bytes: int) -> str:
    return _HALF_ESCAPE.sub("", text.encode()[:limit_bytes].decode(errors="ignore"))


def _digest(text: str) -> str:
    data = text.encode("utf-8", "surrogateescape")
    return hashlib.sha256(data).hexdigest()[:32]  # 128 bits: nobody finds two names with one digest
