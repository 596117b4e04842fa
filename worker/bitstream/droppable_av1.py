"""The droppable packets of AV1: those whose shown frame refreshes no reference.

Everything that a frame leaves behind (pixels, probabilities, motion vectors, segments, loop filter and film
grain parameters) goes into the reference slots that its refresh_frame_flags name, and the decoder gives
each shown frame before it takes the next temporal unit. So a shown frame that names none can be left out.
The hidden frames that precede it in its temporal unit cannot; half of such frames that SVT-AV1 makes have
some. Clauses are those of the AV1 bitstream specification, version 1.0.0 with erratum 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from framefleet.worker.bitstream.bit_reader import Bits, OutOfBitsError

AV1C_BYTES: Final = 4  # of an AV1CodecConfigurationRecord, before its OBUs
AV1C_MARKER: Final = 0x81

# clause 6.2.2
OBU_SEQUENCE_HEADER: Final = 1
OBU_TEMPORAL_DELIMITER: Final = 2
OBU_FRAME_HEADER: Final = 3
OBU_TILE_GROUP: Final = 4
OBU_METADATA: Final = 5
OBU_FRAME: Final = 6
OBU_PADDING: Final = 15
METADATA_ITUT_T35: Final = 4  # HDR10+ and captions: of this frame; the other kinds hold on

# clauses 6.4.1 and 6.8.2
SELECT: Final = 2  # SELECT_SCREEN_CONTENT_TOOLS, SELECT_INTEGER_MV
INTER_FRAME: Final = 1
INTRA_ONLY_FRAME: Final = 2

MAX_SEQUENCE_BYTES: Final = 1024  # 32 operating points of at most 102 bits, and the rest
FRAME_HEADER_BYTES: Final = 192  # up to refresh_frame_flags, with 32 removal times of 32 bits


@dataclass(frozen=True, slots=True)
class Sequence:
    """What a sequence header says of the frame headers (clause 5.5).

    Attributes:
        still: reduced_still_picture_header: every frame is a keyframe.
        presentation_time_bits: bits of frame_presentation_time, 0 where shown frames have none.
        removal_time_bits: bits of buffer_removal_time; 0: there is no decoder model.
        operating_points: operating_point_idc of those with a decoder model.
        spatial_layers: some operating point has a spatial layer above the first.
        frame_id_bits: bits of current_frame_id; 0: there is none.
        screen_content: seq_force_screen_content_tools.
        integer_mv: seq_force_integer_mv.
        order_hint_bits: OrderHintBits.
    """

    still: bool
    presentation_time_bits: int
    removal_time_bits: int
    operating_points: tuple[int, ...]
    spatial_layers: bool
    frame_id_bits: int
    screen_content: int
    integer_mv: int
    order_hint_bits: int


class Role(Enum):
    """What a frame is to others."""

    HIDDEN = auto()  # not shown by its own temporal unit
    UNREFERENCED = auto()  # shown, and no frame refers to it
    OTHER = auto()  # a reference, a repetition, or not to be told


class Av1:
    """A classifier (see ``droppable.Classifier``) for AV1 in the low-overhead format."""

    def __init__(self, extradata: bytes) -> None:
        self._sequence: Sequence | None = None
        self._sequence_bytes = b""
        is_av1c = extradata[:1] == bytes([AV1C_MARKER])
        self.needed_bytes(extradata[AV1C_BYTES:] if is_av1c else extradata, False)

    def needed_bytes(self, data: bytes | memoryview, is_keyframe: bool) -> int:
        """See ``droppable.Classifier``."""
        size = len(data)
        try:
            needed = self._before_unreferenced(data)
        except (IndexError, OutOfBitsError):
            return size
        return size if needed is None or is_keyframe else needed

    def _before_unreferenced(self, data: bytes | memoryview) -> int | None:
        """How many bytes precede the unreferenced frame with which a temporal unit ends; 0: no frame does.

        None: it does not end with one. Clauses 5.3 to 5.10.

        Raises:
            IndexError: an OBU reaches beyond the unit.
            OutOfBitsError: a header does.
        """
        role = None  # of the latest frame
        needed = 0
        metadata = False
        at, size = 0, len(data)
        while at < size:
            start = at
            header = data[at]
            kind = header >> 3 & 15
            at += 1
            temporal_id = spatial_id = 0
            if header & 4:
                temporal_id, spatial_id = data[at] >> 5, data[at] >> 3 & 3
                at += 1
            length = size - at
            if header & 2:
                length, at = _leb128(data, at)
            end = at + length
            if end > size or header & 0x80:
                raise IndexError
            if kind in (OBU_FRAME, OBU_FRAME_HEADER):
                if role is Role.HIDDEN:
                    needed = start
                elif role is not None:
                    return None
                unit = bytes(data[at : min(end, at + FRAME_HEADER_BYTES)])
                role = self._role(unit, temporal_id, spatial_id)
                if role is Role.OTHER:
                    return None
            elif kind == OBU_SEQUENCE_HEADER:
                self._learn(bytes(data[at : min(end, at + MAX_SEQUENCE_BYTES)]))
                role = Role.OTHER
            elif kind == OBU_METADATA:
                metadata = True
                if _leb128(data, at)[0] != METADATA_ITUT_T35:
                    return None
            elif kind not in (OBU_TEMPORAL_DELIMITER, OBU_TILE_GROUP, OBU_PADDING):
                return None
            at = end
        if role is not Role.UNREFERENCED or (metadata and needed):
            return None  # metadata before hidden frames would stay for another frame
        return needed

    def _learn(self, unit: bytes) -> None:
        if unit != self._sequence_bytes:
            self._sequence, self._sequence_bytes = None, unit
            self._sequence = _sequence(Bits(unit))

    def _role(self, unit: bytes, temporal_id: int, spatial_id: int) -> Role:
        """Read a frame header up to refresh_frame_flags (clause 5.9.2).

        Raises:
            OutOfBitsError: it ends before.
        """
        sequence = self._sequence
        if sequence is None or sequence.still or sequence.spatial_layers or spatial_id:
            return Role.OTHER
        bits = Bits(unit)
        if bits.flag():  # show_existing_frame
            return Role.OTHER
        frame_type = bits.read(2)
        if not bits.flag():  # show_frame
            return Role.HIDDEN
        if frame_type not in (INTER_FRAME, INTRA_ONLY_FRAME):
            return Role.OTHER
        bits.read(sequence.presentation_time_bits)
        error_resilient = bits.flag()
        bits.read(1)  # disable_cdf_update
        screen_content = sequence.screen_content
        if screen_content == SELECT:
            screen_content = bits.read(1)
        if screen_content and sequence.integer_mv == SELECT:
            bits.read(1)
        bits.read(sequence.frame_id_bits)
        bits.read(1)  # frame_size_override_flag
        bits.read(sequence.order_hint_bits)
        if frame_type == INTER_FRAME and not error_resilient:
            bits.read(3)  # primary_ref_frame
        if sequence.removal_time_bits and bits.flag():
            for point in sequence.operating_points:
                # spatial_id is 0
                if not point or (point >> temporal_id & 1 and point >> 8 & 1):
                    bits.read(sequence.removal_time_bits)
        return Role.OTHER if bits.read(8) else Role.UNREFERENCED


def _sequence(bits: Bits) -> Sequence:
    """Read a sequence header.

    Raises:
        OutOfBitsError: it is cut short or damaged.
    """
    bits.read(4)  # seq_profile, still_picture
    still = bits.flag()
    presentation_time_bits = removal_time_bits = delay_bits = 0
    points: list[int] = []
    with_model: list[int] = []
    if still:
        bits.read(5)  # seq_level_idx
    else:
        if bits.flag():
            bits.read(64)  # timing_info
            equal_interval = bits.flag()
            if equal_interval:
                bits.golomb()
            if bits.flag():
                delay_bits = bits.read(5) + 1
                bits.read(32)
                removal_time_bits = bits.read(5) + 1
                time_bits = bits.read(5) + 1
                presentation_time_bits = 0 if equal_interval else time_bits
        display_delays = bits.flag()
        for _ in range(bits.read(5) + 1):
            point = bits.read(12)
            points.append(point)
            if bits.read(5) > 7:
                bits.read(1)  # seq_tier
            if removal_time_bits and bits.flag():
                with_model.append(point)
                bits.read(2 * delay_bits + 1)
            if display_delays and bits.flag():
                bits.read(4)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    bits.read(width_bits + height_bits)
    frame_id_bits = 0
    if not still and bits.flag():
        frame_id_bits = bits.read(4) + 2
        frame_id_bits += bits.read(3) + 1
    bits.read(3)  # use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter
    screen_content = integer_mv = SELECT
    order_hint_bits = 0
    if not still:
        bits.read(4)  # interintra, masked compound, warped motion, dual filter
        order_hints = bits.flag()
        if order_hints:
            bits.read(2)  # jnt_comp, ref_frame_mvs
        if not bits.flag():
            screen_content = bits.read(1)
        if screen_content and not bits.flag():
            integer_mv = bits.read(1)
        if order_hints:
            order_hint_bits = bits.read(3) + 1
    return Sequence(
        still=still,
        presentation_time_bits=presentation_time_bits,
        removal_time_bits=removal_time_bits,
        operating_points=tuple(with_model),
        spatial_layers=any(point >> 9 for point in points),
        frame_id_bits=frame_id_bits,
        screen_content=screen_content,
        integer_mv=integer_mv,
        order_hint_bits=order_hint_bits,
    )


def _leb128(data: bytes | memoryview, at: int) -> tuple[int, int]:
    """The number at ``at`` and where it ends (clause 4.10.5).

    Raises:
        IndexError: it does not end.
    """
    value = 0
    for shift in range(0, 56, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise IndexError
