"""What the sequence parameter set of H.264 (clause 7.3.2.1.1) says of slices and of their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from framefleet.worker.bitstream.bit_reader import Bits, OutOfBitsError, without_emulation

# profile_idc of those that tell a chroma format
WITH_CHROMA_FORMAT: Final = frozenset([44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 144, 244])
CHROMA_444: Final = 3
EXTENDED_SAR: Final = 255  # table E-1
MAX_CPB_COUNT: Final = 32
MAX_POC_CYCLE: Final = 255  # num_ref_frames_in_pic_order_cnt_cycle


@dataclass(frozen=True, slots=True)
class SliceFormat:
    """How to find a slice's field_pic_flag, and whether pictures may be left out.

    Attributes:
        frames_only: there is none, since every picture is a frame.
        tells_reordering: bitstream_restriction_flag. Without it libavcodec learns from the pictures that it
            decodes by how many it must delay its output, and loses those for which it learns it too late.
        colour_plane_bits: bits of colour_plane_id, which precedes frame_num.
        frame_num_bits: bits of frame_num, which the flag follows.
    """

    frames_only: bool
    tells_reordering: bool
    colour_plane_bits: int
    frame_num_bits: int


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
    frames_only = bits.flag()
    bits.read(1 if frames_only else 2)  # mb_adaptive_frame_field_flag, direct_8x8_inference_flag
    if bits.flag():
        for _ in range(4):
            bits.golomb()  # cropping
    tells_reordering = bits.flag() and _ends_in_bitstream_restriction(bits)
    return SliceFormat(frames_only, tells_reordering, colour_plane_bits, frame_num_bits)


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


def _ends_in_bitstream_restriction(bits: Bits) -> bool:
    """Skip the video usability information (clause E.1.1) up to bitstream_restriction_flag, and give that."""
    if bits.flag() and bits.read(8) == EXTENDED_SAR:
        bits.read(32)
    if bits.flag():
        bits.read(1)  # overscan_appropriate_flag
    if bits.flag():
        bits.read(4)  # video_format, video_full_range_flag
        if bits.flag():
            bits.read(24)  # colours
    if bits.flag():
        bits.golomb()  # chroma locations
        bits.golomb()
    if bits.flag():
        bits.read(65)  # timing
    with_hrd = False
    for _ in ("nal", "vcl"):
        if bits.flag():
            with_hrd = True
            _skip_hrd(bits)
    if with_hrd:
        bits.read(1)  # low_delay_hrd_flag
    bits.read(1)  # pic_struct_present_flag
    return bits.flag()


def _skip_hrd(bits: Bits) -> None:
    count = bits.golomb() + 1
    if count > MAX_CPB_COUNT:
        raise OutOfBitsError
    bits.read(8)
    for _ in range(count):
        bits.golomb()
        bits.golomb()
        bits.read(1)
    bits.read(20)
