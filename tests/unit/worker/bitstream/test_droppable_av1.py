"""Droppable packets of AV1, by headers of every shape."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from framefleet.worker.bitstream.droppable_av1 import Av1
from tests.helpers.bitstream_headers import Bits


def obu(kind: int, payload: bytes, *, extension: int | None = None, sized: bool = True) -> bytes:
    head = bytes([kind << 3 | (extension is not None) << 2 | sized << 1])
    if extension is not None:
        head += bytes([extension])
    return head + (bytes([len(payload)]) if sized else b"") + payload


def is_droppable(classifier: Av1, data: bytes, is_keyframe: bool = False) -> bool:
    needed = classifier.needed_bytes(memoryview(data), is_keyframe)
    assert needed == classifier.needed_bytes(data, is_keyframe)
    return needed < len(data)


class Av1Stream:
    """The headers of an AV1 stream, drawn field by field."""

    def __init__(self, draw: Callable[[int], int]) -> None:
        self.draw = draw
        self.timing, self.equal = draw(1), draw(1)
        self.model = self.timing & draw(1)
        self.model_bits = [draw(31) + 1, draw(31) + 1, draw(31) + 1]
        self.delays = draw(1)
        self.layers = draw(1)
        self.points = [0x101 + self.layers * draw(6)] + [0x101 + draw(1)] * draw(2)
        if not self.layers:
            self.points = [0]
        self.model_points = [self.model & draw(1) for _ in self.points]
        self.ids = draw(1)
        self.id_bits = (draw(12), draw(7))
        self.hints = draw(1)
        self.hint_bits = draw(7)
        self.screen, self.mv = draw(2), draw(2)

    def sequence(self) -> bytes:
        bits = Bits().put(0, 5).put(self.timing)
        if self.timing:
            bits.put(self.draw(2**30), 64).put(self.equal)
            if self.equal:
                bits.golomb(self.draw(9))
            bits.put(self.model)
            if self.model:
                bits.put(self.model_bits[0] - 1, 5).put(self.draw(99), 32)
                bits.put(self.model_bits[1] - 1, 5).put(self.model_bits[2] - 1, 5)
        bits.put(self.delays).put(len(self.points) - 1, 5)
        for point, has_model in zip(self.points, self.model_points, strict=True):
            level = self.draw(31)
            bits.put(point, 12).put(level, 5)
            if level > 7:
                bits.put(self.draw(1))
            if self.model:
                bits.put(has_model)
                if has_model:
                    bits.put(self.draw(1), 2 * self.model_bits[0]).put(self.draw(1))
            if self.delays:
                delay = self.draw(1)
                bits.put(delay)
                if delay:
                    bits.put(self.draw(15), 4)
        bits.put(7, 4).put(8, 4).put(159, 8).put(119, 9).put(self.ids)
        if self.ids:
            bits.put(self.id_bits[0], 4).put(self.id_bits[1], 3)
        bits.put(self.draw(127), 7).put(self.hints)
        if self.hints:
            bits.put(self.draw(3), 2)
        bits.put(int(self.screen == 2))
        if self.screen < 2:
            bits.put(self.screen)
        if self.screen:
            bits.put(int(self.mv == 2))
            if self.mv < 2:
                bits.put(self.mv)
        if self.hints:
            bits.put(self.hint_bits, 3)
        return bits.put(0, 12).done()

    def frame(
        self, refresh: int, *, kind: int = 1, shown: int = 1, temporal_id: int = 0, spatial_id: int = 0
    ) -> bytes:
        draw = self.draw
        bits = Bits().put(0).put(kind, 2).put(shown)
        if shown and self.model and not self.equal:
            bits.put(draw(1), self.model_bits[2])
        if not shown:
            bits.put(draw(1))
        resilient = 1
        if kind != 3 and not (kind == 0 and shown):
            resilient = draw(1)
            bits.put(resilient)
        bits.put(draw(1))
        screen = self.screen
        if screen == 2:
            screen = draw(1)
            bits.put(screen)
        if screen and self.mv == 2:
            bits.put(draw(1))
        if self.ids:
            bits.put(draw(1), self.id_bits[0] + self.id_bits[1] + 3)
        if kind != 3:
            bits.put(draw(1))
        if self.hints:
            bits.put(draw(1), self.hint_bits + 1)
        if kind == 1 and not resilient:
            bits.put(draw(7), 3)
        if self.model:
            removal = draw(1)
            bits.put(removal)
            for point, has_model in zip(self.points, self.model_points, strict=True):
                inside = not point or (point >> temporal_id & 1 and point >> 8 + spatial_id & 1)
                if removal and has_model and inside:
                    bits.put(draw(1), self.model_bits[1])
        if kind == 1 or kind == 2 or not shown:
            bits.put(refresh, 8)
        return bits.put(0xFFFFFF, 24).done()


DELIMITER = obu(2, b"")
FRAME_HEADER, TILE_GROUP, METADATA, FRAME, REDUNDANT, PADDING = 3, 4, 5, 6, 7, 15


@settings(max_examples=60)
@given(st.data())
def test_av1_headers_of_every_shape(data: st.DataObject) -> None:
    def draw(most: int) -> int:
        return data.draw(st.integers(0, most))

    stream = Av1Stream(draw)
    header = obu(1, stream.sequence())
    in_extradata = draw(1)
    classifier = Av1(b"\x81\x05\x0c\0" + header if in_extradata else b"")
    key = obu(FRAME, stream.frame(0, kind=0))
    assert not is_droppable(classifier, DELIMITER + (b"" if in_extradata else header) + key, True)

    temporal_id = draw(1)
    extension = temporal_id << 5 if stream.layers else None
    if not stream.layers:
        temporal_id = 0

    def frame(refresh: int, shown: int = 1, kind: int = 1) -> bytes:
        unit = stream.frame(refresh, kind=kind, shown=shown, temporal_id=temporal_id)
        if draw(1):
            return obu(FRAME, unit, extension=extension)
        return obu(FRAME_HEADER, unit, extension=extension) + obu(
            TILE_GROUP, b"\xaa" * 9, extension=extension
        )

    def needed(unit: bytes) -> int:
        return classifier.needed_bytes(unit, False)

    start = DELIMITER if draw(1) else b""
    hidden = start + frame(draw(255), 0)
    refresh = draw(254) + 1
    lone, referenced, hdr = frame(0), frame(refresh), obu(METADATA, b"\x04\xb5\0\x3c\x80")
    assert needed(start + lone) == 0
    assert needed(start + frame(0, kind=2)) == 0
    assert needed(start + lone + obu(PADDING, b"\x80")) == 0
    assert needed(start + hdr + lone) == 0
    assert needed(hidden + lone) == len(hidden)
    assert needed(hidden + frame(refresh, 0) + lone) > len(hidden)
    for whole in (
        start + referenced,
        start + frame(refresh, kind=2),
        start + frame(0, kind=0),
        start + frame(0, kind=3),
        hidden,
        hidden + referenced,
        start + lone + lone,
        start + referenced + lone,
        start + lone + frame(refresh, 0),
        start + hdr + hidden + lone,
        start + obu(METADATA, b"\x01\0\1\0\1\x80") + lone,
        start + obu(FRAME_HEADER, b"\x88\x80"),  # show_existing_frame
        start + lone + obu(REDUNDANT, b"\0\x80"),
        start + obu(9, b"\0") + lone,
        start + lone[:3],
        start + header + lone,
    ):
        assert needed(whole) == len(whole)


def test_av1_with_spatial_layers_is_left_alone() -> None:
    def none(most: int) -> int:
        return 0

    stream = Av1Stream(none)
    for points in ([0x301], [0x101, 0x301]):
        stream.points, stream.model_points = points, [0] * len(points)
        classifier = Av1(obu(1, stream.sequence()))
        assert not is_droppable(classifier, obu(FRAME, stream.frame(0)))
    stream.points, stream.model_points = [0x101], [0]
    classifier = Av1(obu(1, stream.sequence()))
    assert is_droppable(classifier, obu(FRAME, stream.frame(0)))
    assert is_droppable(classifier, obu(FRAME, stream.frame(0), sized=False))
    assert not is_droppable(classifier, obu(FRAME, stream.frame(0), extension=1 << 3))


def test_av1_waits_for_a_sequence_header_that_can_be_read() -> None:
    stream = Av1Stream(lambda most: 0)
    classifier = Av1(b"\x81\x05\x0c\0")
    lone = obu(FRAME, stream.frame(0))
    assert not is_droppable(classifier, lone)
    assert not is_droppable(classifier, obu(1, stream.sequence()), True)
    assert is_droppable(classifier, lone)
    assert not is_droppable(classifier, obu(1, b"\0"), True)
    assert not is_droppable(classifier, lone)
