"""Reading the headers of video bitstreams bit by bit."""

from __future__ import annotations

from typing import Final

MAX_GOLOMB_ZEROS: Final = 32  # a longer prefix is no number that any header holds


class OutOfBitsError(Exception):
    """The header ends before its last field, or holds a number that none may hold."""


class Bits:
    """The bits of some bytes, from the most significant one of the first byte on."""

    __slots__ = ("_left", "_value")

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def read(self, count: int) -> int:
        """The next ``count`` bits as an unsigned number.

        Raises:
            OutOfBitsError: fewer are left.
        """
        self._left -= count
        if self._left < 0:
            raise OutOfBitsError
        return self._value >> self._left & ((1 << count) - 1)

    def flag(self) -> bool:
        """The next bit.

        Raises:
            OutOfBitsError: none is left.
        """
        return self.read(1) == 1

    def golomb(self) -> int:
        """The next unsigned Exp-Golomb number: ue(v) of H.264 clause 9.1, uvlc() of AV1 clause 4.10.3.

        A signed one, se(v), takes as many bits.

        Raises:
            OutOfBitsError: it does not end.
        """
        zeros = 0
        while not self.flag():
            zeros += 1
            if zeros > MAX_GOLOMB_ZEROS:
                raise OutOfBitsError
        return (1 << zeros) - 1 + self.read(zeros)


def without_emulation(data: bytes) -> bytes:
    """The payload of a NAL unit: without the bytes that keep start codes out of it (H.264 clause 7.4.1)."""
    return data.replace(b"\0\0\3", b"\0\0")
