"""Headers of video bitstreams, written bit by bit."""

from __future__ import annotations

import re


class Bits:
    """Bits, most significant first."""

    def __init__(self) -> None:
        self.text = ""

    def put(self, value: int, count: int = 1) -> Bits:
        self.text += f"{value:0{count}b}" if count else ""
        return self

    def golomb(self, *values: int) -> Bits:
        for value in values:
            digits = f"{value + 1:b}"
            self.text += "0" * (len(digits) - 1) + digits
        return self

    def done(self) -> bytes:
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        return bytes(int(text[at : at + 8], 2) for at in range(0, len(text), 8))


def avc_sps(
    *,
    frames_only: bool = True,
    high: bool = False,
    poc_type: int = 0,
    planes: bool = False,
    vui: bool = True,
    full_vui: bool = False,
    restriction: bool = True,
) -> bytes:
    """A sequence parameter set whose frame_num has 7 bits."""
    bits = Bits().put(244 if planes else 100 if high else 66, 8).put(0, 8).put(30, 8).golomb(0)
    if high or planes:
        bits.golomb(3 if planes else 1)
        if planes:
            bits.put(1)
        bits.golomb(0, 0).put(0).put(1)
        bits.put(1).golomb(2, *[0] * 15)  # a scaling list whose first delta is -1, and no others
        bits.put(1).golomb(16)  # one that ends with its first delta, -8
        bits.put(0, 10 if planes else 6)
    bits.golomb(3, poc_type)
    if poc_type == 0:
        bits.golomb(2)
    elif poc_type == 1:
        bits.put(0).golomb(5, 6, 2, 7, 8)
    bits.golomb(4).put(0).golomb(9, 7).put(int(frames_only))
    if not frames_only:
        bits.put(1)
    bits.put(1).put(1).golomb(0, 0, 0, 4).put(int(vui))
    if vui and full_vui:
        bits.put(1).put(255, 8).put(1, 32).put(3, 2).put(1).put(11, 4).put(1).put(0x010101, 24)
        bits.put(1).golomb(1, 2).put(1).put(25, 65)
        for _ in ("nal", "vcl"):
            bits.put(1).golomb(1).put(0x44, 8).golomb(8, 9).put(0).golomb(7, 6).put(1).put(0x5A5A5, 20)
        bits.put(0)
    elif vui:
        bits.put(0, 7)
    if vui:
        bits.put(0).put(int(restriction))
    return b"\x67" + re.sub(b"\0\0(?=[\0-\3])", b"\0\0\3", bits.put(0, 3).done())
