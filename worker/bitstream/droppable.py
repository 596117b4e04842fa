"""Which packets can be left out of decoding without a trace in any other frame, told by their bytes alone.

A packet is *droppable* if it holds exactly one picture, no other picture refers to that one, and nothing
else in the packet outlives it (parameter sets, say); in AV1, also the part of a packet behind its hidden
pictures. Whether the decoder is not given it, or leaves it out itself (skip_frame=NONREF, which libdav1d
has not), makes no difference. Leaving droppable packets out, all of them or any
of them, changes no other frame. In doubt a packet is not droppable; that holds for damaged and hostile
bytes too, which raise nothing.

Not told, so that every packet counts as a reference: VP9, where frames that refresh nothing still adapt
probabilities and give motion vectors to the next; VP8, whose refresh flags lie behind arithmetic coding
and whose segment map outlives a frame; MPEG-4 part 2, whose decoder learns of encoders' bugs from the
slices of every frame, and whose packets may hold a frame of another packet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, Protocol, TypeAlias

from framefleet.worker.bitstream.bit_reader import Bits, OutOfBitsError, without_emulation
from framefleet.worker.bitstream.droppable_av1 import Av1
from framefleet.worker.bitstream.h264_sps import SliceFormat, slice_format

Data: TypeAlias = bytes | memoryview

START_CODE: Final = re.compile(b"\0\0\1")  # as a pattern, since it can search a memoryview, and is faster
PARAMETER_SET_BYTES: Final = 1024  # of a parameter set, enough for the fields that matter here
SLICE_HEADER_BYTES: Final = 24  # the same of a slice

# H.264 table 7-1
AVC_SLICE: Final = 1
AVC_SPS: Final = 7
AVC_NO_STATE: Final = frozenset([6, 9, 12])  # SEI (of its own picture), access unit delimiter, filler

# H.265 table 7-1. Below 16 the even types are sub-layer non-reference pictures: the very ones that
# libavcodec leaves out under skip_frame=NONREF (ff_hevc_nal_is_nonref).
HEVC_FIRST_IRAP: Final = 16
HEVC_SPS: Final = 33
# delimiter, filler, SEI before and behind its picture, Dolby Vision's metadata and enhancement layer
HEVC_NO_STATE: Final = frozenset([35, 38, 39, 40, 62, 63])

# ISO/IEC 13818-2 table 6-1: pictures and extensions, and what may not come with a B-picture: sequences
# and groups
MPEG2_CODES: Final = re.compile(b"\0\0\1[\0\xb3\xb5\xb7\xb8]")
MPEG2_PICTURE: Final = 0x00
MPEG2_EXTENSION: Final = 0xB5
MPEG2_TYPE_B: Final = 3
MPEG2_PAN_SCAN: Final = 7
MPEG2_PICTURE_CODING: Final = 8
MPEG2_FRAME: Final = 3


class Classifier(Protocol):
    """Tells the droppable packets of one stream.

    It learns from headers in the packets: it must be shown every packet that is decoded, in the order of
    decoding, but may be taken back to any keyframe.
    """

    def needed_bytes(self, data: Data, is_keyframe: bool) -> int:
        """How many of a packet's first bytes must be decoded even if its frame is not wanted.

        All of them: it is not droppable; no keyframe is. 0: it need not be given to the decoder. In
        between, in AV1 alone: its frame follows hidden ones, which are needed.
        """


def classifier_for(codec: str, extradata: bytes | None) -> Classifier | None:
    """The classifier for a stream, by the name of its decoder in libavcodec and its global headers.

    None: nothing is known of this codec, and no packet is droppable.
    """
    extradata = extradata or b""
    if codec == "h264":
        return Avc(extradata)
    if codec == "hevc":
        return Hevc(extradata)
    if codec in ("mpeg1video", "mpeg2video"):
        return Mpeg2()
    if codec == "libdav1d":
        return Av1(extradata)
    return None


class Avc:
    """H.264: a picture whose slices have nal_ref_idc 0, in a stream that tells its reordering depth.

    Field pictures are not droppable: each of the two fields may have a packet of its own, but one frame.
    """

    def __init__(self, extradata: bytes) -> None:
        self._length_bytes = (extradata[4] & 3) + 1 if len(extradata) >= 7 and extradata[0] == 1 else 0
        self._format: SliceFormat | None = None
        self._unknown = False
        try:
            for start in _avcc_sps(extradata) if self._length_bytes else _annex_b(extradata):
                if extradata[start] & 31 == AVC_SPS:
                    self._learn(extradata, start)
        except (IndexError, OutOfBitsError):
            pass

    def needed_bytes(self, data: Data, is_keyframe: bool) -> int:
        """See ``Classifier``."""
        size = len(data)
        return 0 if size and self._is_droppable(data) and not is_keyframe else size

    def _is_droppable(self, data: Data) -> bool:
        pictures = 0
        try:
            for start in _nal_units(data, self._length_bytes):
                header = data[start]
                kind = header & 31
                if kind == AVC_SLICE:
                    if header & 0x60:
                        return False
                    pictures += data[start + 1] >> 7  # first_mb_in_slice is 0
                    if pictures != 1 or not self._is_whole_frame(data, start):
                        return False
                elif kind == AVC_SPS:
                    self._learn(data, start)
                    return False
                elif kind not in AVC_NO_STATE:
                    return False
        except (IndexError, OutOfBitsError):
            return False
        return pictures == 1

    def _learn(self, data: Data, start: int) -> None:
        try:
            found = slice_format(bytes(data[start : start + PARAMETER_SET_BYTES]))
        except OutOfBitsError:
            self._unknown = True
            return
        # which of several parameter sets a slice obeys is not followed
        if self._format is not None and found != self._format:
            self._unknown = True
        self._format = found

    def _is_whole_frame(self, data: Data, start: int) -> bool:
        known = self._format
        if known is None or self._unknown or not known.tells_reordering:
            return False
        if known.frames_only:
            return True
        header = Bits(without_emulation(bytes(data[start + 1 : start + 1 + SLICE_HEADER_BYTES])))
        for _ in ("first_mb_in_slice", "slice_type", "pic_parameter_set_id"):
            header.golomb()
        header.read(known.colour_plane_bits + known.frame_num_bits)
        return not header.flag()  # field_pic_flag


class Hevc:
    """H.265: a sub-layer non-reference picture of the highest temporal sub-layer.

    Pictures of higher sub-layers may refer to those of lower ones. How many sub-layers there are is taken
    from the sequence parameter sets, and from any packet that has a higher TemporalId.
    """

    def __init__(self, extradata: bytes) -> None:
        is_hvcc = len(extradata) > 22 and extradata[:3] > b"\0\0\1"
        self._length_bytes = (extradata[21] & 3) + 1 if is_hvcc else 0
        self._top: int | None = None  # the highest TemporalId
        try:
            for start in _hvcc_units(extradata) if is_hvcc else _annex_b(extradata):
                if extradata[start] >> 1 & 63 == HEVC_SPS:
                    self._learn(extradata, start)
        except IndexError:
            pass

    def needed_bytes(self, data: Data, is_keyframe: bool) -> int:
        """See ``Classifier``."""
        size = len(data)
        return 0 if size and self._is_droppable(data) and not is_keyframe else size

    def _is_droppable(self, data: Data) -> bool:
        pictures = 0
        try:
            for start in _nal_units(data, self._length_bytes):
                kind = data[start] >> 1 & 63
                layer_and_time = data[start + 1]
                if data[start] & 1 or layer_and_time >> 3:  # nuh_layer_id: other views, alpha, quality
                    return False
                if kind < HEVC_FIRST_IRAP:
                    if self._top is None:
                        return False
                    temporal_id = (layer_and_time & 7) - 1
                    self._top = max(self._top, temporal_id)
                    if kind & 1 or temporal_id != self._top:
                        return False
                    pictures += data[start + 2] >> 7  # first_slice_segment_in_pic_flag
                    if pictures != 1:
                        return False
                elif kind == HEVC_SPS:
                    self._learn(data, start)
                    return False
                elif kind not in HEVC_NO_STATE:
                    return False
        except IndexError:
            return False
        return pictures == 1

    def _learn(self, data: Data, start: int) -> None:
        top = data[start + 2] >> 1 & 7  # sps_max_sub_layers_minus1
        self._top = top if self._top is None else max(self._top, top)


class Mpeg2:
    """MPEG-1 and MPEG-2: a B-picture that is a whole frame."""

    def needed_bytes(self, data: Data, is_keyframe: bool) -> int:
        """See ``Classifier``."""
        size = len(data)
        return 0 if size and self._is_droppable(data) and not is_keyframe else size

    def _is_droppable(self, data: Data) -> bool:
        pictures = 0
        try:
            for match in MPEG2_CODES.finditer(data):
                end = match.end()
                code = data[end - 1]
                if code == MPEG2_PICTURE:
                    pictures += 1
                    if pictures > 1 or data[end + 1] >> 3 & 7 != MPEG2_TYPE_B:
                        return False
                elif code == MPEG2_EXTENSION:
                    kind = data[end] >> 4
                    if kind == MPEG2_PICTURE_CODING:
                        if data[end + 2] & 3 != MPEG2_FRAME:
                            return False
                    elif kind != MPEG2_PAN_SCAN:
                        return False  # quantiser matrices, say, that hold on
                else:
                    return False
        except IndexError:
            return False
        return pictures == 1


def _nal_units(data: Data, length_bytes: int) -> Iterator[int]:
    """Where the NAL units of a packet begin; ``length_bytes`` 0: behind start codes.

    Raises:
        IndexError: a unit is empty or reaches beyond the packet.
    """
    if not length_bytes:
        yield from _annex_b(data)
        return
    at, size = 0, len(data)
    while at < size:
        start = at + length_bytes
        at = start + int.from_bytes(data[at:start], "big")
        if not start < at <= size:
            raise IndexError
        yield start


def _annex_b(data: Data) -> Iterator[int]:
    for match in START_CODE.finditer(data):
        yield match.end()


def _avcc_sps(extradata: bytes) -> Iterator[int]:
    """Where the sequence parameter sets of an AVCDecoderConfigurationRecord begin (ISO/IEC 14496-15)."""
    at = 6
    for _ in range(extradata[5] & 31):
        yield at + 2
        at += 2 + int.from_bytes(extradata[at : at + 2], "big")


def _hvcc_units(extradata: bytes) -> Iterator[int]:
    """Where the NAL units of an HEVCDecoderConfigurationRecord begin (ISO/IEC 14496-15)."""
    at = 23
    for _ in range(extradata[22]):
        count = int.from_bytes(extradata[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            yield at + 2
            at += 2 + int.from_bytes(extradata[at : at + 2], "big")
