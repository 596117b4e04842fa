"""Which host's file is the one of a name, where several have one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from framefleet.common.files.beneath import COPY_BYTES, Below
from framefleet.common.output.video_names import output_folders, safe_component


@dataclass(slots=True)
class ClaimedPart:
    """A manifest part in its host's folder: files and videos of its rows, and which of these count."""

    path: Path
    host: Below
    files: list[str | None]
    keep: list[bool]
    videos: list[str]
    samples: list[int]


@dataclass(slots=True)
class Claims:
    """The row that each file is taken from.

    Attributes:
        owners: of each file, the part and the row in it.
        disputed: rows whose files were others', or nobody's: frames that are not there.
        sentences: on these.
    """

    owners: dict[str, tuple[ClaimedPart, int]] = field(default_factory=dict)
    disputed: int = 0
    sentences: list[str] = field(default_factory=list)
    _nobodys: set[str] = field(default_factory=set)

    def add(self, part: ClaimedPart) -> None:
        """Take the files of the rows that count; ``keep`` of rows that name others' files is cleared."""
        for row, (file, kept) in enumerate(zip(part.files, part.keep, strict=True)):
            if not kept or file is None:
                continue
            if file in self._nobodys:
                self._dispute(part, row)
                continue
            owner = self.owners.get(file)
            if owner is None:
                self.owners[file] = part, row
            else:
                self._decide(file, *owner, part, row)

    def _decide(self, file: str, one: ClaimedPart, row: int, other: ClaimedPart, other_row: int) -> None:
        is_one_frame = (one.videos[row], one.samples[row]) == (
            other.videos[other_row],
            other.samples[other_row],
        )
        if is_one_frame and (other.host.size(file) < 0 or _are_equal(file, one.host, other.host)):
            other.keep[other_row] = False
            return
        if is_one_frame and one.host.size(file) < 0:
            one.keep[row] = False
            self.owners[file] = other, other_row
            return
        text = f"{file}: two rows have different files of this name"
        first, second = _is_of(file, one.videos[row]), _is_of(file, other.videos[other_row])
        if first == second:
            self._dispute(one, row)
            self._dispute(other, other_row)
            del self.owners[file]
            self._nobodys.add(file)
            self.sentences.append(f"{text}, and neither is taken")
            return
        liar, place = (other, other_row) if first else (one, row)
        self._dispute(liar, place)
        if second:
            self.owners[file] = other, other_row
        self.sentences.append(f"{text}, and that of {liar.path.name} is not taken")

    def _dispute(self, part: ClaimedPart, row: int) -> None:
        part.keep[row] = False
        self.disputed += 1


def _is_of(file: str, video: str) -> bool:
    """Whether a file is named as frames of this video are: below the folder that it has, be it that another
    differs by suffix alone."""
    pieces = [safe_component(piece) for piece in video.split("/")]
    folders = (output_folders([video.encode()])[0], "/".join(pieces))
    return any(file.startswith(f"frames/{folder}/") for folder in folders)


def _are_equal(file: str, one: Below, other: Below) -> bool:
    if one.size(file) != other.size(file):
        return False
    with one.open(file) as first, other.open(file) as second:
        while True:
            data = first.read(COPY_BYTES)
            if data != second.read(COPY_BYTES):
                return False
            if not data:
                return True
