"""DVS128 Gesture and the Action Recognition set of PAF: people who move before an event camera."""

from __future__ import annotations

from pathlib import Path

from adacal.core.errors import DataError
from adacal.suite.registry import DATASETS
from tasks.data.event_files import EventFiles, Recording, SplitByClass
from tasks.data.event_formats import EventArray, read_aedat31, read_davis346, read_npy

TRIALS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
COPY = {"train": "ibmGestureTrain", "test": "ibmGestureTest"}
CSV_HEAD = "class,startTime_usec,endTime_usec"

ACTIONS = (
    "arm-crossing", "get-up", "jumping", "kicking", "picking-up", "sit-down", "throwing",
    "turning-around", "walking", "waving",
)  # fmt: skip


@DATASETS.register_module(name="dvs128_gesture")
class Dvs128Gesture(EventFiles):
    """1,176 training and 288 test recordings of 11 gestures, 2x128x128, split by people.

    Amir et al. 2017. The official release holds trials of about twelve gestures in AEDAT 3.1, and
    for each a table of when which was made; a gesture is the window [start, end) of its row.
    tonic's copy has each gesture on its own, with times in whole ms and fewer recordings (1,077 and
    264), as an array that is read with `allow_pickle=False`. Classes are those of the official
    `gesture_mapping.csv`, from 0.
    """

    name, num_classes, sensor, events_per_unit = "dvs128_gesture", 11, (128, 128), 32.0
    expected = (
        "DvsGesture/{trials_to_train.txt, trials_to_test.txt, user01_led.aedat, "
        "user01_led_labels.csv, …}, or tonic's {ibmGestureTrain, ibmGestureTest}/user01_led/0.npy …"
    )

    def list_files(self, root: Path) -> dict[str, list[Recording]]:
        """Returns the recordings of both splits; the official release if both forms are there."""
        for folder in (root / "DvsGesture", root):
            if (folder / TRIALS["train"]).is_file():
                return {part: self.official(folder, name) for part, name in TRIALS.items()}
        base = self.place(root, ("", "DVSGesture"), COPY["train"])
        return {part: self.copied(base / name) for part, name in COPY.items()}

    def official(self, folder: Path, name: str) -> list[Recording]:
        """Returns the gestures of the trials that a list names.

        Raises:
            DataError: the list, a trial or its table is missing or damaged.
        """
        if not (folder / name).is_file():
            raise self.incomplete(f"there is no '{name}'")
        found = []
        for line in (folder / name).read_text(errors="replace").split():
            trial = folder / line
            if trial.name != line or not trial.is_file():
                raise self.incomplete(f"'{name}' names '{line}', which is not there")
            found += self.gestures(trial, folder / f"{trial.stem}_labels.csv")
        return found

    def gestures(self, trial: Path, table: Path) -> list[Recording]:
        """Returns the gestures of one trial.

        Raises:
            DataError: its table is missing, or a row is not a class and two times in order.
        """
        if not table.is_file():
            raise self.incomplete(f"there is no '{table.name}'")
        head, *rows = table.read_text(errors="replace").replace(" ", "").splitlines() or [""]
        if head != CSV_HEAD or not any(rows):
            raise DataError(f"'{table}' is no table of gestures ({CSV_HEAD}); restore that file")
        found = []
        for number, row in enumerate(rows, 2):
            if not row:
                continue
            cells = row.split(",")
            values = [int(cell) for cell in cells if cell.isdigit()]
            if not (len(values) == len(cells) == 3 and 1 <= values[0] <= 11):
                values = [0, 0, 0]
            label, start, end = values
            if start >= end:
                raise DataError(
                    f"'{table}' line {number} is '{row}', not a class from 1 to 11, a start and an "
                    "end; restore that file"
                )
            found.append(Recording(trial, label - 1, (start, end)))
        return found

    def copied(self, folder: Path) -> list[Recording]:
        """Returns the gestures of tonic's copy.

        Raises:
            DataError: there are none, or a file's name is not a class.
        """
        found = []
        trials = sorted(path for path in folder.glob("user*") if path.is_dir())
        for path in (path for trial in trials for path in self.files(trial, ".npy")):
            if not path.stem.isdigit() or int(path.stem) >= self.num_classes:
                raise self.incomplete(f"'{path}' is not named after a class, 0 to 10")
            found.append(Recording(path, int(path.stem)))
        return found

    def read(self, recording: Recording) -> EventArray:
        """Returns the events of one gesture."""
        if recording.path.suffix == ".npy":
            return read_npy(recording.path)
        return read_aedat31(recording.path, recording.window)


@DATASETS.register_module(name="action_recognition")
class ActionRecognition(SplitByClass):
    """About 290 recordings of 10 actions of some 5 s, 2x260x346, without an official split.

    Miao et al. 2019, a part of PAFBenchmark (github.com/CrystalMiaoshu/PAFBenchmark). It is
    published as `.aedat` files of jAER (AEDAT 2.0, a DAVIS346 in colour), a folder for each action;
    copies spell the folders differently, so only their letters count. Files do not name the person,
    so the split by class may have one person on both sides.

    Only `.aedat` is read: it is what the authors' own scripts open (`snn.py`, `frequency.py`,
    `sae.py`) and what other public readers expect, one file a recording. A `.mat` form is spoken of
    as well, but no public description of its layout was found, nor code that reads it (the Adaptive
    Calibration code takes `.npy` arrays converted beforehand). To guess at the order and origin of
    the coordinates, the polarities and the unit of time would give wrong pictures without an error.
    """

    name, num_classes, sensor, events_per_unit = "action_recognition", 10, (260, 346), 16.0
    expected = f"{{{', '.join(ACTIONS)}}}/*.aedat"

    def list_classes(self, root: Path) -> list[list[Path]]:
        """Returns the files of each action.

        Raises:
            DataError: an action has no folder, or two.
        """
        tree = root
        for name in ("Action Recognition", "ActionRecognition"):
            tree = root / name if (root / name).is_dir() else tree
        folders = [folder for folder in sorted(tree.iterdir()) if folder.is_dir()]
        found = []
        for action in ACTIONS:
            same = [folder for folder in folders if letters(folder.name) == letters(action)]
            if len(same) != 1:
                raise self.incomplete(f"{len(same)} folders for '{action}' instead of one")
            found.append(self.files(same[0], ".aedat"))
        return found

    def read(self, recording: Recording) -> EventArray:
        """Returns the events of one recording."""
        return read_davis346(recording.path)


def letters(name: str) -> str:
    """Returns the letters of a name in lower case.

    >>> letters("Arm crossing") == letters("arm-crossing")
    True
    """
    return "".join(character for character in name.lower() if character.isalpha())
