"""Paths of others lead nowhere but below their folder."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from framefleet.common.files.beneath import Below, UnsafePathError, is_frame_path, is_relative

OUTWARD = ["../victim", "/etc/passwd", "a/../../victim", "a//victim", "./victim", "a/", "", "a\0b"]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "victim"
    path.parent.mkdir()
    path.write_bytes(b"precious")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder"
    (path / "frames" / "a").mkdir(parents=True)
    (path / "frames" / "a" / "0.jpg").write_bytes(b"frame")
    return path


def every_way(folder: Below, other: Below, path: str) -> list[Callable[[], object]]:
    return [
        lambda: folder.open(path),
        lambda: folder.stat(path),
        lambda: folder.remove(path),
        lambda: folder.move(path, other, "kept"),
        lambda: folder.link(path, other, "kept"),
        lambda: other.move("honest", folder, path),
        lambda: other.link("honest", folder, path),
    ]


@pytest.mark.parametrize("path", OUTWARD)
def test_a_path_that_leads_out_by_its_text_is_refused_everywhere(
    folder: Path, victim: Path, path: str
) -> None:
    assert not is_relative(path)
    assert not is_frame_path(f"frames/{path}")
    (victim.parent / "honest").write_bytes(b"honest")
    with Below(folder) as here, Below(victim.parent) as home:
        for way in every_way(here, home, path):
            with pytest.raises(UnsafePathError):
                way()
        assert here.size(path) == -1
    assert victim.read_bytes() == b"precious"
    assert sorted(path.name for path in victim.parent.iterdir()) == ["honest", "victim"]


def test_a_folder_that_is_a_link_is_not_passed(folder: Path, victim: Path) -> None:
    (folder / "frames" / "evil").symlink_to(victim.parent)
    (victim.parent / "honest").write_bytes(b"honest")
    with Below(folder) as here, Below(victim.parent) as home:
        for way in every_way(here, home, "frames/evil/victim"):
            with pytest.raises(UnsafePathError, match="link"):
                way()
        with pytest.raises(UnsafePathError):
            here.make_folder("frames/evil/deep")
        assert here.size("frames/evil/victim") == -1
        assert list(here.files("frames")) == [("frames/a/0.jpg", True), ("frames/evil", False)]
        assert list(here.files("frames/evil")) == []
    assert sorted(path.name for path in victim.parent.iterdir()) == ["honest", "victim"]


def make_link(path: Path, victim: Path) -> None:
    path.symlink_to(victim)


def make_fifo(path: Path, victim: Path) -> None:
    os.mkfifo(path)


def make_device_link(path: Path, victim: Path) -> None:
    path.symlink_to("/dev/zero")


def make_folder(path: Path, victim: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [make_link, make_fifo, make_device_link, make_folder])
def test_what_is_no_regular_file_is_neither_read_nor_moved(
    folder: Path, victim: Path, make: Callable[[Path, Path], None]
) -> None:
    make(folder / "odd", victim)
    with Below(folder) as here, Below(victim.parent) as home:
        for way in (
            lambda: here.open("odd"),
            lambda: here.stat("odd"),
            lambda: here.move("odd", home, "kept"),
            lambda: here.link("odd", home, "kept"),
        ):
            with pytest.raises(UnsafePathError):
                way()
        assert here.size("odd") == -1
    assert [path.name for path in victim.parent.iterdir()] == ["victim"]


def test_a_link_is_removed_itself(folder: Path, victim: Path) -> None:
    (folder / "link").symlink_to(victim)
    with Below(folder) as here:
        here.remove("link")
        here.remove("link")  # it need not be there
        here.remove("nowhere/link")
    assert not (folder / "link").is_symlink()
    assert victim.read_bytes() == b"precious"


def test_files_are_found_read_and_moved(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "output").symlink_to(tmp_path / "real")  # the user's own way may have links
    with Below(folder) as here, Below(tmp_path / "output") as there:
        assert here.size("frames/a/0.jpg") == 5
        assert here.size("frames/a/1.jpg") == here.size("frames/b/0.jpg") == here.size("frames/a") == -1
        with here.open("frames/a/0.jpg") as file:
            assert file.read() == b"frame"
        there.make_folder("frames/a")
        here.link("frames/a/0.jpg", there, "frames/a/1.jpg")
        here.move("frames/a/0.jpg", there, "frames/a/0.jpg")
        with pytest.raises(FileNotFoundError, match=r"frames/a/0\.jpg"):
            here.move("frames/a/0.jpg", there, "frames/a/0.jpg")
        assert list(there.files("frames")) == [("frames/a/0.jpg", True), ("frames/a/1.jpg", True)]
    assert (tmp_path / "real" / "frames" / "a" / "0.jpg").read_bytes() == b"frame"


def test_another_disk_is_given_a_copy(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    real = os.rename

    def rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if not source.endswith(".part"):
            refuse()
        real(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(os, "link", refuse)
    (tmp_path / "output").mkdir()
    with Below(folder) as here, Below(tmp_path / "output") as there:
        here.link("frames/a/0.jpg", there, "1.jpg")
        here.move("frames/a/0.jpg", there, "0.jpg")
        assert here.size("frames/a/0.jpg") == -1
        assert list(there.files("")) == [("0.jpg", True), ("1.jpg", True)]
    assert sorted(path.name for path in (tmp_path / "output").iterdir()) == ["0.jpg", "1.jpg"]


def test_no_descriptor_is_left(folder: Path) -> None:
    def count() -> int:
        return len(os.listdir("/dev/fd"))  # noqa: PTH208

    (folder / "frames" / "evil").symlink_to(folder)
    before = count()
    with Below(folder) as here:
        for path in ("frames/a/0.jpg", "frames/evil/x", "frames/b/x", "frames/a/0.jpg/x", "../x"):
            here.size(path)
            with contextlib.suppress(OSError):
                here.open(path).close()
        list(here.files(""))
    assert count() == before
