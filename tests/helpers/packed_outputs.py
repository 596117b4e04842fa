"""Packed outputs, for tests: read to the end by ``tarfile`` and pyarrow, and compared with the manifest."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from framefleet.common.media import DROPPED
from framefleet.common.output.shard_fields import TOLD
from framefleet.common.output.shards import Readers

Image = dict[str, Any]  # "shard", "name", "sha256", "told"


def images(output: Path) -> list[Image]:
    """All images of all shards, in order."""
    found: list[Image] = []
    for path in sorted((output / "shards").iterdir()):
        found += _of_tar(path) if path.suffix == ".tar" else _of_parquet(path)
    return found


def _of_tar(path: Path) -> list[Image]:
    found: list[Image] = []
    with tarfile.open(path, "r|") as tar:
        for member in tar:
            assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
            assert (member.mode, member.type) == (0o644, tarfile.REGTYPE)
            stream = tar.extractfile(member)
            assert stream is not None
            data = stream.read()
            key, _, suffix = member.name.partition(".")
            if suffix == "json":
                assert found[-1]["name"].partition(".")[0] == key
                found[-1]["told"] = json.loads(data)
            else:
                digest = hashlib.sha256(data).hexdigest()
                found.append({"shard": f"shards/{path.name}", "name": member.name, "sha256": digest})
    assert path.read_bytes().endswith(bytes(1024)), "an archive ends with two blocks of nothing"
    return found


def _of_parquet(path: Path) -> list[Image]:
    return [
        {
            "shard": f"shards/{path.name}",
            "name": row["image"]["path"],
            "sha256": hashlib.sha256(row["image"]["bytes"]).hexdigest(),
            "told": {name: row[name] for name in TOLD},
        }
        for row in pq.read_table(path).to_pylist()
    ]


def check_packed(output: Path) -> dict[str, str]:
    """Manifest and shards agree in both directions, and no image is loose; names and their SHA-256."""
    found = images(output)
    rows = [
        row for part in sorted((output / "manifest").iterdir()) for row in pq.read_table(part).to_pylist()
    ]
    assert len({(row["video"], row["sample"]) for row in rows}) == len(rows), "a sample has two rows"
    assert all((row["file"] is None) == (row["status"] in DROPPED) for row in rows)
    rows = [row for row in rows if row["file"] is not None]
    by_name = {row["file"]: row for row in rows}
    assert len(by_name) == len(rows), "an image has two rows"
    names = {image["name"]: image["sha256"] for image in found}
    assert len(names) == len(found), "an image is in two places"
    assert {row["file"]: row["sha256"] for row in rows} == names
    assert {row["file"]: row["shard"] for row in rows} == {image["name"]: image["shard"] for image in found}
    for image in found:
        row = by_name[image["name"]]
        assert image["told"] == {name: row[name] for name in TOLD}
    with Readers(output) as readers:
        for row in rows:
            data = readers.read(row["shard"], row["file"], row["place"], row["bytes"])
            assert hashlib.sha256(data).hexdigest() == row["sha256"]
    frames = output / "frames"
    assert not [path for path in frames.rglob("*") if path.is_file()]
    return names
