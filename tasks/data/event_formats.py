"""The bytes of event files: AEDAT 2.0, 3.1 and 4, the 40-bit .bin, Prophesee's .dat, tonic's .npy.

Each reader returns the events of one file as a structured array (x, y, t, p) of `EVENT`, with x to
the right, y downwards and t in µs of the file's own clock, or says in one sentence why the file is
damaged. tonic reads .bin and .aedat4. Its readers of AEDAT 2 and 3 take samples of images, triggers
and invalid events for events, leave out the overflow of the clock, and in tonic 1.7 fail on their
own header; so these two are read here, from the format's description.

Sources: docs.inivation.com, software, file formats (AEDAT 2.0, 3.1); jAER's chip classes DVS128 and
DavisChip (bits of an address); docs.prophesee.ai, file formats (DAT); Orchard et al. 2015 (.bin).
"""

from __future__ import annotations

import importlib.util
import mmap
import struct
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adacal.core.errors import ConfigError, DataError
from tasks.data.dvs_mnist import EVENT

EventArray = NDArray[Any]

_WORD2 = np.dtype([("address", ">u4"), ("time", ">i4")])
_WORD3 = np.dtype([("data", "<u4"), ("time", "<i4")])
_WORD_DAT = np.dtype([("time", "<u4"), ("data", "<u4")])
_PACKET = struct.Struct("<hhiiiiii")
_POLARITY_PACKET = 1
_HEADER_END = b"#!END-HEADER"


def damaged(path: Path, fact: str) -> DataError:
    """Returns the error for a file that does not hold what it should."""
    return DataError(f"event file '{path}' is damaged ({fact}); restore that file")


def pack(x: Any, y: Any, t: Any, p: Any) -> EventArray:
    """Returns columns of equal length as one structured array of `EVENT`."""
    events = np.empty(len(t), EVENT)
    for name, column in zip(("x", "y", "t", "p"), (x, y, t, p), strict=True):
        events[name] = column
    return events


def read_dvs128(path: Path) -> EventArray:
    """Reads AEDAT 2.0 of a DVS128, 128x128 pixels, as CIFAR10-DVS was recorded.

    jAER counts both axes from the other end and has bit 0 unset for brighter (the format's page has
    it set, for AEDAT 1.0). Published readers of CIFAR10-DVS find its pictures lying on their side
    and swap the axes so that they stand upright; so it is here, not checked on true recordings.

    Raises:
        DataError: the file is damaged.
    """
    words = _read_aedat2(path)
    address = words["address"].astype(np.int64)
    if (address >> 16).any():
        raise damaged(path, "addresses of more than 16 bits")
    words, address = _keep(words, address, (address & 0x8000) == 0)  # bit 15: a trigger
    x, y = 127 - (address >> 8 & 0x7F), 127 - (address >> 1 & 0x7F)
    return pack(x, y, words["time"], (address & 1) == 0)


def read_davis346(path: Path) -> EventArray:
    """Reads AEDAT 2.0 of a DAVIS346, 346x260 pixels; samples of images and triggers are left out.

    Raises:
        DataError: the file is damaged.
    """
    words = _read_aedat2(path)
    address = words["address"].astype(np.int64)
    words, address = _keep(words, address, (address & (1 << 31 | 1 << 10)) == 0)
    x, y = 345 - (address >> 12 & 0x3FF), 259 - (address >> 22 & 0x1FF)
    return pack(x, y, words["time"], (address >> 11 & 1) == 1)


def _read_aedat2(path: Path) -> EventArray:
    """Returns pairs of address and time (µs), most significant byte first, shape [N]."""
    content = _content(path)
    start = _skip_lines(path, content, b"#", b"#!AER-DAT2.0")
    if (len(content) - start) % _WORD2.itemsize:
        raise damaged(path, "it ends within an event")
    return np.frombuffer(content, _WORD2, offset=start)


def _keep(words: EventArray, address: Any, chosen: Any) -> tuple[EventArray, Any]:
    return words[chosen], address[chosen]


def read_aedat31(path: Path, window: tuple[int, int] | None = None) -> EventArray:
    """Reads the valid polarity events of an AEDAT 3.1 file.

    Args:
        path: the file.
        window: first µs and the µs after the last, on the clock of the file; only the packets
            around it are read. All events by default.

    Raises:
        DataError: the file is damaged.
    """
    table = _packets(path, path.stat().st_size if path.is_file() else 0)
    start, end = window or (0, 2**62)
    first_us = table[:, 3]
    around = (first_us < end) & (np.append(first_us[1:], 2**62) >= start)
    parts = []
    with path.open("rb") as stream:
        for position, number, overflow_us, _ in table[around].tolist():
            stream.seek(position)
            words = np.frombuffer(stream.read(number * _WORD3.itemsize), _WORD3)
            data, t = words["data"], words["time"] + np.int64(overflow_us)
            chosen = ((data & 1) == 1) & (t >= start) & (t < end)
            data, t = data[chosen], t[chosen]
            parts.append(pack(data >> 17 & 0x7FFF, data >> 2 & 0x7FFF, t, data >> 1 & 1))
    return np.concatenate(parts) if parts else np.empty(0, EVENT)


@lru_cache(maxsize=512)
def _packets(path: Path, size: int) -> NDArray[np.int64]:
    """Finds the packets of polarity events; the bytes between their heads are not read.

    Args:
        path: the file.
        size: in bytes, so that a file that has changed is looked at again.

    Returns:
        Position of the first event, number of events, overflow of the clock in µs, and time of the
        first event in µs, shape [packets, 4].
    """
    if size == 0:
        raise damaged(path, "it is empty or not there")
    found = []
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as view:
        end_line = view.find(_HEADER_END)
        if view[:12] != b"#!AER-DAT3.1" or end_line < 0:
            raise damaged(path, "it has no head of AEDAT 3.1")
        place = view.find(b"\n", end_line) + 1
        while place < size:
            if place + _PACKET.size > size:
                raise damaged(path, f"the packet at byte {place} is cut off")
            kind, _, width, _, overflow, capacity, number, _ = _PACKET.unpack_from(view, place)
            position = place + _PACKET.size
            place = position + capacity * width
            if width < 1 or not 0 <= number <= capacity:
                raise damaged(path, f"the packet at byte {position} has an impossible head")
            if place > size:
                raise damaged(path, f"the packet at byte {position} is cut off")
            if kind == _POLARITY_PACKET and number:
                if width != _WORD3.itemsize:
                    raise damaged(path, f"its events have {width} bytes, not {_WORD3.itemsize}")
                overflow_us = overflow << 31
                first = int.from_bytes(view[position + 4 : position + 8], "little", signed=True)
                found.append((position, number, overflow_us, overflow_us + first))
    return np.array(found, np.int64).reshape(-1, 4)


def read_aedat4(path: Path) -> EventArray:
    """Reads the first event stream of an AEDAT 4 file, through tonic and the package `aedat`.

    Raises:
        ConfigError: the package `aedat` is not installed.
        DataError: the file is damaged.
    """
    if not _content(path, 12).startswith(b"#!AER-DAT4"):
        raise damaged(path, "it does not start with '#!AER-DAT4'")
    if importlib.util.find_spec("aedat") is None:
        raise ConfigError(
            f"'{path}' is AEDAT 4, which tonic reads with the package 'aedat'; pip install aedat, "
            "or use the official .aedat files"
        )
    from tonic.io import read_aedat4 as read

    try:
        found = read(str(path))
        return pack(found["x"], found["y"], found["t"], found["on"])
    except Exception as error:  # the decoder raises whatever the bytes lead to
        raise damaged(path, _first_line(error)) from error


def read_bin(path: Path) -> EventArray:
    """Reads the 40-bit events of N-MNIST and N-Caltech101, through tonic.

    Raises:
        DataError: the file is damaged.
    """
    from tonic.io import read_mnist_file

    size = len(_content(path))
    if size == 0 or size % 5:
        raise damaged(path, f"{size} bytes are not a whole number of events of 5")
    events: EventArray = read_mnist_file(str(path), dtype=EVENT)
    return events


def read_dat(path: Path) -> EventArray:
    """Reads a .dat file of Prophesee: 32 bits of time, 14 of x, 14 of y, polarity.

    Raises:
        DataError: the file is damaged.
    """
    content = _content(path)
    start = _skip_lines(path, content, b"%", b"%")
    kind = content[start : start + 2]
    if kind not in (b"\x00\x08", b"\x0c\x08"):
        raise damaged(path, "it does not say that it holds events of 8 bytes")
    if (len(content) - start - 2) % _WORD_DAT.itemsize:
        raise damaged(path, "it ends within an event")
    words = np.frombuffer(content, _WORD_DAT, offset=start + 2)
    data = words["data"]
    return pack(data & 0x3FFF, data >> 14 & 0x3FFF, words["time"], data >> 28 & 1)


def read_npy(path: Path) -> EventArray:
    """Reads tonic's copy of DVS128 Gesture: an array [N, 4] of x, y, polarity and time in ms.

    Raises:
        DataError: the file is damaged, or holds anything but numbers.
    """
    try:
        table = np.load(path, allow_pickle=False)
        if table.ndim != 2 or table.shape[1] != 4 or table.dtype.kind not in "iuf":
            raise ValueError(f"an array of {table.dtype} {table.shape}, not [N, 4]")
        if not np.isfinite(table).all():
            raise ValueError("numbers that are not finite")
    except Exception as error:  # damaged bytes raise whatever they lead to
        raise damaged(path, _first_line(error)) from error
    x, y, p, t_ms = np.round(table.T).astype(np.int64)
    return pack(x, y, t_ms * 1000, p != 0)


def _content(path: Path, length: int = -1) -> bytes:
    """Returns the file, or its first bytes."""
    try:
        with path.open("rb") as stream:
            return stream.read(length)
    except OSError as error:
        raise DataError(f"event file '{path}' cannot be read ({error.strerror})") from error


def _skip_lines(path: Path, content: bytes, mark: bytes, first: bytes) -> int:
    """Returns where the lines of text that start with `mark` end.

    An event may start with the byte of the mark too, so a line counts only if it is text.
    """
    if not content.startswith(first):
        raise damaged(path, f"it does not start with '{first.decode()}'")
    place = 0
    while content.startswith(mark, place):
        stop = content.find(b"\n", place)
        line = content[place:stop].rstrip(b"\r")
        if stop < 0 or any(byte < 32 and byte != 9 for byte in line):
            break
        place = stop + 1
    return place


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
