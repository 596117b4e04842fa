"""Reads an export as its documentation says, with FiftyOne itself, in whose environment this runs.

    python tests/helpers/fiftyone_reader.py FOLDER

Prints a JSON object for each sample, and at last the names of videos in the order of ``group_by``.
"""

from __future__ import annotations

import json
import sys

import fiftyone as fo


def main() -> None:
    dataset = fo.Dataset.from_dir(dataset_dir=sys.argv[1], dataset_type=fo.types.FiftyOneDataset)
    samples = []
    for sample in dataset:
        told = dict(sample.iter_fields(include_id=False))
        told["metadata"] = told["metadata"].to_dict()
        samples.append({name: told[name] for name in FIELDS})
    dataset.compute_metadata(overwrite=True)  # it opens the images
    measured = [[each.metadata.width, each.metadata.height, each.metadata.size_bytes] for each in dataset]
    suspect = len(dataset.match_tags("suspect"))
    groups = [
        [each["frame_number"] for each in group]
        for group in dataset.group_by("video", order_by="frame_number").iter_dynamic_groups()
    ]
    told = {"samples": samples, "measured": measured, "suspect": suspect, "groups": groups}
    print(json.dumps(told))


FIELDS = (
    "filepath",
    "tags",
    "metadata",
    "video",
    "frame_number",
    "sample",
    "timestamp",
    "status",
)

if __name__ == "__main__":
    main()
