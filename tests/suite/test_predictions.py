"""Images of one's own: which files are taken, what is said of them, what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from click.testing import CliRunner, Result
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from adacal.core.converted import Prediction
from adacal.core.errors import ConfigError, DataError
from adacal.suite.cli import main
from adacal.suite.config import resolve
from adacal.suite.predictions import find_images, predict_images
from adacal.suite.registry import TASKS
from adacal.suite.task import Batch
from suite.suite_toys import ToyTask, raw_config


@TASKS.register_module(name="toy_pictures", force=True)
class ToyPictures(ToyTask):
    """The toy task; of an image the mean brightness chooses the class."""

    drawn: ClassVar[list[tuple[int, list[str]]]] = []

    def read_image(self, path: Path) -> Batch:
        try:
            grey = Image.open(path).convert("L")
        except OSError as error:
            raise DataError(f"the image '{path}' cannot be read; give a PNG file") from error
        kind = int(torch.tensor(list(grey.tobytes())).float().mean()) // 64
        inputs = 5.0 * torch.nn.functional.one_hot(torch.tensor([kind]), 4).float()
        return Batch(inputs=inputs, targets=[str(path)], indices=torch.tensor([-1]))

    def draw_answers(
        self, figure: Figure, batch: Batch, ann: Tensor, snn: Mapping[str, Prediction]
    ) -> None:
        figure.add_subplot().set_title("drawn")
        self.drawn.append((int(ann.argmax()), list(snn)))

    def compare(self, batch: Batch, ann: Tensor, snn: Prediction) -> str:
        return "same" if int(ann.argmax()) == int(snn.output.argmax()) else "another"


def raw(**changes: Any) -> dict[str, Any]:
    return raw_config(task={"type": "toy_pictures", "dataset": {"type": "toy_data"}}, **changes)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, grey in (("b.png", 70), ("a.png", 10), ("c.JPG", 200)):
        Image.new("L", (4, 4), grey).save(folder / name)
    (folder / "notes.txt").write_text("no image")
    ToyPictures.drawn.clear()
    return folder


def test_each_image_gets_a_picture_with_every_T_beside_the_ann(
    images: Path, tmp_path: Path
) -> None:
    stages: list[str] = []
    found = predict_images(
        resolve(raw()),
        [images],
        tmp_path / "out" / "deep",
        T=[2, 4, 2],
        progress=lambda stage, done, total: stages.append(stage),
    )
    assert [picture.path.name for picture in found] == ["a.png", "b.png", "c.png"]
    assert all(picture.path.read_bytes().startswith(b"\x89PNG") for picture in found)
    names = ["SNN T=2", "SNN T=4"]
    assert ToyPictures.drawn == [(0, names), (1, names), (3, names)]
    assert found[0].notes == dict.fromkeys(names, "another")  # the toy method misses the last
    assert found[0].line().startswith("a.png: SNN T=2: another; SNN T=4: another -> ")
    assert {"reading", "convert, SNN T=2", "images"} <= set(stages)


def test_files_and_folders_are_taken_in_order_and_once(images: Path) -> None:
    found = find_images([images / "b.png", images, images / "notes.txt"])
    assert [path.name for path in found] == ["b.png", "a.png", "c.JPG", "notes.txt"]
    assert len(find_images([images, images])) == 3


def test_samples_of_the_same_name_get_pictures_of_their_own(images: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    Image.new("L", (4, 4), 130).save(tmp_path / "more" / "a.png")
    found = predict_images(
        resolve(raw()), [images / "a.png", tmp_path / "more"], tmp_path / "out", samples=2
    )
    assert [picture.path.name for picture in found] == ["a.png", "a-2.png"]
    one = predict_images(resolve(raw()), [images], tmp_path / "out", samples=1)
    assert [picture.image.name for picture in one] == ["a.png"]


def test_a_method_without_steps_is_named_and_takes_no_T(images: Path, tmp_path: Path) -> None:
    config = resolve(raw(method={"type": "toy_ann"}))
    (found,) = predict_images(config, [images / "b.png"], tmp_path / "out")
    assert found.notes == {"toy_ann": "same"}
    with pytest.raises(ConfigError, match="'toy_ann' has no steps; leave --T out"):
        predict_images(config, [images], tmp_path / "out", T=[2])


def test_wrong_input_is_one_sentence_before_anything_is_converted(
    images: Path, tmp_path: Path
) -> None:
    config, out = resolve(raw(method={"type": "toy_spiking", "broken": True})), tmp_path / "out"
    with pytest.raises(DataError, match="no image or folder at"):
        predict_images(config, [tmp_path / "gone.png"], out)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no images in '.*empty'; give image files"):
        predict_images(config, [tmp_path / "empty"], out)
    with pytest.raises(DataError, match=r"notes\.txt' cannot be read"):
        predict_images(config, [images, images / "notes.txt"], out)
    with pytest.raises(DataError, match="would replace an image; name another folder with --out"):
        predict_images(config, [images], images)
    with pytest.raises(ConfigError, match="T must be at least 1; got 0"):
        predict_images(config, [images], out, T=[0])
    with pytest.raises(ConfigError, match="reads no images from files"):
        predict_images(resolve(raw_config()), [images], out)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written .* another folder with --out"):
        predict_images(resolve(raw()), [images], tmp_path / "file" / "out")
    assert not out.exists()


def adacal(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_command_takes_several_words_after_images_and_T(images: Path, tmp_path: Path) -> None:
    config = tmp_path / "toy.py"
    config.write_text("".join(f"{key} = {value!r}\n" for key, value in raw().items()))
    out = tmp_path / "out"
    words = ("--images", images / "a.png", images / "b.png", "--T", 2, 8, "--out", out)
    done = adacal("predict", config, *words, "--cfg-options", "method.misses=0", "seed=3")
    assert done.exit_code == 0, done.output
    lines = [line for line in done.output.splitlines() if "->" in line]
    assert lines[0] == f"a.png: SNN T=2: same; SNN T=8: same -> {out / 'a.png'}"
    assert [path.name for path in sorted(out.iterdir())] == ["a.png", "b.png"]
    gone = adacal("predict", config, "--images", tmp_path / "gone", "--out", out)
    assert gone.exit_code == 2 and "error: no image or folder at" in gone.output
    unknown = adacal("predict", "toy_confg", "--images", images, "--out", out)
    assert unknown.exit_code == 2 and "no config named 'toy_confg'" in unknown.output
    assert adacal("predict", config, "--images", images, "--out", out, "--T", "two").exit_code == 2
