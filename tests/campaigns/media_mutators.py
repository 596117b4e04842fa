"""Seeded damage to media files: one function per kind, from the bytes of a source to the bytes of a mutant.

Every function takes (random source, bytes, source) and gives the new bytes with a few words on what was
done. They accept anything, mutants included: damage is stacked.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av

WILD_32 = (0, 1, 2, 7, 8, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFF8, 0xFFFF_FFFF)
WILD_64 = (0, 1, 15, 16, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
HEAD_BYTES = 4096  # where most containers have their headers
MAX_STACKED = 3

_MP4_PARENTS = {
    b"moov": 8, b"trak": 8, b"mdia": 8, b"minf": 8, b"stbl": 8, b"edts": 8, b"udta": 8, b"mvex": 8,
    b"moof": 8, b"traf": 8, b"dinf": 8, b"mfra": 8, b"meta": 12, b"stsd": 16, b"dref": 16,
    b"avc1": 86, b"hev1": 86, b"hvc1": 86, b"vp09": 86, b"av01": 86, b"mp4v": 86, b"s263": 86,
}  # fmt: skip
_EBML_PARENTS = frozenset(
    bytes.fromhex(name)
    for names in ("1A45DFA3 18538067 1F43B675 1654AE6B AE E0 1C53BB6B", "BB B7 A0 114D9B74 4DBB 1549A966")
    for name in names.split()
)
_RIFF_PARENTS = frozenset([b"RIFF", b"LIST"])


@dataclass(frozen=True, slots=True)
class Source:
    """A whole file to be damaged.

    Attributes:
        kind: its container, as its suffix.
        packets: (offset, size) of its video packets, as far as the demuxer tells.
    """

    name: str
    kind: str
    data: bytes = field(repr=False)
    packets: tuple[tuple[int, int], ...] = field(repr=False)


def read_source(path: Path, *, at_most: int | None = None) -> Source:
    """A source from a file; of a long one only the first ``at_most`` bytes."""
    data = path.read_bytes()[:at_most]
    packets = []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            if packet.pos is not None and packet.size and packet.pos + packet.size <= len(data):
                packets.append((packet.pos, packet.size))
    return Source(path.name, path.suffix.lower().removeprefix("."), data, tuple(packets))


@dataclass(frozen=True, slots=True)
class Element:
    """A box, element or chunk: where its size stands, and in how many bytes; where it begins and ends."""

    name: str
    begin: int
    end: int
    size_at: int
    size_bytes: int
    payload: int


def mp4_boxes(data: bytes, begin: int = 0, end: int | None = None) -> Iterator[Element]:
    """The boxes of an MP4 file, nested ones after the one that holds them."""
    end = len(data) if end is None else end
    while begin + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, begin)
        at, width, payload = begin, 4, begin + 8
        if size == 1 and begin + 16 <= end:
            (size,) = struct.unpack_from(">Q", data, begin + 8)
            at, width, payload = begin + 8, 8, begin + 16
        stop = end if size == 0 else min(end, begin + size)
        if stop < payload:
            return
        yield Element(kind.decode("latin-1"), begin, stop, at, width, payload)
        if kind in _MP4_PARENTS:
            yield from mp4_boxes(data, begin + _MP4_PARENTS[kind], stop)
        begin = stop


def ebml_elements(data: bytes, begin: int = 0, end: int | None = None) -> Iterator[Element]:
    """The elements of a Matroska file, nested ones after the one that holds them."""
    end = len(data) if end is None else end
    while begin + 2 <= end:
        id_bytes, size_at = _vint_bytes(data[begin]), begin + _vint_bytes(data[begin])
        if id_bytes > 4 or size_at >= end:
            return
        width = _vint_bytes(data[size_at])
        payload = size_at + width
        if width > 8 or payload > end:
            return
        size = int.from_bytes(data[size_at:payload], "big") & ((1 << 7 * width) - 1)
        unknown = size == (1 << 7 * width) - 1
        stop = end if unknown else min(end, payload + size)
        name = data[begin:size_at]
        yield Element(name.hex().upper(), begin, stop, size_at, width, payload)
        if name in _EBML_PARENTS:
            yield from ebml_elements(data, payload, stop)
        begin = stop


def riff_chunks(data: bytes, begin: int = 0, end: int | None = None) -> Iterator[Element]:
    """The chunks of an AVI file, nested ones after the one that holds them."""
    end = len(data) if end is None else end
    while begin + 8 <= end:
        kind, size = struct.unpack_from("<4sI", data, begin)
        stop = min(end, begin + 8 + size)
        yield Element(kind.decode("latin-1"), begin, stop, begin + 4, 4, begin + 8)
        if kind in _RIFF_PARENTS:
            yield from riff_chunks(data, begin + 12, stop)
        begin = stop + stop % 2


def _vint_bytes(first: int) -> int:
    return 9 - first.bit_length()


_PARSERS: dict[str, Callable[[bytes], Iterator[Element]]] = {
    **dict.fromkeys(("mp4", "mov", "3gp", "m4v"), mp4_boxes),
    **dict.fromkeys(("mkv", "webm"), ebml_elements),
    "avi": riff_chunks,
}

Mutation = tuple[bytes, str]
Mutator = Callable[[random.Random, bytes, "Source"], Mutation]


def _range(chance: random.Random, data: bytes, most: int = 1 << 16) -> tuple[int, int]:
    """A byte range of any size up to ``most``, small ones as likely as large ones."""
    size = min(len(data), int(2 ** chance.uniform(0, most.bit_length() - 1)))
    begin = chance.randrange(len(data) - size + 1)
    return begin, begin + size


def truncate(chance: random.Random, data: bytes, _: Source) -> Mutation:
    head = chance.random() < 0.2
    size = chance.randrange(min(len(data), HEAD_BYTES) if head else len(data)) + 1
    return data[:size], f"cut to {size} of {len(data)} bytes"


def behead(chance: random.Random, data: bytes, _: Source) -> Mutation:
    begin = chance.randrange(len(data))
    return data[begin:], f"first {begin} bytes lost"


def flip_bits(chance: random.Random, data: bytes, _: Source) -> Mutation:
    mutant = bytearray(data)
    head = chance.random() < 0.3
    within = min(len(data), HEAD_BYTES) if head else len(data)
    many = chance.random() < 0.3
    number = max(1, int(within * 10 ** chance.uniform(-5, -2))) if many else chance.randint(1, 8)
    for _number in range(number):
        mutant[chance.randrange(within)] ^= 1 << chance.randrange(8)
    return bytes(mutant), f"{number} bits flipped in the first {within} bytes"


def swap_ranges(chance: random.Random, data: bytes, _: Source) -> Mutation:
    a, b = sorted([_range(chance, data), _range(chance, data)])
    if a[1] > b[0]:
        return data, "no ranges to swap"
    swapped = data[: a[0]] + data[b[0] : b[1]] + data[a[1] : b[0]] + data[a[0] : a[1]] + data[b[1] :]
    return swapped, f"bytes {a} and {b} swapped"


def zero_range(chance: random.Random, data: bytes, _: Source) -> Mutation:
    begin, end = _range(chance, data)
    return data[:begin] + bytes(end - begin) + data[end:], f"bytes {begin} to {end} zeroed"


def noise(chance: random.Random, data: bytes, _: Source) -> Mutation:
    begin, end = _range(chance, data, 1 << 12)
    return data[:begin] + chance.randbytes(end - begin) + data[end:], f"noise in bytes {begin} to {end}"


def repeat_range(chance: random.Random, data: bytes, _: Source) -> Mutation:
    begin, end = _range(chance, data)
    times = chance.choice([1, 1, 2, 5])
    return data[:end] + data[begin:end] * times + data[end:], f"bytes {begin} to {end} {times + 1} times"


def drop_range(chance: random.Random, data: bytes, _: Source) -> Mutation:
    begin, end = _range(chance, data)
    return data[:begin] + data[end:], f"bytes {begin} to {end} lost"


def mix_packets(chance: random.Random, data: bytes, source: Source) -> Mutation:
    packets = [(at, at + size) for at, size in source.packets if at + size <= len(data)]
    if len(packets) < 2:
        return data, "no packets to mix"
    (a, a_end), (b, b_end) = sorted(chance.sample(packets, 2))
    if a_end > b:
        return data, "no packets to mix"
    first, between, second = data[a:a_end], data[a_end:b], data[b:b_end]
    how = chance.choice(["swapped", "repeated", "overwritten", "zeroed", "cut in half"])
    inner = {
        "swapped": second + between + first,
        "repeated": first + between + second + first,
        # in its old place and size, so that no index is wrong
        "overwritten": first + between + (first * (len(second) // len(first) + 1))[: len(second)],
        "zeroed": bytes(len(first)) + between + second,
        "cut in half": first[: len(first) // 2] + bytes(len(first) - len(first) // 2) + between + second,
    }[how]
    return data[:a] + inner + data[b_end:], f"packets at {a} and {b} {how}"


def wild_field(chance: random.Random, data: bytes, _: Source) -> Mutation:
    """A number somewhere in the head, or anywhere, becomes a wild one."""
    within = min(len(data), HEAD_BYTES) if chance.random() < 0.7 else len(data)
    if within < 8:
        return data, "too short for a wild field"
    at = chance.randrange(within - 7)
    value = chance.choice(WILD_32)
    order = chance.choice(["big", "little"])
    size = chance.choice([2, 4])
    raw = (value & (1 << 8 * size) - 1).to_bytes(size, "big" if order == "big" else "little")
    return data[:at] + raw + data[at + size :], f"{raw.hex()} at {at}"


def wild_element(chance: random.Random, data: bytes, source: Source) -> Mutation:
    """A box, element or chunk gets a wild length, or a wild number among its first ones."""
    parser = _PARSERS.get(source.kind)
    elements = list(parser(data)) if parser is not None else []
    if not elements:
        return wild_field(chance, data, source)
    # by name first: a file has thousands of blocks and one header
    name = chance.choice(sorted({element.name for element in elements}))
    element = chance.choice([element for element in elements if element.name == name])
    if chance.random() < 0.5 and element.end - element.payload >= 4:
        at = element.payload + 4 * chance.randrange(min(16, (element.end - element.payload) // 4))
        raw, what = _wild_size(chance, 4, "big"), "holds"
    else:
        at, what = element.size_at, "has the length"
        if parser is ebml_elements:
            width = element.size_bytes
            value = chance.choice([0, 1, (1 << 7 * width) - 1, (1 << 7 * width) - 2, 1 << 7 * width - 1])
            raw = (value | 1 << 7 * width).to_bytes(width, "big")
        else:
            raw = _wild_size(chance, element.size_bytes, "little" if parser is riff_chunks else "big")
            old = element.end - element.begin
            if chance.random() < 0.2:
                near = max(0, old + chance.choice([-8, -1, 1, 8]))
                raw = near.to_bytes(element.size_bytes, "little" if parser is riff_chunks else "big")
    return data[:at] + raw + data[at + len(raw) :], f"{name} at {element.begin} {what} {raw.hex()} at {at}"


def _wild_size(chance: random.Random, size: int, order: str) -> bytes:
    value = chance.choice(WILD_64 if size == 8 else WILD_32)
    return value.to_bytes(size, "little" if order == "little" else "big")


def rename_element(chance: random.Random, data: bytes, source: Source) -> Mutation:
    """A box, element or chunk becomes one of another kind of the same file."""
    parser = _PARSERS.get(source.kind)
    elements = list(parser(data)) if parser is not None else []
    if not elements:
        return swap_ranges(chance, data, source)
    a, b = chance.choice(elements), chance.choice(elements)
    at, name = (a.begin + 4, b.name.encode("latin-1")) if parser is mp4_boxes else (a.begin, b"")
    if parser is ebml_elements:
        name = bytes.fromhex(b.name)
    elif parser is riff_chunks:
        name = b.name.encode("latin-1")
    return data[:at] + name + data[at + len(name) :], f"{a.name} at {a.begin} renamed {b.name}"


SIMPLE = (
    truncate, flip_bits, flip_bits, swap_ranges, zero_range, noise, repeat_range, drop_range, mix_packets,
    mix_packets, wild_field, wild_element, wild_element, wild_element, rename_element, behead,
)  # fmt: skip


def glue(chance: random.Random, source: Source, other: Source) -> Mutation:
    """Two files in one: end to end, head and tail, or one in the midst of the other."""
    a, b = source.data, other.data
    at, of = chance.randrange(len(a)), chance.randrange(len(b))
    how = chance.choice(["behind it", f"from {of} on behind its first {at} bytes", f"in its midst at {at}"])
    if how == "behind it":
        return a + b, f"{other.name} {how}"
    if how.startswith("from"):
        return a[:at] + b[of:], f"{other.name} {how}"
    return a[:at] + b + a[at:], f"{other.name} {how}"


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged file: what it was, what was done to it, its bytes."""

    number: int
    source: str
    kind: str
    story: str
    data: bytes = field(repr=False)


def mutate(sources: Sequence[Source], seed: int, number: int) -> Mutant:
    """Mutant ``number`` of a campaign: the same for the same sources, seed and number."""
    chance = random.Random(f"{seed}/{number}")
    source = chance.choice(sources)
    if chance.random() < 0.5:  # most sources are of a few kinds
        kind = chance.choice(sorted({source.kind for source in sources}))
        source = chance.choice([source for source in sources if source.kind == kind])
    data, story = source.data, []
    if chance.random() < 0.05:
        data, told = glue(chance, source, chance.choice(sources))
        story.append(told)
    while not story or (len(story) < MAX_STACKED and chance.random() < 0.3):
        data, told = chance.choice(SIMPLE)(chance, data, source)
        story.append(told)
        data = data or b"\0"
    return Mutant(number, source.name, source.kind, "; ".join(story), data)
