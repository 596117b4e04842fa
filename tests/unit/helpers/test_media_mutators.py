"""The mutators: repeatable, effective, and at home in the structure of containers."""

from __future__ import annotations

import random

import pytest

from tests.campaigns import media_mutators as mutators
from tests.campaigns.media_mutators import Source, ebml_elements, mp4_boxes, mutate, read_source, riff_chunks
from tests.helpers.clips import CLIPS


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Source]:
    folder = tmp_path_factory.mktemp("sources")
    names = ("h264-closed", "h264-fragmented", "vp9", "mpeg4-avi", "mpeg2-ts")
    return [read_source(make(folder / f"{name}{suffix}")) for name in names for suffix, make in [CLIPS[name]]]


def test_a_mutant_depends_on_seed_and_number_alone(sources: list[Source]) -> None:
    once = [mutate(sources, 7, number) for number in range(40)]
    assert [mutate(sources, 7, number) for number in reversed(range(40))] == once[::-1]
    assert [mutate(sources, 8, number) for number in range(40)] != once


def test_mutants_differ_from_their_sources(sources: list[Source]) -> None:
    whole = {source.data for source in sources}
    mutants = [mutate(sources, 1, number) for number in range(100)]
    assert sum(mutant.data in whole for mutant in mutants) < 10
    assert len({mutant.data for mutant in mutants}) > 90
    assert all(mutant.data and mutant.story for mutant in mutants)


@pytest.mark.parametrize("function", dict.fromkeys(mutators.SIMPLE))
def test_every_mutator_does_something_and_accepts_anything(
    sources: list[Source], function: mutators.Mutator
) -> None:
    chance = random.Random(3)
    for source in sources:
        mutants = [function(chance, source.data, source)[0] for _ in range(10)]
        assert any(mutant != source.data for mutant in mutants)
        for data in (b"\0", b"\xff" * 9, source.data[:50], bytes(300)):
            function(chance, data, source)


def test_packets_lie_where_the_demuxer_says(sources: list[Source]) -> None:
    for source in sources:
        assert len(source.packets) > 50
        assert all(0 < at < at + size <= len(source.data) for at, size in source.packets)


def test_boxes_of_an_mp4_file_are_found_down_to_the_sample_entry(sources: list[Source]) -> None:
    boxes = list(mp4_boxes(sources[0].data))
    names = {box.name for box in boxes}
    assert names >= {"ftyp", "moov", "mdat", "trak", "mdia", "stbl", "stsz", "ctts", "stsd", "avc1", "avcC"}
    for box in boxes:
        assert sources[0].data[box.begin + 4 : box.begin + 8] == box.name.encode()
    assert "trun" in {box.name for box in mp4_boxes(sources[1].data)}


def test_elements_of_a_matroska_file_are_found_down_to_the_blocks(sources: list[Source]) -> None:
    elements = list(ebml_elements(sources[2].data))
    assert {element.name for element in elements} >= {
        "1A45DFA3",
        "18538067",
        "AE",
        "1F43B675",
        "A3",
        "1C53BB6B",
    }
    assert sum(element.name == "A3" for element in elements) >= 60


def test_chunks_of_an_avi_file_are_found(sources: list[Source]) -> None:
    chunks = list(riff_chunks(sources[3].data))
    assert sum(chunk.name == "00dc" for chunk in chunks) == 60
    assert {chunk.name for chunk in chunks} >= {"RIFF", "LIST", "avih", "strf", "idx1"}
