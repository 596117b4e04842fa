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

    ``where`` filters rows of the manifest, by default those that are not suspect.
    """

    COLUMNS = ("video", "sample", "time_s", "file")

    def __init__(self, output: Path, where: Any = ds.field("status") == "ok") -> None:  # noqa: B008
        table = ds.dataset(output / "manifest", format="parquet").to_table(list(self.COLUMNS), filter=where)
        self._rows = table.sort_by([("file", "ascending")])
        self._output = output

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict[str, Any]]:
        row = self._rows.slice(index, 1).to_pylist()[0]
        image = cv2.imdecode(np.fromfile(self._output / row["file"], np.uint8), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError(f"{row['file']} holds no image")
        return torch.from_numpy(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)).permute(2, 0, 1), row


def main() -> None:
    frames = Frames(Path(sys.argv[1]))
    print(len(frames), "frames")
    for images, rows in DataLoader(frames, batch_size=4):
        print(tuple(images.shape), images.dtype, rows["video"][0], rows["sample"].tolist())


if __name__ == "__main__":
    main()
