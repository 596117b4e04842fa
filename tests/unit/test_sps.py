"""H.264's sequence parameter sets, as far as they are read."""

from __future__ import annotations

import pytest

from tests.headers import avc_sps
from worker.bits import OutOfBitsError
from worker.sps import SliceFormat, slice_format


def test_the_format_of_slices_is_read_from_the_parameter_set() -> None:
    assert slice_format(avc_sps(high=True)) == SliceFormat(True)
    assert slice_format(avc_sps(frames_only=False)) == SliceFormat(False, 0, 7)
    assert slice_format(avc_sps(frames_only=False, planes=True)) == SliceFormat(False, 2, 7)
    with pytest.raises(OutOfBitsError):
        slice_format(avc_sps()[:6])
