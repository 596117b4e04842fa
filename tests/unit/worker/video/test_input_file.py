"""The end of a file, damage, and what the system refuses are told apart."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest import mock

import pytest

from framefleet.common.job.sampling import Sampling
from framefleet.worker.video import input_file
from framefleet.worker.video.input_file import Cursor, InputFile, ReadError
from framefleet.worker.video.open_video import MediaError, OpenVideo
from framefleet.worker.video.probe import probe
from tests.faults.refusing_disk import ERRNOS, refusing
from tests.helpers.extractor import FIVE, Extractor, clip, same

PLACES = 12


def opened(folder: Path, data: bytes = bytes(range(100))) -> InputFile:
    path = folder / "a.bin"
    path.write_bytes(data)
    return InputFile(path)


def test_a_cursor_reads_and_seeks_like_a_file(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        cursor, other = Cursor(file), Cursor(file)
        assert cursor.read(3) == b"\0\1\2"
        assert cursor.seek(-1, os.SEEK_END) == 99
        assert cursor.read(10) == bytes([99])
        assert cursor.read(10) == b""
        assert cursor.seek(1000) == cursor.tell() == 1000
        assert cursor.read(10) == b""
        assert cursor.seek(-1000, os.SEEK_CUR) == 0
        assert cursor.seek(-1) < 0
        assert cursor.tell() == 0
        assert other.read(1) == b"\0"
        file.check()


def test_what_a_file_grows_by_is_not_read(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        with file.path.open("ab") as more:
            more.write(b"more")
        assert file.read_at(90, 100) == bytes(range(90, 100))
        assert file.current_status().st_size == 104
        assert file.status.st_size == 100


@pytest.mark.parametrize("code", ERRNOS)
def test_a_refusal_is_kept(tmp_path: Path, code: int) -> None:
    with opened(tmp_path) as file:
        with refusing(code, after=50):
            assert len(file.read_at(0, 100)) == 50
            file.check()
            assert file.read_at(50, 50) == b""
        assert file.read_at(0, 10) == b"", "nothing is to be made of a file that was not read"
        with pytest.raises(ReadError, match=f"from byte 50 on: {os.strerror(code)}"):
            file.check()


def test_a_file_that_is_cut_short_under_our_feet_does_not_end_there(tmp_path: Path) -> None:
    with opened(tmp_path) as file:
        os.truncate(file.path, 50)
        assert len(file.read_at(0, 100)) == 50
        assert file.read_at(50, 50) == b""
        with pytest.raises(ReadError, match="ends at byte 50 on this host, although it had 100 bytes"):
            file.check()


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.EMFILE, errno.ENODEV])
def test_what_cannot_be_opened_is_the_hosts_failure(tmp_path: Path, code: int) -> None:
    with (
        mock.patch(
            "framefleet.worker.video.input_file.os.open", side_effect=OSError(code, os.strerror(code))
        ),
        pytest.raises(ReadError, match=os.strerror(code)),
    ):
        OpenVideo(tmp_path / "a.mp4")


@pytest.mark.parametrize("code", sorted(input_file.OF_THE_FILE))
def test_what_is_not_there_or_not_allowed_is_the_files(tmp_path: Path, code: int) -> None:
    with (
        mock.patch(
            "framefleet.worker.video.input_file.os.open", side_effect=OSError(code, os.strerror(code))
        ),
        pytest.raises(MediaError),
    ):
        OpenVideo(tmp_path / "a.mp4")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(MediaError, match="a pipe, socket or device"):
        OpenVideo(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    "name", ["h264-closed", "h264-fragmented", "h264-open-mkv", "h264-no-cues", "mpeg2-ts", "mpeg4-avi"]
)
@pytest.mark.parametrize("sampling", [FIVE, Sampling(keyframes_only=True)], ids=["5 fps", "keyframes"])
def test_no_refusal_is_taken_for_an_end_or_for_damage(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sampling: Sampling
) -> None:
    """Wherever a file is refused from, frames are the right ones or none, and the reason is the system's:
    while it is probed (headers, an index at the end), and while it is extracted."""
    monkeypatch.setattr(
        "framefleet.worker.video.open_video.BUFFER_BYTES", 1024
    )  # else the opening reads all of so small a file
    path = clip(clips, name)
    whole = Extractor(path, tmp_path / "whole").unit(sampling)[0]
    size = path.stat().st_size
    places = sorted({size * part // PLACES for part in range(PLACES)} | {size - 1, size - 2, size - 100})
    refused: list[int] = []
    for number, after in enumerate(places):
        code = (*ERRNOS, 0)[number % (len(ERRNOS) + 1)]
        for probed_before in (False, True):
            work = Extractor(path, tmp_path / f"{after} {probed_before}") if probed_before else None
            with refusing(code, after=after):
                try:
                    work = work or Extractor(path, tmp_path / f"{after} {probed_before}")
                    result = work.unit(sampling)[0]
                except ReadError:
                    refused.append(after)
                    continue
            assert same(result.rows) == same(whole.rows)
            assert result.notes == whole.notes
            assert result.errors == 0
    assert len(refused) > len(places), "some while probing, some while extracting"


def test_a_refusal_within_the_header_is_no_reason_to_call_it_damaged(clips: Path) -> None:
    for name in ("h264-closed", "h264-open-mkv"):
        with refusing(errno.ESTALE, after=100), pytest.raises(ReadError, match="from byte 100 on"):
            probe(clip(clips, name))
