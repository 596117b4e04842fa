"""The list of files, on folders that are not as one would wish."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from framefleet.common.errors import UserError
from framefleet.common.job.selection import Selection, encode_table
from framefleet.common.job.spec import SamplingOptions
from framefleet.coordinator.catalogue import FILES, list_videos, read_listing, select, shard, write_listing


def put(root: Path, *names: str | bytes) -> None:
    for name in names:
        path = os.path.join(os.fsencode(root), os.fsencode(name))  # noqa: PTH118 - names are bytes
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(b"12345")


def listed(root: Path) -> list[str]:
    return [video.name for video in list_videos(root).videos]


def test_files_are_listed_by_path_with_name_folder_and_size(tmp_path: Path) -> None:
    put(tmp_path, "b.mp4", "a/z.mov", "a.mp4", b"\xff.mkv")
    videos = list_videos(tmp_path).videos
    assert [(video.index, video.path, video.name, video.folder, video.size_bytes) for video in videos] == [
        (0, b"a.mp4", "a.mp4", "a", 5),
        (1, b"a/z.mov", "a/z.mov", "a/z", 5),
        (2, b"b.mp4", "b.mp4", "b", 5),
        (3, b"\xff.mkv", "%FF.mkv", "%FF", 5),
    ]


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, ".DS_Store", "._a.mp4", ".git/x.mp4", "a.mp4")
    assert listed(tmp_path) == ["a.mp4"]


def test_links(tmp_path: Path) -> None:
    root, outside = tmp_path / "in", tmp_path / "out"
    put(root, "dir/a.mp4")
    put(outside, "secret.mp4")
    (root / "loop").symlink_to(root)
    (root / "dir" / "up").symlink_to("..")
    (root / "again").symlink_to("dir")
    (root / "same.mp4").symlink_to("dir/a.mp4")
    (root / "leak").symlink_to(outside)
    (root / "leak.mp4").symlink_to(outside / "secret.mp4")
    (root / "dead.mp4").symlink_to("nowhere.mp4")
    (root / "self").symlink_to("self")
    listing = list_videos(root)
    assert [video.name for video in listing.videos] == ["dir/a.mp4", "same.mp4"]
    reasons = {failure.video: failure.reason for failure in listing.problems}
    assert set(reasons) == {"leak", "leak.mp4", "dead.mp4", "self"}
    assert "out of the input folder" in reasons["leak"]
    assert "nowhere" in reasons["dead.mp4"]


def test_a_folder_behind_a_hidden_one_is_reached_by_its_link_once(tmp_path: Path) -> None:
    put(tmp_path, ".store/a.mp4")
    (tmp_path / "x").symlink_to(".store")
    (tmp_path / "y").symlink_to(".store")
    assert listed(tmp_path) == ["x/a.mp4"]


def test_a_linked_root_is_followed(tmp_path: Path) -> None:
    put(tmp_path / "real", "a.mp4")
    (tmp_path / "link").symlink_to("real")
    assert listed(tmp_path / "link") == ["a.mp4"]


def test_what_is_no_regular_file_is_reported(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    listing = list_videos(tmp_path)
    assert listing.videos == []
    assert [(failure.video, failure.kind) for failure in listing.problems] == [("pipe.mp4", "input")]


def test_a_folder_that_cannot_be_listed_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "bad/a.mp4", "good/b.mp4")
    real = os.scandir

    def scandir(path: bytes) -> object:
        if path.endswith(b"bad"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = list_videos(tmp_path)
    assert [video.name for video in listing.videos] == ["good/b.mp4"]
    assert [failure.reason for failure in listing.problems] == ["cannot list this folder: Permission denied"]


def test_a_root_that_may_be_missing_holds_nothing(tmp_path: Path) -> None:
    put(tmp_path, "file.mp4")
    found = list_videos(tmp_path / "nowhere", may_be_missing=True)
    assert (found.videos, found.problems) == ([], [])
    with pytest.raises(UserError, match="cannot list the input folder"):
        list_videos(tmp_path / "file.mp4", may_be_missing=True)


def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    put(tmp_path, "file.mp4")
    for name in ("nowhere", "file.mp4"):
        with pytest.raises(UserError, match=rf"cannot list the input folder .*{name}"):
            list_videos(tmp_path / name)


def test_a_list_that_was_kept_is_read_whole_or_not_at_all(tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in (b"a.mp4", b"a.mkv", b"\xff\xfe.mp4", "\u00fc.mp4".encode()):
        (videos / os.fsdecode(name)).write_bytes(b"12345")
    (videos / "lost.mp4").symlink_to("nowhere")
    listing = list_videos(videos)
    assert len(listing.videos) == 4
    assert len(listing.problems) == 1
    kept = tmp_path / "job" / FILES
    assert read_listing(kept) is None
    write_listing(kept, listing)
    assert read_listing(kept) == listing
    kept.write_bytes(kept.read_bytes()[:-9])
    assert read_listing(kept) is None


def test_shards_cover_everything_once_and_keep_the_names_of_the_whole(tmp_path: Path) -> None:
    put(tmp_path, "a.mov", "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    videos = list_videos(tmp_path).videos
    shards = [shard(videos, rank, 3) for rank in range(3)]
    assert sorted(video.name for part in shards for video in part) == [video.name for video in videos]
    assert [video.index for video in shards[0]] == [0, 1]
    assert shards[0][0].folder == "a.mov"
    assert shards[1][0].folder == "a.mp4"
    assert shard(videos, 7, 8) == []


def test_a_folder_of_very_many_files(tmp_path: Path) -> None:
    for number in range(100_000):
        os.close(os.open(tmp_path / f"{number}.mp4", os.O_CREAT))
    videos = list_videos(tmp_path).videos
    assert [video.path for video in videos] == sorted(b"%d.mp4" % number for number in range(100_000))
    assert [video.index for video in videos] == list(range(100_000))


def test_a_file_that_vanishes_meanwhile_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a.mp4", "b.mp4")
    real, calls = os.scandir, []

    def scandir(path: bytes) -> contextlib.AbstractContextManager[list[os.DirEntry[bytes]]]:
        with real(path) as entries:
            found = list(entries)
        calls.append(path)
        if len(calls) == 2:  # the first one asks whether the root can be listed at all
            (tmp_path / "a.mp4").unlink()
        return contextlib.nullcontext(found)

    monkeypatch.setattr(os, "scandir", scandir)
    listing = list_videos(tmp_path)
    assert [video.name for video in listing.videos] == ["b.mp4"]
    assert [(failure.video, failure.kind) for failure in listing.problems] == [("a.mp4", "input")]


def test_only_videos_with_times_are_kept_and_names_of_nothing_are_reported(tmp_path: Path) -> None:
    put(tmp_path, "a.mov", "a.mp4", "b.mp4", b"\xff.mkv")
    times = encode_table((name, ["1"]) for name in ("%FF.mkv", "a.mp4", "c.mp4"))
    options = SamplingOptions(timestamps="t", ranges="r")
    selection = Selection(options, timestamps=times, ranges=encode_table([("d.mp4", ["-", "-"])]))
    chosen = select(list_videos(tmp_path), selection)
    assert [(video.index, video.name, video.folder) for video in chosen.videos] == [
        (0, "a.mp4", "a.mp4"),  # as it would be with all others there
        (1, "%FF.mkv", "%FF"),
    ]
    reasons = {failure.video: failure.reason for failure in chosen.problems}
    assert set(reasons) == {"c.mp4", "d.mp4"}
    assert "--timestamps" in reasons["c.mp4"]
    assert "--ranges" in reasons["d.mp4"]


def test_without_files_everything_is_wanted(tmp_path: Path) -> None:
    put(tmp_path, "a.mp4", "b.mp4")
    found = list_videos(tmp_path)
    assert select(found, Selection(SamplingOptions(fps="5"))) == found


def test_a_size_that_no_message_may_tell_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, "a.mp4")
    assert listed(tmp_path) == ["a.mp4"]
    monkeypatch.setattr("framefleet.coordinator.catalogue.MAX_BYTES", 4)
    (problem,) = list_videos(tmp_path).problems
    assert (problem.video, problem.reason) == ("a.mp4", "claims 5 bytes: no video does")
    assert listed(tmp_path) == []
