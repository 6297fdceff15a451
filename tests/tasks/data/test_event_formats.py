"""Event files: what was written byte by byte is read back; damaged files are named."""

from __future__ import annotations

import importlib.util
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

import event_writers as writers
from adacal.core.errors import ConfigError, DataError
from tasks.data import event_formats as formats

EVENTS = [(0, 0, 5, 1), (33, 20, 70, 0), (12, 100, 70, 1), (3, 99, 8_000_000, 0)]
FORMS = {
    "dvs128": (writers.dvs128, formats.read_dvs128, EVENTS),
    "davis346": (writers.davis346, formats.read_davis346, [*EVENTS, (345, 259, 8_000_001, 1)]),
    "aedat31": (
        lambda events: writers.aedat31(writers.packet(events[:1]), writers.packet(events[1:])),
        formats.read_aedat31,
        [*EVENTS, (127, 127, 8_000_001, 1)],
    ),
    "bin": (writers.atis_bin, formats.read_bin, [*EVENTS, (239, 179, 2**23 - 1, 1)]),
    "dat": (writers.dat, formats.read_dat, [*EVENTS, (119, 99, 8_000_001, 1)]),
}


def rows(events: np.ndarray) -> list[tuple[int, int, int, int]]:
    return [(int(e["x"]), int(e["y"]), int(e["t"]), int(e["p"])) for e in events]


@pytest.mark.parametrize("form", FORMS)
def test_events_are_read_as_they_were_written(tmp_path: Path, form: str):
    build, read, events = FORMS[form]
    assert rows(read(writers.write(tmp_path / "file", build(events)))) == events


def test_aedat4_is_read_through_tonic_or_the_missing_package_is_named(tmp_path: Path):
    path = writers.write(tmp_path / "a.aedat4", writers.aedat4(EVENTS))
    if importlib.util.find_spec("aedat") is None:
        with pytest.raises(ConfigError, match=r"a.aedat4' is AEDAT 4.*pip install aedat"):
            formats.read_aedat4(path)
        return
    assert rows(formats.read_aedat4(path)) == EVENTS
    writers.write(path, path.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"a.aedat4' is damaged"):
        formats.read_aedat4(path)


def test_tonics_array_has_milliseconds(tmp_path: Path):
    path = tmp_path / "3.npy"
    np.save(path, np.array([[1, 2, 1, 0], [127, 3, 0, 6500]], np.float64))
    assert rows(formats.read_npy(path)) == [(1, 2, 0, 1), (127, 3, 6_500_000, 0)]


class Malicious:
    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_an_array_that_would_run_a_command_is_refused(tmp_path: Path):
    path, victim = tmp_path / "3.npy", tmp_path / "victim"
    np.save(path, np.array([Malicious(f"touch {victim}")]), allow_pickle=True)
    with pytest.raises(DataError, match=r"3.npy' is damaged.*allow_pickle=False"):
        formats.read_npy(path)
    path.write_bytes(pickle.dumps(Malicious(f"touch {victim}")))
    with pytest.raises(DataError, match=r"3.npy' is damaged"):
        formats.read_npy(path)
    assert not victim.exists()


def test_a_row_of_text_ends_the_head_even_if_the_first_event_starts_like_one(tmp_path: Path):
    # y = 119 from the top is 140 from the bottom: the first byte is 0x23, '#', the mark of a line,
    # and the last byte of the time, 10, is the end of one.
    events = [(10, 119, 10, 1), (11, 118, 20, 0)]
    content = writers.davis346(events)
    assert content[len(writers.HEAD2)] == ord("#")
    assert rows(formats.read_davis346(writers.write(tmp_path / "a.aedat", content))) == events


def test_images_and_triggers_of_a_davis_are_no_events(tmp_path: Path):
    words = [(1 << 31 | 5 << 12, 1), (1 << 10, 2), (9 << 22 | 345 << 12, 3)]
    path = writers.write(tmp_path / "a.aedat", writers.aedat2(words))
    assert rows(formats.read_davis346(path)) == [(0, 250, 3, 0)]


def test_triggers_of_a_dvs128_are_no_events(tmp_path: Path):
    path = writers.write(tmp_path / "a.aedat", writers.aedat2([(0x8000, 1), (0, 2)]))
    assert rows(formats.read_dvs128(path)) == [(127, 127, 2, 1)]


def test_packets_of_other_kinds_and_invalid_events_are_left_out(tmp_path: Path):
    path = tmp_path / "a.aedat"
    other, invalid = writers.packet(EVENTS[:2], kind=0), writers.packet(EVENTS[1:2], valid=0)
    writers.write(path, writers.aedat31(other, writers.packet(EVENTS[:1]), invalid))
    assert rows(formats.read_aedat31(path)) == EVENTS[:1]


def test_the_clock_goes_on_after_its_overflow(tmp_path: Path):
    late = writers.packet([(1, 2, 7, 1)], overflow=1)
    path = writers.write(tmp_path / "a", writers.aedat31(writers.packet(EVENTS), late))
    assert rows(formats.read_aedat31(path))[-1] == (1, 2, 2**31 + 7, 1)


def test_a_window_holds_the_events_from_its_start_to_before_its_end(tmp_path: Path):
    events = [(t % 128, t % 77, t // 3, t % 2) for t in range(600)]
    packets = [writers.packet(events[first : first + 7]) for first in range(0, 600, 7)]
    path = writers.write(tmp_path / "a", writers.aedat31(*packets))
    for start, end in ((0, 200), (50, 51), (2, 100), (199, 500), (300, 400), (0, 1)):
        wanted = [event for event in events if start <= event[2] < end]
        assert rows(formats.read_aedat31(path, (start, end))) == wanted


def test_the_time_of_a_bin_file_goes_on_after_its_overflow(tmp_path: Path):
    # An event at row 240 says that the clock has passed 2^13 µs more (Orchard et al. 2015).
    path = writers.write(tmp_path / "a.bin", writers.atis_bin([(1, 2, 9, 1), (0, 240, 0, 0)]))
    path.write_bytes(path.read_bytes() + writers.atis_bin([(3, 4, 10, 0)]))
    assert rows(formats.read_bin(path)) == [(1, 2, 9, 1), (3, 4, 10 + 2**13, 0)]


@pytest.mark.parametrize("form", FORMS)
def test_a_truncated_file_is_named(tmp_path: Path, form: str):
    build, read, events = FORMS[form]
    path = writers.write(tmp_path / "user.file", build(events)[:-3])
    with pytest.raises(DataError, match=r"event file '.*user.file' is damaged \(.*restore"):
        read(path)


@pytest.mark.parametrize("form", FORMS)
def test_an_empty_or_missing_file_is_named(tmp_path: Path, form: str):
    read = FORMS[form][1]
    with pytest.raises(DataError, match=r"'.*gone'"):
        read(tmp_path / "gone")
    with pytest.raises(DataError, match=r"event file '.*empty' is damaged"):
        read(writers.write(tmp_path / "empty", b""))


@pytest.mark.parametrize("form", ["dvs128", "davis346", "aedat31", "dat"])
def test_a_file_of_another_kind_is_named(tmp_path: Path, form: str):
    read = FORMS[form][1]
    with pytest.raises(DataError, match=r"other' is damaged"):
        read(writers.write(tmp_path / "other", b"\x89PNG\r\n" + bytes(800)))
    with pytest.raises(DataError, match=r"a.aedat4' is damaged \(it does not start with"):
        formats.read_aedat4(writers.write(tmp_path / "a.aedat4", writers.dvs128(EVENTS)))


def test_a_packet_with_an_impossible_head_is_named(tmp_path: Path):
    good = bytearray(writers.aedat31(writers.packet(EVENTS)))
    place = len(writers.HEAD3)
    for offset, value, sentence in (
        (16, 2, "impossible head"),  # room for two events, four are said to be there
        (20, -1, "impossible head"),
        (16, 2**30, "cut off"),
        (4, 0, "impossible head"),
        (4, 4, "4 bytes, not 8"),
    ):
        bad = bytearray(good)
        bad[place + offset : place + offset + 4] = value.to_bytes(4, "little", signed=True)
        with pytest.raises(DataError, match=sentence):
            formats.read_aedat31(writers.write(tmp_path / f"{offset}_{value}", bytes(bad)))


def test_other_damage_says_what_it_is(tmp_path: Path):
    wide = writers.write(tmp_path / "wide", writers.aedat2([(1 << 16, 1)]))
    with pytest.raises(DataError, match="addresses of more than 16 bits"):
        formats.read_dvs128(wide)
    kind = writers.write(tmp_path / "kind", writers.HEAD_DAT + b"\x0e\x08" + bytes(8))
    with pytest.raises(DataError, match="events of 8 bytes"):
        formats.read_dat(kind)
    for number, table in enumerate((np.zeros((3, 5)), np.full((2, 4), np.nan), np.array(["a"]))):
        np.save(tmp_path / f"{number}.npy", table)
        with pytest.raises(DataError, match=rf"{number}.npy' is damaged"):
            formats.read_npy(tmp_path / f"{number}.npy")
