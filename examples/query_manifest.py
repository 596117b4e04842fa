"""Questions to a job's manifest, in SQL: ``python examples/query_manifest.py OUTPUT``."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

QUERIES = {
    "frames, bytes and suspect frames of each video": """
        SELECT video, count(file) AS frames, sum(bytes) AS bytes,
               count(*) FILTER (status = 'suspect') AS suspect
        FROM manifest GROUP BY video ORDER BY video
    """,
    "the frame on screen at 1.5 s of each video": """
        SELECT video, max_by(file, time_s) AS file, max(time_s) AS time_s
        FROM manifest WHERE file IS NOT NULL AND time_s <= 1.5 GROUP BY video ORDER BY video
    """,
    "one frame in ten, the same ones whenever this is asked": """
        SELECT count(*) AS frames FROM manifest WHERE file IS NOT NULL AND hash(video, sample) % 10 = 0
    """,
}


def main() -> None:
    pattern = f"{Path(sys.argv[1])}/manifest/**/*.parquet"
    database = duckdb.connect()
    database.read_parquet(pattern).create_view("manifest")
    for title, query in QUERIES.items():
        print(title)
        print(database.sql(query))


if __name__ == "__main__":
    main()
