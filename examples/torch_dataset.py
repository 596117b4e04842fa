"""Frames of a job as a PyTorch dataset: ``python examples/torch_dataset.py OUTPUT``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.dataset as ds
import torch
from torch.utils.data import DataLoader, Dataset


class Frames(Dataset[tuple[torch.Tensor, dict[str, Any]]]):
    """The frames of an output as (uint8 tensor of shape (3, height, width) in RGB, what the manifest tells).

    ``where`` filters rows of the manifest, by default those that are not suspect. Images may be loose, or in
    shards of either kind.
    """

    COLUMNS = ("video", "sample", "time_s", "file", "shard", "place", "bytes")

    def __init__(self, output: Path, where: Any = ds.field("status") == "ok") -> None:  # noqa: B008
        table = ds.dataset(output / "manifest", format="parquet").to_table(list(self.COLUMNS), filter=where)
        self._rows = table.sort_by([("file", "ascending")]).combine_chunks()
        self._output = output

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, Any]]:
        row = self._rows.slice(index, 1).to_pylist()[0]
        image = cv2.imdecode(np.frombuffer(self._read(row), np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{row['file']} holds no image")
        return torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).permute(2, 0, 1), row

    def _read(self, row: dict[str, Any]) -> bytes:
        """The bytes of an image: a file, or a part of a tar, or a row of a Parquet file."""
        if row["shard"] is None:
            return (self._output / row["file"]).read_bytes()
        if row["shard"].endswith(".parquet"):
            shard = ds.dataset(self._output / row["shard"], format="parquet")
            (image,) = shard.take([row["place"]], columns=["image"])["image"].to_pylist()
            data: bytes = image["bytes"]
            return data
        with (self._output / row["shard"]).open("rb") as tar:
            tar.seek(row["place"])
            return tar.read(row["bytes"])


def as_lists(
    batch: list[tuple[torch.Tensor, dict[str, Any]]],
) -> tuple[list[torch.Tensor], list[dict[str, Any]]]:
    """A batch whose images may differ in size, as those of different videos do."""
    return [image for image, _ in batch], [row for _, row in batch]


def main() -> None:
    frames = Frames(Path(sys.argv[1]))
    print(len(frames), "frames")
    for images, rows in DataLoader(frames, batch_size=4, collate_fn=as_lists):
        shapes = sorted({tuple(image.shape) for image in images})
        print(len(images), shapes, images[0].dtype, rows[0]["video"], [row["sample"] for row in rows])


if __name__ == "__main__":
    main()
