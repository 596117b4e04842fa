"""Reading headers bit by bit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from framefleet.worker.bitstream.bit_reader import Bits, OutOfBitsError, without_emulation
from tests.helpers import bitstream_headers as headers


def test_bits_are_read_from_the_most_significant_on() -> None:
    bits = Bits(b"\xa5\x0f")
    assert (bits.read(3), bits.flag(), bits.read(0), bits.read(12)) == (0b101, False, 0, 0x50F)
    with pytest.raises(OutOfBitsError):
        bits.read(1)


@given(st.lists(st.integers(0, 2**32 - 2)))
def test_exponential_golomb_numbers(values: list[int]) -> None:
    bits = Bits(headers.Bits().golomb(*values).done())
    assert [bits.golomb() for _ in values] == values


def test_an_endless_golomb_number_is_refused() -> None:
    with pytest.raises(OutOfBitsError):
        Bits(bytes(100)).golomb()


def test_emulation_prevention_is_undone() -> None:
    assert without_emulation(b"\x01\0\0\3\0\0\3\1\3") == b"\x01\0\0\0\0\1\3"
