"""Writes event files in their published formats, byte by byte, to test the readers against.

Nothing here shares code with the readers. Events are tuples (x, y, t, on): pixels from the left and
from the top, µs, whether it grew brighter.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

Event = tuple[int, int, int, int]

HEAD2 = (
    b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n"
    b"# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event\r\n"
    b"# Timestamps tick is 1 us\r\n# created Mon Jan 05 10:00:00 CST 2015\r\n"
)
HEAD3 = (
    b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-09-13 10:00:00 (TZ-0700)\r\n#!END-HEADER\r\n"
)
HEAD_DAT = b"% Data file containing TD events.\n% Version 2\n% Date 2017-06-01 10:00:00\n"


def write(path: Path, content: bytes) -> Path:
    """Writes a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def aedat2(words: Sequence[tuple[int, int]]) -> bytes:
    """AEDAT 2.0: pairs of address and time, 32 bits each, most significant byte first."""
    return HEAD2 + b"".join(struct.pack(">Ii", address, time) for address, time in words)


def dvs128(events: Sequence[Event]) -> bytes:
    """A DVS128's addresses: bit 0 is unset for brighter, bits 1 to 7 and 8 to 14 are the axes.

    A picture of CIFAR10-DVS lies on its side: the axis of bits 1 to 7 runs from its bottom up, that
    of bits 8 to 14 from its right to its left.
    """
    return aedat2([((127 - x) << 8 | (127 - y) << 1 | (not on), t) for x, y, t, on in events])


def davis346(events: Sequence[Event]) -> bytes:
    """A DAVIS346's addresses: bit 11 is set for brighter, 12 to 21 x from the right, 22 to 30 y
    from the bottom."""
    return aedat2(
        [((259 - y) << 22 | (345 - x) << 12 | bool(on) << 11, t) for x, y, t, on in events]
    )


def packet(events: Sequence[Event], overflow: int = 0, kind: int = 1, valid: int = 1) -> bytes:
    """A packet of AEDAT 3.1: a head of 28 bytes, then data and time of each event.

    Bit 0 of the data is set for valid events, bit 1 for brighter, 2 to 16 are y, 17 to 31 x.
    """
    number = len(events)
    head = struct.pack("<hhiiiiii", kind, 1, 8, 4, overflow, number, number, number * valid)
    body = [struct.pack("<Ii", x << 17 | y << 2 | on << 1 | valid, t) for x, y, t, on in events]
    return head + b"".join(body)


def aedat31(*packets: bytes) -> bytes:
    """AEDAT 3.1: a head of text lines, then packets."""
    return HEAD3 + b"".join(packets)


def atis_bin(events: Sequence[Event]) -> bytes:
    """40 bits an event: x, y, polarity, 23 bits of time, most significant byte first."""
    return b"".join(bytes([x, y]) + (on << 23 | t).to_bytes(3, "big") for x, y, t, on in events)


def dat(events: Sequence[Event]) -> bytes:
    """Prophesee's .dat: text lines, kind and size of an event, then time and 14 + 14 + 4 bits."""
    body = [struct.pack("<II", t, on << 28 | y << 14 | x) for x, y, t, on in events]
    return HEAD_DAT + b"\x00\x08" + b"".join(body)


def aedat4(events: Sequence[Event]) -> bytes:
    """AEDAT 4, not compressed: size-prefixed FlatBuffers of the head and of one packet."""
    rows = b"".join(struct.pack("<qhh?3x", t, x, y, on) for x, y, t, on in events)
    # Root, identifier, a vtable of one field, the table, the vector of structs at 8 bytes.
    table = struct.pack("<I4sHHHxxiI", 16, b"EVTS", 6, 8, 4, 8, 8)
    vector = struct.pack("<4xI", len(events)) + rows
    content = table + vector
    content = struct.pack("<I", len(content)) + content
    return _head4() + struct.pack("<ii", 0, len(content)) + content


def _head4() -> bytes:
    xml = (
        b'<dv version="2.0"><node name="outInfo" path="/mainloop/Recorder/outInfo/">'
        b'<node name="0" path="/mainloop/Recorder/outInfo/0/">'
        b'<attr key="compression" type="string">NONE</attr>'
        b'<attr key="originalModuleName" type="string">capture</attr>'
        b'<attr key="originalOutputName" type="string">events</attr>'
        b'<attr key="typeDescription" type="string">Array of events</attr>'
        b'<attr key="typeIdentifier" type="string">EVTS</attr>'
        b'<node name="info" path="/mainloop/Recorder/outInfo/0/info/">'
        b'<attr key="sizeX" type="int">128</attr><attr key="sizeY" type="int">128</attr>'
        b"</node></node></node></dv>\x00"
    )
    # Fields: compression (left out: none), position of the data table (left out: none), the text.
    table = struct.pack("<I4sHHHHHxxiI", 20, b"IOHE", 10, 8, 0, 0, 4, 12, 4)
    content = table + struct.pack("<I", len(xml) - 1) + xml
    return b"#!AER-DAT4.0\r\n" + struct.pack("<I", len(content)) + content
