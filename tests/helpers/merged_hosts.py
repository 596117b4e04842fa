"""Outputs of hosts, made by hand and merged: files of text, rows, and journals that commit them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from framefleet.common.job.spec import SamplingOptions
from framefleet.launcher.output.merge import HostOutput, Merged, merge

Row = tuple[str, int, int]  # file, unit, attempt


class Hosts:
    """Builds hosts' output folders and merges them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "merged"
        self.output.mkdir()
        self.hosts: list[HostOutput] = []

    def add(
        self, host: str, rows: list[Row], *, contents: dict[str, str] | None = None, by: str = ""
    ) -> Path:
        """A host with one manifest part; every file of a row exists unless ``contents`` says otherwise.
        ``by``: in whose name its rows are, if not its own."""
        root = self.folder / host
        (root / "manifest").mkdir(parents=True)
        for file, content in ({row[0]: row[0] for row in rows} if contents is None else contents).items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).write_text(content)
        schema = pa.schema(
            [
                ("video", pa.string()),
                ("sample", pa.int64()),
                ("file", pa.string()),
                ("shard", pa.string()),
                ("unit", pa.int64()),
                ("attempt", pa.int32()),
                ("host", pa.string()),
            ],
            metadata={"made-by": "test"},
        )
        files = [file for file, _, _ in rows]
        units, attempts = [unit for _, unit, _ in rows], [attempt for _, _, attempt in rows]
        videos = [f"{file.split('/')[1]}.mp4" if "/" in file else "v.mp4" for file in files]
        samples = [int(number) if (number := Path(file).stem).isdecimal() else 99 for file in files]
        nothing = [None] * len(rows)
        columns = [videos, samples, files, nothing, units, attempts, [by or host] * len(rows)]
        table = pa.table(columns, schema=schema)
        pq.write_table(table, root / "manifest" / f"{host}-0.parquet")
        self.hosts.append(HostOutput(host, root))
        return root

    def commit(self, host: str, *attempts: tuple[int, int, str, int], tail: str = "", **more: object) -> None:
        """Give ``host`` a journal: unit, attempt, host and frames of what was committed, and ``more``."""
        job = self.folder / host / "job"
        job.mkdir()
        entries = [
            {"t_s": 0.5, "event": "committed", "unit": unit, "attempt": attempt, "host": by, "frames": frames}
            | more
            for unit, attempt, by, frames in attempts
        ]
        lines = [
            {"event": "start", "job": "committed"},
            *entries,
            {"event": "failed", "unit": 0, "attempt": 1},
        ]
        (job / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)

    def merge(self, *, mode: str = "coordinated", fps: str = "5") -> Merged:
        assert mode in ("coordinated", "sharded")
        return merge(
            self.hosts,
            self.output,
            mode=mode,  # type: ignore[arg-type]
            primary="a",
            sampling=SamplingOptions(fps=fps),
        )

    def frames(self) -> dict[str, str]:
        return {
            path.relative_to(self.output).as_posix(): path.read_text()
            for path in (self.output / "frames").rglob("*")
            if path.is_file()
        }

    def rows(self) -> set[tuple[str, str]]:
        table = pq.read_table(self.output / "manifest")
        return set(zip(table["file"].to_pylist(), table["host"].to_pylist(), strict=True))
