"""The rows of an output, as each tool for tables reads them, held against the images.

python -m tests.helpers.manifest_readers OUTPUT
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import duckdb
import pandas
import polars
from pyarrow.dataset import dataset

IMAGE = ["file", "bytes", "sha256"]
COLUMNS = [*IMAGE, "video", "sample", "time_s", "status"]  # texts, dictionaries and numbers


def main(output: Path) -> None:
    folder = output / "manifest"
    parts = f"{folder}/*.parquet"
    rows: dict[str, list[tuple[Any, ...]]] = {
        "pyarrow": [tuple(row.values()) for row in dataset(folder).to_table(COLUMNS).to_pylist()],
        "pandas": list(pandas.read_parquet(folder)[COLUMNS].itertuples(index=False, name=None)),
        "polars": polars.read_parquet(parts).select(COLUMNS).rows(),
        "duckdb": duckdb.execute(f"select {', '.join(COLUMNS)} from '{parts}'").fetchall(),
    }
    images = [path for path in (output / "frames").rglob("*") if path.is_file()]
    truth = sorted((path.relative_to(output).as_posix(), *_size_and_hash(path)) for path in images)
    assert truth == sorted(row[: len(IMAGE)] for row in rows["pyarrow"])
    for reader, found in rows.items():
        assert sorted(found) == sorted(rows["pyarrow"]), f"{reader} reads something else than pyarrow"
    print(f"{len(truth)} rows, by {', '.join(rows)}")


def _size_and_hash(path: Path) -> tuple[int, str]:
    data = path.read_bytes()
    return len(data), hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
