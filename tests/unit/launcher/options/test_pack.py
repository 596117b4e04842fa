"""In what images are to lie, as the command line says it."""

from __future__ import annotations

import pytest

from framefleet.common.errors import UserError
from framefleet.common.job.image_options import ImageOptions
from framefleet.common.output.shard_fields import PackOptions
from framefleet.launcher.options.pack import make_pack


@pytest.mark.parametrize(
    ("form", "mib", "expected"),
    [
        (None, None, None),
        ("tar", None, PackOptions(format="tar", shard_bytes=128 * 2**20)),
        ("parquet", 7, PackOptions(format="parquet", shard_bytes=7 * 2**20)),
    ],
)
def test_what_is_asked_for(form: str | None, mib: int | None, expected: PackOptions | None) -> None:
    assert make_pack({"pack_format": form, "shard_mib": mib}, ImageOptions()) == expected


def test_a_size_without_shards_is_refused() -> None:
    with pytest.raises(UserError, match="--pack tar"):
        make_pack({"pack_format": None, "shard_mib": 64}, ImageOptions())


def test_names_of_files_are_refused_where_there_are_none() -> None:
    with pytest.raises(UserError, match="--pack tar makes none"):
        make_pack({"pack_format": "tar", "shard_mib": None}, ImageOptions(name_template="ffmpeg"))
