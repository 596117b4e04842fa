"""H.264's sequence parameter sets, as far as they are read."""

from __future__ import annotations

import pytest

from framefleet.worker.bitstream.bit_reader import OutOfBitsError
from framefleet.worker.bitstream.h264_sps import SliceFormat, slice_format
from tests.helpers.bitstream_headers import avc_sps


@pytest.mark.parametrize("full_vui", [False, True])
@pytest.mark.parametrize("restriction", [False, True])
@pytest.mark.parametrize("poc_type", [0, 1, 2])
def test_every_field_is_found_behind_the_others(full_vui: bool, restriction: bool, poc_type: int) -> None:
    for frames_only in (True, False):
        for high, planes in ((False, False), (True, False), (False, True)):
            unit = avc_sps(
                frames_only=frames_only,
                high=high,
                planes=planes,
                poc_type=poc_type,
                full_vui=full_vui,
                restriction=restriction,
            )
            assert slice_format(unit) == SliceFormat(frames_only, restriction, 2 if planes else 0, 7)


def test_without_usability_information_reordering_is_not_told() -> None:
    assert slice_format(avc_sps(vui=False)) == SliceFormat(True, False, 0, 7)


def test_a_set_that_is_cut_short_is_refused() -> None:
    with pytest.raises(OutOfBitsError):
        slice_format(avc_sps()[:6])
