"""Small trees of event datasets in the published layouts and byte formats, made up here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import event_writers as writers
from event_writers import Event, write
from tasks.data import action_sets, cifar10_dvs

CALTECH = ("BACKGROUND_Google", "Faces_easy", "accordion")


def events(seed: int, width: int, height: int, count: int = 40) -> list[Event]:
    """Events in order of time, one in each corner among them; the first is at 1,000 µs."""
    rng = np.random.default_rng(seed)
    corners = [(0, 0), (width - 1, height - 1), (0, height - 1), (width - 1, 0)]
    places = corners + [(rng.integers(width), rng.integers(height)) for _ in range(count - 4)]
    times = 1000 + 250 * np.arange(count)
    polarity = rng.integers(0, 2, count)
    return [
        (int(x), int(y), int(t), int(p))
        for (x, y), t, p in zip(places, times, polarity, strict=True)
    ]


def cifar10_tree(root: Path, suffix: str = ".aedat") -> None:
    form = writers.dvs128 if suffix == ".aedat" else writers.aedat4
    for label, name in enumerate(cifar10_dvs.CLASSES):
        for number in range(12):
            path = root / name / f"cifar10_{name}_{number}{suffix}"
            write(path, form(events(100 * label + number, 128, 128)))


def n_mnist_tree(root: Path) -> None:
    for part, count in (("Train", 3), ("Test", 2)):
        for digit in range(10):
            for number in range(count):
                path = root / part / str(digit) / f"{10 * number + digit:05d}.bin"
                write(path, writers.atis_bin(events(digit + 10 * number, 34, 34)))


def n_caltech_tree(root: Path) -> None:
    for label, name in enumerate(CALTECH):
        for number in range(1, 5):
            path = root / "Caltech101" / name / f"image_{number:04d}.bin"
            write(path, writers.atis_bin(events(10 * label + number, 240, 180)))
    (root / "Caltech101" / "__MACOSX").mkdir(exist_ok=True)


def n_cars_tree(root: Path, train: str = "n-cars_train", test: str = "n-cars_test") -> None:
    """Cars grow brighter on the right, other things darker on the left."""
    for part, count in ((train, 8), (test, 4)):
        for label, name in enumerate(("background", "cars")):
            for number in range(count):
                found = events(100 * label + number, 60, 100, 300)
                found = [(x + 60 * label, y, t, label) for x, y, t, _ in found]
                write(root / part / name / f"obj_{number:06d}_td.dat", writers.dat(found))


def gesture_tree(root: Path) -> None:
    folder = root / "DvsGesture"
    for part, users in (("train", (1, 2)), ("test", (24,))):
        names = [f"user{user:02d}_led" for user in users]
        lines = "".join(f"{name}.aedat\n" for name in names)
        write(folder / f"trials_to_{part}.txt", lines.encode())
        for name in names:
            parts, rows = [], ["class,startTime_usec,endTime_usec"]
            for label in range(11):
                start = 100_000 * (label + 1)
                found = [(x, y, t + start, p) for x, y, t, p in events(label, 128, 128)]
                parts += [writers.packet(found[:25]), writers.packet(found[25:])]
                rows.append(f"{label + 1},{start + 1000},{found[-1][2]}")
            write(folder / f"{name}.aedat", writers.aedat31(*parts))
            write(folder / f"{name}_labels.csv", ("\n".join(rows) + "\n").encode())


def gesture_copy(root: Path) -> None:
    for part, users in (("Train", (1, 2)), ("Test", (24,))):
        for user in users:
            for label in range(11):
                path = root / "DVSGesture" / f"ibmGesture{part}/user{user:02d}_led/{label}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                found = [(x, y, p, t // 1000) for x, y, t, p in events(label, 128, 128)]
                np.save(path, np.array(found, np.float64))


def action_tree(root: Path) -> None:
    for label, name in enumerate(action_sets.ACTIONS):
        spelt = name.replace("-", " ") if label % 2 else name
        for number in range(1, 4):
            path = root / "Action Recognition" / spelt / f"{number}.aedat"
            write(path, writers.davis346(events(10 * label + number, 346, 260)))
