"""What new users get wrong with detectors and segmentors: each ends with one clear sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from adacal.core.errors import AdacalError, ConfigError, DataError, UnsupportedModelError
from adacal.suite.session import Session
from dense_sets import CLASSES, RealSet, real_set
from tasks.checkpoints import save_tensors

Break = Callable[[Path], object]
VAL = "annotations/instances_val2017.json"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RealSet]:
    names = ("coco", "voc", "voc12", "cityscapes")
    return {name: real_set(name, tmp_path_factory.mktemp(name)) for name in names}


@pytest.fixture
def copied(kept: dict[str, RealSet], tmp_path: Path) -> Callable[[str], RealSet]:
    """Copies a tree, for tests that damage it."""

    def copy(name: str) -> RealSet:
        root = Path(shutil.copytree(kept[name].root, tmp_path / name))
        return RealSet(name, root, kept[name].truth, kept[name].model)

    return copy


def refused(kind: type[AdacalError], act: Callable[[], object]) -> str:
    """Returns the sentence of an error, of which there must be one."""
    with pytest.raises(kind) as caught:
        act()
    sentence = str(caught.value)
    assert "\n" not in sentence and len(sentence) < 700
    return sentence


def prepare(real: RealSet, **changes: Any) -> Any:
    return Session().prepare(real.config(**changes))


def with_model(real: RealSet, **changes: Any) -> dict[str, Any]:
    """A config's `model` in place of the tree's own."""
    options = {**real.model["options"], **changes.pop("options", {})}
    return {"model": {**real.model, "options": options, **changes}}


# ---- models ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("detr/detr_r50_8xb2-150e_coco", "'DETR' is a transformer detector"),
        ("faster_rcnn/faster-rcnn_r50_fpn_1x_coco", "'FasterRCNN' is a two-stage detector"),
    ],
)
def test_detectors_of_other_kinds_are_refused_with_the_reason(kept, config, words):
    real = kept["coco"]
    options = {"model.backbone.init_cfg": None}
    model = {"type": "openmmlab", "config": config, "options": options}
    task = RealSet("coco", real.root, real.truth, model).task()
    assert words in refused(UnsupportedModelError, task.build_ann)


def test_a_checkpoint_of_another_model_is_told_apart(kept: dict[str, RealSet]) -> None:
    real = kept["coco"]
    other = kept["voc12"].model["checkpoint"]
    sentence = refused(DataError, lambda: prepare(real, **with_model(real, checkpoint=other)))
    assert "is of another model" in sentence and other in sentence


def test_a_checkpoint_that_is_a_pickle_is_not_opened(kept, tmp_path):
    real = kept["coco"]
    path = tmp_path / "epoch_12.pth"
    torch.save({"state_dict": {}, "meta": object}, path)
    changes = with_model(real, checkpoint=str(path))
    assert "holds more than tensors" in refused(DataError, lambda: prepare(real, **changes))


def test_a_checkpoint_for_other_classes_does_not_fit(kept: dict[str, RealSet]) -> None:
    real = kept["coco"]
    changes = with_model(real, checkpoint=kept["voc"].model["checkpoint"])
    sentence = refused(DataError, lambda: prepare(real, **changes))
    assert "check the number of classes" in sentence


def test_a_head_and_a_dataset_of_other_classes_do_not_fit(kept: dict[str, RealSet]) -> None:
    coco = kept["coco"]
    mixed = RealSet("coco", coco.root, coco.truth, kept["voc"].model)
    sentence = refused(ConfigError, lambda: prepare(mixed))
    assert f"tells {CLASSES['voc']} classes and the dataset 'coco' has 80" in sentence


def test_weights_that_are_not_finite_are_refused(kept: dict[str, RealSet], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    real, path = kept["voc"], tmp_path / "nan.safetensors"
    weights = load_file(real.model["checkpoint"])
    weights["bbox_head.conv_cls.bias"][0] = float("nan")
    save_tensors(path, weights)
    sentence = refused(DataError, lambda: prepare(real, **with_model(real, checkpoint=str(path))))
    assert "NaN or infinite values in 'bbox_head.conv_cls.bias'" in sentence


# ---- configs -----------------------------------------------------------------------------------


def test_datasets_of_the_other_library_and_of_other_tasks_are_refused(kept):
    real = kept["coco"]
    theirs = {"task": {"dataset": {"library": "mmseg", "config": "_base_/datasets/ade20k"}}}
    theirs["task"]["dataset"]["options"] = None
    assert "is none of mmdet" in refused(ConfigError, lambda: real.task(**theirs))
    task = {"task": {"type": "detection", "dataset": {"type": "mnist5k"}}}
    config = real.config().model_copy(update=task)
    assert "'mnist5k' is none of mmdet" in refused(ConfigError, lambda: Session().prepare(config))


def test_a_config_of_the_other_library_is_refused(kept: dict[str, RealSet]) -> None:
    real = kept["coco"]
    changes = with_model(real, config=kept["voc12"].model["config"])
    assert "is of mmseg, not of mmdet" in refused(ConfigError, lambda: real.task(**changes))


def test_a_misspelt_config_gets_the_near_name(kept: dict[str, RealSet]) -> None:
    real = kept["coco"]
    changes = with_model(real, config="retinanet/retinanet_r50_fpn_1x_cocoo")
    assert "did you mean 'retinanet/retinanet_r50_fpn_1x_coco.py'" in refused(
        ConfigError, lambda: real.task(**changes)
    )


# ---- data --------------------------------------------------------------------------------------


def remove(path: str) -> Break:
    def act(root: Path) -> object:
        place = root / path
        return shutil.rmtree(place) if place.is_dir() else place.unlink()

    return act


def fill(path: str, content: bytes) -> Break:
    return lambda root: (root / path).write_bytes(content)


def cut(path: str) -> Break:
    return lambda root: (root / path).write_bytes((root / path).read_bytes()[:-400])


def empty_coco(root: Path) -> None:
    content = json.loads((root / VAL).read_text())
    (root / VAL).write_text(json.dumps({**content, "images": [], "annotations": []}))


def without_sizes(root: Path) -> None:
    content = json.loads((root / VAL).read_text())
    images = [{**image, "height": None} for image in content["images"]]
    for image in images:
        del image["height"]
    (root / VAL).write_text(json.dumps({**content, "images": images}))


TREES = [
    ("coco", remove(VAL), [f"needs the file 'ROOT/{VAL}'", "https://cocodataset.org"]),
    ("coco", remove("val2017"), ["needs the folder 'ROOT/val2017'", "task.dataset.data_root"]),
    ("coco", remove("val2017/000000000140.jpg"), ["1 of the files", "000000000140.jpg"]),
    ("coco", remove("annotations/instances_train2017.json"), ["the training dataset", "needs"]),
    ("coco", empty_coco, ["the test dataset 'CocoDataset'", "holds no images"]),
    ("coco", fill(VAL, b'{"images": ['), [f"'ROOT/{VAL}', cannot be read", "JSONDecodeError"]),
    ("coco", fill(VAL, b"[]"), [f"'ROOT/{VAL}', cannot be read"]),
    ("coco", without_sizes, [f"'ROOT/{VAL}', cannot be read", "height"]),
    ("voc", remove("VOC2012"), ["the training dataset 'VOCDataset' needs", "VOC2012"]),
    ("voc", remove("VOC2007/Annotations/000012.xml"), ["lacks a file", "000012.xml"]),
    ("voc", fill("VOC2007/Annotations/000012.xml", b"<a"), ["000012.xml' is damaged"]),
    ("voc", fill("VOC2007/ImageSets/Main/test.txt", b""), ["holds no images"]),
    ("voc12", remove("SegmentationClassAug"), ["SegmentationClassAug'", "voc_aug.py"]),
    ("voc12", remove("ImageSets/Segmentation/val.txt"), ["needs the file", "val.txt"]),
    (
        "cityscapes",
        remove("gtFine/val/lindau/lindau_000000_000019_gtFine_labelTrainIds.png"),
        ["1 of the files", "lindau_000000_000019_gtFine_labelTrainIds.png", "csCreateTrainIdLabel"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("name", "act", "words"), TREES)
def test_a_tree_that_is_not_whole_is_told_with_the_file_and_what_to_do(copied, name, act, words):
    real = copied(name)
    act(real.root)
    sentence = refused(DataError, lambda: prepare(real))
    for word in words:
        assert word.replace("ROOT", str(real.root)) in sentence


IMAGES = [
    ("coco", fill("val2017/000000000140.jpg", b"no image"), ["000000000140.jpg", "cannot be read"]),
    ("coco", fill("val2017/000000000140.jpg", b""), ["000000000140.jpg", "cannot be read"]),
    ("coco", cut("val2017/000000000140.jpg"), ["000000000140.jpg' is cut short"]),
    ("voc12", cut("SegmentationClass/2007_000042.png"), ["2007_000042", "cannot be read"]),
]


@pytest.mark.parametrize(("name", "act", "words"), IMAGES)
def test_a_damaged_image_is_named_before_anything_is_measured_on_it(copied, name, act, words):
    real = copied(name)
    act(real.root)
    task = real.task()
    sentence = refused(DataError, lambda: list(task.test_batches(2)))
    for word in words:
        assert word in sentence


def test_a_folder_that_does_not_exist_is_told(kept: dict[str, RealSet]) -> None:
    nowhere = {"task": {"dataset": {"data_root": "/no/such/folder"}}}
    sentence = refused(DataError, lambda: prepare(kept["coco"], **nowhere))
    assert "'/no/such/folder/annotations/instances_val2017.json'" in sentence


def test_trailing_bytes_do_not_make_an_image_short(copied: Callable[[str], RealSet]) -> None:
    real = copied("coco")
    path = real.root / "val2017" / "000000000140.jpg"
    path.write_bytes(path.read_bytes() + bytes(100))
    before = [batch.inputs.shape for batch in real.task().test_batches(1)]
    assert len(before) == 3
    grey = Image.open(path).convert("L")
    grey.save(path)  # of one channel, as some of COCO's are
    assert [batch.inputs.shape for batch in real.task().test_batches(1)] == before


def test_more_calibration_images_than_there_are_is_told(kept: dict[str, RealSet]) -> None:
    task = kept["coco"].task()
    sentence = refused(ConfigError, lambda: task.calibration_batches(64, 0))
    assert "takes 1 to 4 images of 'coco'; got 64" in sentence
