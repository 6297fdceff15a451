"""Models from the plain configs of mmdet and mmsegmentation; bad input as a new user gives it."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from adacal.core.errors import ConfigError, DataError, UnsupportedModelError
from dense_models import DETECTORS, SEGMENTORS
from tasks.openmmlab.building import build_model, find_config, load_config, offline

NAME, SMALL = DETECTORS["retinanet"]


def retinanet(checkpoint: Path | None = None, classes: int = 3) -> nn.Module:
    options = {**SMALL, "model.bbox_head.num_classes": classes}
    return build_model(NAME, checkpoint, library="mmdet", options=options)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return retinanet()


def same(one: nn.Module, other: nn.Module) -> bool:
    states = (one.state_dict(), other.state_dict())
    assert list(states[0]) == list(states[1])
    return all(torch.equal(a, b) for a, b in zip(*(s.values() for s in states), strict=True))


def test_a_shipped_config_becomes_a_model_in_eval_mode(model):
    assert type(model).__name__ == "RetinaNet" and not model.training
    assert model.bbox_head.num_classes == 3


def test_a_file_and_a_dict_give_the_model_that_the_name_gives(tmp_path, model):
    config = load_config(NAME, library="mmdet", options=SMALL)
    config.dump(tmp_path / "mine.py")
    for source in (tmp_path / "mine.py", str(tmp_path / "mine.py"), config.to_dict(), config):
        torch.manual_seed(0)
        assert same(build_model(source, library="mmdet"), model)


def test_a_config_given_as_a_dict_is_left_as_it_is():
    config = load_config(NAME, library="mmdet").to_dict()
    before = copy.deepcopy(config)
    build_model(config, library="mmdet", options=SMALL)
    assert config == before


@pytest.mark.parametrize("wrapped", [True, False])
def test_weights_come_from_a_checkpoint_of_tensors(tmp_path, model, wrapped):
    state = model.state_dict()
    stored = {"meta": {"epoch": 3}, "state_dict": state} if wrapped else state
    torch.save(stored, tmp_path / "model.pth")
    torch.manual_seed(1)
    assert not same(retinanet(), model)
    assert same(retinanet(tmp_path / "model.pth"), model)


def test_a_checkpoint_for_another_number_of_classes_says_so(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "three.pth")
    with pytest.raises(DataError, match=r"three.pth' does not fit: 'bbox_head.retina_cls.*classes"):
        retinanet(tmp_path / "three.pth", classes=5)


def test_a_checkpoint_of_another_model_says_so(tmp_path, model):
    torch.save(model.state_dict(), tmp_path / "retinanet.pth")
    name, options = SEGMENTORS["fcn"]
    with pytest.raises(DataError, match=r"retinanet.pth' is of another model: \d+ tensors missing"):
        build_model(name, tmp_path / "retinanet.pth", library="mmseg", options=options)


def test_a_missing_checkpoint_says_so(tmp_path):
    with pytest.raises(DataError, match="no checkpoint at '.*nowhere.pth'"):
        retinanet(tmp_path / "nowhere.pth")


class Command:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_checkpoint_that_would_run_a_command_is_refused(tmp_path):
    torch.save({"state_dict": {}, "meta": Command(tmp_path / "victim")}, tmp_path / "bad.pth")
    with pytest.raises(DataError, match="damaged or holds more than tensors"):
        retinanet(tmp_path / "bad.pth")
    assert not (tmp_path / "victim").exists()


def test_nothing_is_downloaded(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a download was tried")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    config = load_config(NAME, library="mmdet")
    assert config.model.backbone.init_cfg.checkpoint == "torchvision://resnet18"
    assert build_model(config, library="mmdet", options=SMALL).backbone.init_cfg != {}
    name, options = SEGMENTORS["fcn"]
    assert load_config(name, library="mmseg").model.pretrained.startswith("open-mmlab://")
    build_model(name, library="mmseg", options=options)


def test_what_would_be_downloaded_while_building_is_refused():
    with pytest.raises(ConfigError, match="download 'model.language_model.name'"):
        build_model("glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365", library="mmdet")
    with pytest.raises(ConfigError, match=r"download 'model.backbone.weights' \(https://x\)"):
        build_model(NAME, library="mmdet", options={"model.backbone.weights": "https://x"})


def test_only_pretrained_parts_leave_an_initialisation():
    kept = {"type": "Constant", "val": 1}
    config = {"init_cfg": [kept, {"type": "Pretrained", "checkpoint": "x"}], "sizes": (1, None)}
    assert offline(config) == {"init_cfg": [kept], "sizes": (1, None)}


def test_synchronised_norms_become_plain_ones():
    name, options = SEGMENTORS["fcn"]
    model = build_model(name, library="mmseg", options=options)
    kinds = {type(part) for part in model.modules() if "Norm" in type(part).__name__}
    assert kinds == {nn.BatchNorm2d}


def test_building_prints_nothing(capfd):
    retinanet()
    out, err = capfd.readouterr()
    assert "init_weights" not in out + err


REFUSED = {
    "detr/detr_r50_8xb2-150e_coco": "'DETR' is a transformer detector",
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco": "'FasterRCNN' is a two-stage detector: its second",
    "solo/solo_r50_fpn_1x_coco": "'SOLO' is no single-stage detector whose boxes come",
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_other_kinds_of_detectors_are_refused_in_one_sentence(name):
    with pytest.raises((UnsupportedModelError, ConfigError), match=REFUSED[name]) as caught:
        build_model(name, library="mmdet")
    assert "\n" not in str(caught.value)


def test_segmentors_without_one_head_of_logits_are_refused():
    with pytest.raises(UnsupportedModelError, match="'CascadeEncoderDecoder' has no single"):
        build_model("ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024", library="mmseg")
    with pytest.raises(ConfigError, match=r"slides a window .* dict\(mode='whole'\)"):
        build_model("fcn/fcn_r50-d8_4xb2-40k_cityscapes-769x769", library="mmseg")


def test_a_misspelt_config_gets_the_near_name():
    with pytest.raises(ConfigError, match="did you mean 'retinanet/retinanet_r18_fpn_1x_coco.py'"):
        find_config("retinanet_r18_fpn_1x_coc", library="mmdet")
    with pytest.raises(ConfigError, match=r"no config 'zzz', neither as a file nor in mmseg; look"):
        find_config("zzz", library="mmseg")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model = dict(", r"mine.py' cannot be executed \(SyntaxError"),
        ("custom_imports = dict(imports=['not_there'])", r"executed \(ImportError.*install what"),
        ("_base_ = 'gone.py'", r"cannot be executed \(FileNotFoundError"),
        ("data = 3", "has no 'model' dict with a 'type'"),
        ("default_scope = 'mmseg'\nmodel = dict(type='A')", "is of mmseg, not of mmdet"),
        ("model = dict(type='RetinaNett')", "cannot build the model 'RetinaNett'.*not in the"),
        ("model = dict(type='RetinaNet')", r"cannot build the model 'RetinaNet' \(TypeError"),
    ],
)
def test_a_config_that_is_wrong_is_named_with_what_is_wrong(tmp_path, text, sentence):
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(ConfigError, match=sentence) as caught:
        build_model(tmp_path / "mine.py", library="mmdet")
    assert "\n" not in str(caught.value)


def test_an_option_that_fits_nowhere_is_named():
    with pytest.raises(ConfigError, match=r"options \['model.type.depth'\] do not fit .*retinanet"):
        load_config(NAME, library="mmdet", options={"model.type.depth": 3})
    with pytest.raises(ConfigError, match=r"'RetinaNet' \(KeyError: 'invalid depth 19"):
        build_model(NAME, library="mmdet", options={"model.backbone.depth": 19})
    with pytest.raises(ConfigError, match="library"):
        load_config(NAME, library="mmpose")  # type: ignore[arg-type]


def test_ssd_predicts_though_its_head_lacks_a_loss():
    name, options = DETECTORS["ssd"]
    head = build_model(name, library="mmdet", options=options).bbox_head
    features = tuple(torch.randn(1, c, 2, 2) for c in (512, 1024, 512, 256, 256, 256))
    meta = {"img_shape": (64, 64), "scale_factor": (1.0, 1.0)}
    (found,) = head.predict_by_feat(*head(features), batch_img_metas=[meta], rescale=True)
    assert len(found.scores) and found.bboxes.shape == (len(found.scores), 4)
