"""Droppable packets, by known bytes and by hostile ones."""

from __future__ import annotations

import random
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from framefleet.worker.bitstream.droppable import Classifier, classifier_for
from tests.helpers import clips as small
from tests.helpers.bitstream_headers import Bits, avc_sps

CODECS = ["h264", "hevc", "mpeg1video", "mpeg2video", "libdav1d"]


def is_droppable(classifier: Classifier, data: bytes, is_keyframe: bool = False) -> bool:
    needed = classifier.needed_bytes(memoryview(data), is_keyframe)
    assert needed == classifier.needed_bytes(data, is_keyframe)
    assert needed in (0, len(data))
    return needed < len(data)


# ---- H.264 --------------------------------------------------------------------------------------------


def avcc(*sets: bytes, length_bytes: int = 4) -> bytes:
    head = bytes([1, 66, 0, 30, 0xFC | length_bytes - 1, 0xE0 | len(sets)])
    return head + b"".join(len(unit).to_bytes(2, "big") + unit for unit in sets) + b"\0"


def avc_slice(nal_ref_idc: int = 0, *, first: bool = True, field: bool = False, plane_bits: int = 0) -> bytes:
    bits = Bits().golomb(0 if first else 44, 1, 0).put(0, plane_bits).put(65, 7).put(int(field))
    return bytes([nal_ref_idc << 5 | 1]) + bits.put(0x5A5A, 16).done()


def prefixed(*units: bytes, length_bytes: int = 4) -> bytes:
    return b"".join(len(unit).to_bytes(length_bytes, "big") + unit for unit in units)


def annex_b(*units: bytes) -> bytes:
    return b"\0" + b"".join(b"\0\0\1" + unit for unit in units)


AUD, SEI, PPS, IDR = b"\x09\xf0", b"\x06\x05\x01\x80", b"\x68\xce\x3c\x80", b"\x65\x88\x84\x21"
AVC_CASES = [
    ([avc_slice(0)], True),
    ([AUD, SEI, avc_slice(0)], True),
    ([avc_slice(0), avc_slice(0, first=False), avc_slice(0, first=False)], True),
    ([avc_slice(1)], False),
    ([avc_slice(0), avc_slice(2, first=False)], False),
    ([avc_slice(2), avc_slice(0, first=False)], False),
    ([avc_slice(0), avc_slice(0)], False),  # two pictures
    ([avc_slice(0, first=False)], False),  # a piece of a picture
    ([IDR], False),
    ([avc_sps(), avc_slice(0)], False),
    ([PPS, avc_slice(0)], False),
    ([avc_slice(0), b"\x0a"], False),  # the end of the sequence
    ([avc_slice(0), b"\x14\x80\x80\x80"], False),  # another view or layer
    ([AUD, SEI], False),
    ([], False),
]


@pytest.mark.parametrize(("units", "expected"), AVC_CASES)
@pytest.mark.parametrize("length_bytes", [0, 1, 2, 3, 4])
def test_avc_by_known_bytes(units: list[bytes], expected: bool, length_bytes: int) -> None:
    extradata = avcc(avc_sps(), length_bytes=length_bytes) if length_bytes else annex_b(avc_sps(), PPS)
    classifier = classifier_for("h264", extradata)
    assert classifier is not None
    data = prefixed(*units, length_bytes=length_bytes) if length_bytes else annex_b(*units)
    assert is_droppable(classifier, data) == expected
    assert not is_droppable(classifier, data, is_keyframe=True)


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_packet_that_is_cut_short_is_not_droppable(cut: int) -> None:
    classifier = classifier_for("h264", avcc(avc_sps()))
    assert classifier is not None
    data = prefixed(avc_slice(0))
    assert is_droppable(classifier, data)
    assert not is_droppable(classifier, data[:-cut])
    assert not is_droppable(classifier, data + bytes(cut))


def test_avc_parameter_sets_are_learned_from_packets() -> None:
    classifier = classifier_for("h264", None)
    assert classifier is not None
    picture = annex_b(avc_slice(0))
    assert not is_droppable(classifier, picture)
    assert not is_droppable(classifier, annex_b(avc_sps(), PPS, IDR), is_keyframe=True)
    assert is_droppable(classifier, picture)
    # another format: which one a slice has is not followed
    assert not is_droppable(classifier, annex_b(avc_sps(frames_only=False), PPS, IDR), is_keyframe=True)
    assert not is_droppable(classifier, picture)


def test_without_a_reordering_depth_nothing_is_droppable() -> None:
    classifier = classifier_for("h264", avcc(avc_sps(restriction=False)))
    assert classifier is not None
    assert not is_droppable(classifier, prefixed(avc_slice(0)))


@pytest.mark.parametrize("planes", [False, True])
@pytest.mark.parametrize("poc_type", [0, 1, 2])
def test_fields_are_not_droppable_but_interlaced_frames_are(planes: bool, poc_type: int) -> None:
    sps = avc_sps(frames_only=False, high=True, poc_type=poc_type, planes=planes)
    classifier = classifier_for("h264", avcc(sps))
    assert classifier is not None
    plane_bits = 2 if planes else 0
    field = avc_slice(0, field=True, plane_bits=plane_bits)
    assert is_droppable(classifier, prefixed(avc_slice(0, plane_bits=plane_bits)))
    assert not is_droppable(classifier, prefixed(field))
    assert not is_droppable(classifier, prefixed(field, field))


# ---- H.265 --------------------------------------------------------------------------------------------


def hevc_unit(kind: int, temporal_id: int = 0, *, first: bool = True, layer: int = 0) -> bytes:
    return bytes([kind << 1 | layer >> 5, (layer & 31) << 3 | temporal_id + 1, first << 7 | 0x2A, 0x55])


def hevc_sps(sub_layers: int = 1) -> bytes:
    return bytes([33 << 1, 1, sub_layers - 1 << 1 | 1]) + bytes(20)


def hvcc(*units: bytes) -> bytes:
    arrays = b"".join(
        bytes([0x80 | unit[0] >> 1, 0, 1]) + len(unit).to_bytes(2, "big") + unit for unit in units
    )
    return bytes([1, 1, 0x60]) + bytes(18) + bytes([0x0F, len(units)]) + arrays


TRAIL_N, TRAIL_R, TSA_N, TSA_R, RASL_N, RASL_R, CRA = 0, 1, 2, 3, 8, 9, 21
HEVC_AUD, HEVC_SEI, RPU = b"\x46\x01\x50", b"\x4e\x01\x05\x80", b"\x7c\x01\x19\x08"
HEVC_CASES = [
    ([hevc_unit(TRAIL_N)], True),
    ([hevc_unit(RASL_N)], True),
    ([HEVC_AUD, HEVC_SEI, hevc_unit(TRAIL_N), hevc_unit(TRAIL_N, first=False), RPU], True),
    ([hevc_unit(TRAIL_R)], False),
    ([hevc_unit(RASL_R)], False),
    ([hevc_unit(CRA)], False),
    ([hevc_unit(TRAIL_N), hevc_unit(TRAIL_R, first=False)], False),
    ([hevc_unit(TRAIL_N), hevc_unit(TRAIL_N)], False),  # two pictures
    ([hevc_unit(TRAIL_N, first=False)], False),
    ([hevc_unit(TRAIL_N), hevc_unit(TRAIL_N, layer=1)], False),
    ([hevc_unit(TRAIL_N), hevc_unit(TRAIL_N, layer=33)], False),
    ([hevc_sps(), hevc_unit(TRAIL_N)], False),
    ([hevc_unit(TRAIL_N), b"\x48\x01"], False),  # the end of the sequence
    ([HEVC_AUD], False),
]


@pytest.mark.parametrize(("units", "expected"), HEVC_CASES)
@pytest.mark.parametrize("in_mp4", [True, False])
def test_hevc_by_known_bytes(units: list[bytes], expected: bool, in_mp4: bool) -> None:
    classifier = classifier_for("hevc", hvcc(hevc_sps()) if in_mp4 else annex_b(hevc_sps()))
    assert classifier is not None
    data = prefixed(*units) if in_mp4 else annex_b(*units)
    assert is_droppable(classifier, data) == expected
    assert not is_droppable(classifier, data, is_keyframe=True)


def test_only_the_highest_sub_layer_of_hevc_is_droppable() -> None:
    classifier = classifier_for("hevc", hvcc(hevc_sps(3)))
    assert classifier is not None
    assert not is_droppable(classifier, prefixed(hevc_unit(TRAIL_N, 0)))
    assert not is_droppable(classifier, prefixed(hevc_unit(TSA_N, 1)))
    assert is_droppable(classifier, prefixed(hevc_unit(TSA_N, 2)))
    assert not is_droppable(classifier, prefixed(hevc_unit(TSA_R, 2)))
    # a fourth, against what was declared
    assert is_droppable(classifier, prefixed(hevc_unit(TSA_N, 3)))
    assert not is_droppable(classifier, prefixed(hevc_unit(TSA_N, 2)))


def test_hevc_waits_for_a_parameter_set() -> None:
    classifier = classifier_for("hevc", None)
    assert classifier is not None
    assert not is_droppable(classifier, annex_b(hevc_unit(TRAIL_N)))
    assert not is_droppable(classifier, annex_b(hevc_sps(), hevc_unit(CRA)), is_keyframe=True)
    assert is_droppable(classifier, annex_b(hevc_unit(TRAIL_N)))


# ---- MPEG-1 and MPEG-2 --------------------------------------------------------------------------------


def mpeg_picture(kind: int, structure: int | None = 3) -> bytes:
    picture = b"\0\0\1\0" + bytes([0x12, 0x80 | kind << 3, 0xFF, 0xF8])
    if structure is not None:
        picture += b"\0\0\1\xb5" + bytes([0x8F, 0xFF, 0xF0 | structure, 0x80, 0x80])
    return picture


I, P, B = 1, 2, 3  # noqa: E741
MPEG_SLICE = b"\0\0\1\1\x12\x34\x56\0\0\1\2\x78\x9a"
MPEG_CASES = [
    (mpeg_picture(B) + MPEG_SLICE, True),
    (mpeg_picture(B, None) + MPEG_SLICE, True),
    (mpeg_picture(B) + b"\0\0\1\xb2user" + MPEG_SLICE, True),
    (mpeg_picture(P) + MPEG_SLICE, False),
    (mpeg_picture(I) + MPEG_SLICE, False),
    (mpeg_picture(B) + MPEG_SLICE + mpeg_picture(P) + MPEG_SLICE, False),
    (mpeg_picture(B) + MPEG_SLICE + mpeg_picture(B) + MPEG_SLICE, False),
    (mpeg_picture(B, 1) + MPEG_SLICE, False),  # a field
    (mpeg_picture(B) + b"\0\0\1\xb5\x3a\0" + MPEG_SLICE, False),  # quantiser matrices
    (b"\0\0\1\xb8\0\0\0\0" + mpeg_picture(B) + MPEG_SLICE, False),
    (mpeg_picture(B) + MPEG_SLICE + b"\0\0\1\xb7", False),
    (mpeg_picture(B)[:5], False),
    (mpeg_picture(B)[:14], False),
    (MPEG_SLICE, False),
    (b"", False),
]


@pytest.mark.parametrize(("data", "expected"), MPEG_CASES)
@pytest.mark.parametrize("codec", ["mpeg1video", "mpeg2video"])
def test_mpeg_by_known_bytes(data: bytes, expected: bool, codec: str) -> None:
    classifier = classifier_for(codec, None)
    assert classifier is not None
    assert is_droppable(classifier, data) == expected
    assert not is_droppable(classifier, data, is_keyframe=True)


# ---- hostile bytes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["vp9", "vp8", "mpeg4", "msmpeg4", "vvc", "theora", "mjpeg", ""])
def test_nothing_is_told_of_other_codecs(codec: str) -> None:
    assert classifier_for(codec, b"\1" * 40) is None


MARKS = [
    b"\0\0\1",
    b"\0\0\0\2",
    b"\x01",
    b"\0\0\1\0",
    b"\0\0\1\xb5",
    b"\x67\x64\0",
    b"\x12\0",
    b"\x0a\x0b",
    b"\x42\1",
]
HOSTILE = st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(MARKS)), max_size=8).map(b"".join)


@pytest.mark.parametrize("codec", CODECS)
@settings(max_examples=60)
@given(
    st.one_of(HOSTILE, st.sampled_from([avcc(avc_sps()), hvcc(hevc_sps()), b"\x81\0\0\0"])),
    st.lists(st.tuples(HOSTILE, st.booleans()), max_size=6),
)
@example(b"\1", [(b"", False)])
@example(avcc(avc_sps())[:9], [(b"\0\0\0\1\1", False)])
@example(avcc(avc_sps(poc_type=1)[:8] + b"\0" * 5 + b"\x01" + b"\xff" * 9), [(b"\0\0\0\1\1", False)])
def test_hostile_bytes_raise_nothing(codec: str, extradata: bytes, packets: list[tuple[bytes, bool]]) -> None:
    classifier = classifier_for(codec, extradata)
    assert classifier is not None
    for data, is_keyframe in packets:
        needed = classifier.needed_bytes(memoryview(data), is_keyframe)
        assert 0 <= needed <= len(data)
        assert not is_keyframe or needed == len(data)


@pytest.mark.parametrize("codec", CODECS)
def test_an_empty_packet_is_no_trouble(codec: str) -> None:
    classifier = classifier_for(codec, None)
    assert classifier is not None
    # its buffer is at no address, which regular expressions refuse
    assert classifier.needed_bytes(memoryview(av.Packet()), False) == 0


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["h264-closed", "hevc-open-mp4", "mpeg2-ts", "h264-open-mkv"]),
    seed=st.integers(0, 2**32),
)
def test_damaged_packets_raise_nothing(clips: Path, name: str, seed: int) -> None:
    generator = random.Random(seed)
    with av.open(str(clips / f"{name}{small.CLIPS[name][0]}")) as container:
        stream = container.streams.video[0]
        classifier = classifier_for(stream.codec_context.name, stream.codec_context.extradata)
        assert classifier is not None
        for packet in container.demux(stream):
            data = bytearray(bytes(packet))
            for _ in range(generator.randrange(4) if data else 0):
                data[generator.randrange(min(len(data), 64))] = generator.randrange(256)
            data = data[: generator.randrange(len(data) + 1)]
            assert 0 <= classifier.needed_bytes(bytes(data), packet.is_keyframe) <= len(data)
