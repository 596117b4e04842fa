"""Packed outputs of hosts merged: what counts is in shards once, wherever a host or a merge was cut short."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from framefleet.common.host.layout import Layout
from framefleet.common.job.spec import SamplingOptions
from framefleet.common.output.shard_fields import PackFormat, PackOptions
from framefleet.launcher.output.merge import HostOutput, Merged, merge
from framefleet.worker.publishing.publisher import Publisher
from tests.helpers.packed_outputs import check_packed
from tests.helpers.publishing_hosts import manifest, stage


class Hosts:
    """Hosts that publish, and a journal that commits all but what is withheld."""

    def __init__(self, folder: Path, form: PackFormat = "tar") -> None:
        self.pack = PackOptions(format=form, shard_bytes=30)
        self.folder = folder
        self.output = folder / "merged"
        self.output.mkdir(parents=True)
        self.committed: list[tuple[int, int, str]] = []
        self.hosts: dict[str, Publisher] = {}

    def layout(self, host: str) -> Layout:
        return Layout(self.folder / host)

    def publish(
        self, host: str, *units: int, attempt: int = 1, salt: str = "", committed: bool = True
    ) -> None:
        if host not in self.hosts:  # a new publisher empties the staging of its host
            self.hosts[host] = Publisher(self.layout(host), host, pack=self.pack)
        publisher = self.hosts[host]
        for unit in units:
            rows = stage(
                self.layout(host), unit, attempt, range(unit * 10, unit * 10 + 10), salt, bundled=True
            )
            publisher.add(unit, attempt, "v.mp4", "v", rows, 0)
            publisher.flush()
            if committed:
                self.committed.append((unit, attempt, host))

    def close(self, *hosts: str) -> None:
        for host in hosts:
            self.hosts[host].close()

    def merge(self) -> Merged:
        job = self.layout("a").output / "job"
        job.mkdir(parents=True, exist_ok=True)
        lines = [
            {"event": "committed", "unit": unit, "attempt": attempt, "host": host, "frames": 10}
            for unit, attempt, host in self.committed
        ]
        (job / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        outputs = [HostOutput(host, self.layout(host).output) for host in self.hosts]
        return merge(
            outputs,
            self.output,
            mode="coordinated",
            primary="a",
            sampling=SamplingOptions(fps="5"),
            pack=self.pack,
        )

    def units(self) -> set[tuple[int, str]]:
        """Units and hosts in the output, which is checked."""
        check_packed(self.output)
        parts = Layout(self.folder / "none")
        shutil.rmtree(parts.root, ignore_errors=True)
        shutil.copytree(self.output, parts.output)
        return {(row["unit"], row["host"]) for row in manifest(parts)}


@pytest.fixture(params=["tar", "parquet"])
def hosts(request: pytest.FixtureRequest, tmp_path: Path) -> Hosts:
    return Hosts(tmp_path, request.param)


def test_whole_shards_are_moved_as_they_are(hosts: Hosts) -> None:
    hosts.publish("a", 10, 11, 12)
    hosts.publish("b", 20, 21)
    hosts.close("a", "b")
    made = {
        path.name: path.stat().st_ino
        for host in "ab"
        for path in (hosts.layout(host).output / "shards").iterdir()
    }
    merged = hosts.merge()
    assert (merged.frames, merged.rowless, merged.missing) == (50, 0, [])
    assert hosts.units() == {(10, "a"), (11, "a"), (12, "a"), (20, "b"), (21, "b")}
    assert {path.name: path.stat().st_ino for path in (hosts.output / "shards").iterdir()} == made


def test_what_a_dead_host_left_loose_is_packed(hosts: Hosts) -> None:
    hosts.publish("a", 10)
    hosts.publish("b", 20, 21, 22)
    hosts.close("a")
    assert hosts.merge().frames == 40
    assert hosts.units() == {(10, "a"), (20, "b"), (21, "b"), (22, "b")}


def test_images_that_nobody_committed_are_taken_out_of_shards(hosts: Hosts) -> None:
    hosts.publish("b", 20, 21)
    hosts.publish("b", 30, committed=False)
    hosts.publish("b", 31)
    hosts.publish("a", 30, attempt=2)
    hosts.close("a", "b")
    merged = hosts.merge()
    assert (merged.frames, merged.dropped_rows, merged.missing) == (40, 10, [])
    assert hosts.units() == {(20, "b"), (21, "b"), (31, "b"), (30, "a")}


def test_one_image_of_a_sample_that_two_hosts_made_alike(hosts: Hosts) -> None:
    hosts.publish("a", 10)
    hosts.publish("b", 10, 11, attempt=2)
    hosts.close("b")
    merged = hosts.merge()
    assert (merged.frames, merged.missing) == (20, [])
    assert hosts.units() == {(10, "a"), (11, "b")}


def test_of_different_images_of_a_sample_neither_counts_and_the_rest_is_merged(hosts: Hosts) -> None:
    hosts.publish("a", 10, 11)
    hosts.publish("b", 10, attempt=2, salt="x")
    hosts.publish("b", 12)
    hosts.close("a", "b")
    merged = hosts.merge()
    assert (merged.frames, merged.rowless) == (20, 20)
    assert len(merged.damaged) == 10
    assert "a-0.parquet and b-0.parquet have different images" in merged.damaged[0]
    assert hosts.units() == {(11, "a"), (12, "b")}


def test_what_is_gone_is_told_and_the_rest_kept(hosts: Hosts) -> None:
    hosts.publish("a", 10, 11)
    hosts.publish("b", 20)
    hosts.close("a")
    (hosts.layout("a").output / "shards" / f"algo-x.{hosts.pack.format}").touch()  # nobody names it
    os.truncate(hosts.layout("b").output / "shards" / "b-000000.images", 29)  # of ten images of 3 bytes
    merged = hosts.merge()
    assert merged.frames == 29
    assert merged.missing == ["frames/v/00000209.jpg"]
    assert len(check_packed(hosts.output)) == 29


def test_hosts_of_a_later_run_have_the_same_names(hosts: Hosts, tmp_path: Path) -> None:
    hosts.publish("a", 10, 11, 12)
    hosts.close("a")
    hosts.merge()
    later = Hosts(tmp_path / "later", hosts.pack.format)
    later.output = hosts.output
    later.publish("a", 20, 21, 22)
    later.close("a")
    later.merge()
    assert later.units() == {(unit, "a") for unit in (10, 11, 12, 20, 21, 22)}


@pytest.mark.parametrize("steps", range(18))
def test_a_merge_that_is_cut_short_begins_again(
    hosts: Hosts, tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is cut at a change of the disk, and done again; before, a job of the same names was merged."""
    first = Hosts(tmp_path / "first", hosts.pack.format)
    first.output = hosts.output
    first.publish("a", 1, 2)
    first.close("a")
    first.merge()
    hosts.publish("a", 10, 11)
    hosts.publish("a", 12, committed=False)
    hosts.close("a")
    hosts.publish("b", 20)
    left = steps

    def counted(change: Callable[..., None]) -> Callable[..., None]:
        def counting(*arguments: object, **options: object) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt  # as a kill: nothing is cleaned up that catches errors
            change(*arguments, **options)

        return counting

    with monkeypatch.context() as patched:
        for name in ("replace", "rename", "link", "unlink"):
            patched.setattr(os, name, counted(getattr(os, name)))
        try:
            hosts.merge()
            was_cut = False
        except KeyboardInterrupt:
            was_cut = True
    assert was_cut or steps > 12
    hosts.merge()
    assert hosts.units() == {(1, "a"), (2, "a"), (10, "a"), (11, "a"), (20, "b")}


def test_another_disk_gets_copies(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str, target: str, **descriptors: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    hosts.publish("a", 10, 11)
    hosts.close("a")
    hosts.merge()
    assert hosts.units() == {(10, "a"), (11, "a")}


def test_nothing_is_written_or_taken_through_links_of_a_host(hosts: Hosts, tmp_path: Path) -> None:
    victim = tmp_path / "home" / "victim"
    victim.parent.mkdir()
    victim.write_bytes(b"precious")
    hosts.publish("a", 10, 11, 12)
    hosts.publish("b", 20)
    hosts.publish("c", 30)
    hosts.publish("c", 31, committed=False)  # its part is to be written again
    hosts.close("a", "b", "c")
    for host in ("b", "c"):
        staging = hosts.layout(host).staging
        shutil.rmtree(staging, ignore_errors=True)
        staging.symlink_to(victim.parent)
    for number, shard in enumerate(sorted((hosts.layout("b").output / "shards").iterdir())):
        shard.rename(tmp_path / f"taken-{number}")
        shard.symlink_to(tmp_path / f"taken-{number}")
    merged = hosts.merge()
    assert hosts.units() == {(10, "a"), (11, "a"), (12, "a"), (30, "c")}
    assert len(merged.missing) == 10
    assert [path.name for path in victim.parent.iterdir()] == ["victim"]
    assert victim.read_bytes() == b"precious"
