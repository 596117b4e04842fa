"""What the sequence parameter set of H.264 (clause 7.3.2.1.1) says of the headers of slices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from worker.bits import Bits, OutOfBitsError, without_emulation

# profile_idc of those that tell a chroma format
WITH_CHROMA_FORMAT: Final = frozenset([44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 144, 244])
CHROMA_444: Final = 3
MAX_POC_CYCLE: Final = 255  # num_ref_frames_in_pic_order_cnt_cycle


@dataclass(frozen=True, slots=True)
class SliceFormat:
    """How to find a slice's field_pic_flag.

    Attributes:
        frames_only: there is none, since every picture is a frame.
        colour_plane_bits: bits of colour_plane_id, which precedes frame_num.
        frame_num_bits: bits of frame_num, which the flag follows.
    """

    frames_only: bool
    colour_plane_bits: int = 0
    frame_num_bits: int = 0


def slice_format(unit: bytes) -> SliceFormat:
    """Read a sequence parameter set, given from its NAL unit's header on; what follows it does not matter.

    Raises:
        OutOfBitsError: it is cut short or damaged.
    """
    bits = Bits(without_emulation(unit))
    bits.read(8)
    profile = bits.read(8)
    bits.read(16)  # constraints, level
    bits.golomb()  # seq_parameter_set_id
    colour_plane_bits = 0
    if profile in WITH_CHROMA_FORMAT:
        colour_plane_bits = _skip_chroma_format(bits)
    frame_num_bits = bits.golomb() + 4
    _skip_picture_order(bits)
    bits.golomb()  # max_num_ref_frames
    bits.read(1)  # gaps_in_frame_num_value_allowed_flag
    bits.golomb()  # width
    bits.golomb()  # height
    if bits.flag():
        return SliceFormat(frames_only=True)
    return SliceFormat(False, colour_plane_bits, frame_num_bits)


def _skip_chroma_format(bits: Bits) -> int:
    """Skip the fields of the high profiles; give the bits of a slice's colour_plane_id."""
    colour_plane_bits = 0
    chroma_format = bits.golomb()
    if chroma_format == CHROMA_444 and bits.flag():
        colour_plane_bits = 2
    bits.golomb()  # luma depth
    bits.golomb()  # chroma depth
    bits.read(1)  # qpprime_y_zero_transform_bypass_flag
    if bits.flag():
        for index in range(12 if chroma_format == CHROMA_444 else 8):
            if bits.flag():
                _skip_scaling_list(bits, 16 if index < 6 else 64)
    return colour_plane_bits


def _skip_scaling_list(bits: Bits, size: int) -> None:
    last = 8
    for _ in range(size):
        code = bits.golomb()
        delta = (code + 1) // 2 if code & 1 else -(code // 2)
        last = (last + delta) & 255
        if last == 0:
            return


def _skip_picture_order(bits: Bits) -> None:
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()  # log2_max_pic_order_cnt_lsb_minus4
    elif kind == 1:
        bits.read(1)
        bits.golomb()
        bits.golomb()
        cycle = bits.golomb()
        if cycle > MAX_POC_CYCLE:
            raise OutOfBitsError
        for _ in range(cycle):
            bits.golomb()
