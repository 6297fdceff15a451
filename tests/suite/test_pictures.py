"""Which samples pictures show, and that they are the ones the record speaks of."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from adacal.core.converted import Prediction
from adacal.core.errors import ConfigError
from adacal.suite.pictures import _some, _worth_seeing, draw_record, new_figure, set_title
from adacal.suite.task import Batch
from suite.suite_toys import N_TEST, ToyTask
from tasks.cloud_pictures import draw_clouds, draw_parts
from tasks.pictures import draw_events, draw_images


def record(right: list[bool] | None, n_test: int = 500) -> Any:
    pair = None if right is None else (np.ones(len(right), bool), np.array(right))
    return SimpleNamespace(n_test=n_test, correct=lambda: pair)


def test_up_to_half_of_the_samples_are_errors() -> None:
    right = [True] * 500
    right[7] = right[9] = right[11] = right[200] = False
    assert _worth_seeing(record(right), 4).tolist() == [0, 1, 7, 9]
    assert _worth_seeing(record(right), 8).tolist() == [0, 1, 2, 3, 4, 7, 9, 11]
    assert _worth_seeing(record([True] * 500), 3).tolist() == [0, 1, 2]
    assert _worth_seeing(record([False] * 500), 1).tolist() == [0]
    assert _worth_seeing(record([False] * 499 + [True]), 5).tolist() == [0, 1, 2, 3, 4]
    assert _worth_seeing(record(None), 3).tolist() == [0, 1, 2]
    assert _worth_seeing(record(None, n_test=2), 3).tolist() == [0, 1]


def test_samples_are_found_in_their_batches_and_come_in_the_order_asked_for() -> None:
    task = ToyTask(dataset={"type": "toy"}, model={"type": "toy"})
    wanted = np.array([3, 0, N_TEST - 1])
    batch = _some(task, wanted, batch_size=7)
    whole = next(iter(task.test_batches(N_TEST)))
    assert batch.indices.tolist() == wanted.tolist()
    assert torch.equal(batch.inputs, whole.inputs[wanted])
    assert torch.equal(batch.targets, whole.targets[wanted])


def test_a_long_title_stays_inside_its_picture() -> None:
    figure = new_figure()
    figure.set_size_inches(4, 3)
    set_title(
        figure, "adaptive_calibration(iat={rule=change, tolerance=0.5}), T=8 on " + 9 * "digits"
    )
    figure.canvas.draw()
    box = figure.texts[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= figure.bbox.width
    assert len(figure.texts[0].get_text().splitlines()) >= 3


def test_asking_for_no_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="1 or more samples; got 0"):
        draw_record(record(None), tmp_path, samples=0)


def test_a_task_without_pictures_says_so() -> None:
    batch = Batch(inputs=torch.zeros(1), targets=torch.zeros(1), indices=torch.zeros(1))
    prediction = Prediction(output=torch.zeros(1), timesteps=torch.zeros(1))
    with pytest.raises(ConfigError, match="has no pictures"):
        ToyTask(dataset={"type": "toy"}, model={"type": "toy"}).draw(
            Figure(), batch, torch.zeros(1), prediction
        )


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def logits(*answers: int) -> torch.Tensor:
    return 4.0 * torch.nn.functional.one_hot(torch.tensor(answers), 3).float()


def test_images_say_what_both_networks_answered_and_how_the_answer_changed() -> None:
    batch = Batch(
        inputs=torch.rand(2, 3, 5, 5), targets=torch.tensor([1, 2]), indices=torch.arange(2)
    )
    by_step = torch.stack([logits(0, 2), logits(0, 2), logits(1, 2)])
    figure = Figure()
    snn = Prediction(output=by_step[-1], timesteps=torch.tensor([3, 3]), by_step=by_step)
    draw_images(figure, batch, logits(1, 0), snn)
    assert titles(figure) == [
        "class 1\nANN 1, SNN 1\nSNN: 0 → 1",
        "class 2\nANN 0, SNN 2\nSNN: 2",
    ]


def test_streams_show_each_step_with_the_answer_then_and_where_a_sample_left() -> None:
    counts = torch.zeros(3, 1, 2, 4, 4)
    counts[:, 0, 1, 0, 0] = 1.0
    batch = Batch(inputs=counts, targets=torch.tensor([1]), indices=torch.arange(1))
    figure = Figure()
    by_step = torch.stack([logits(0), logits(1), logits(1)])
    full = Prediction(output=by_step[-1], timesteps=torch.tensor([3]), by_step=by_step)
    draw_events(figure, batch, logits(1), full, stream=True, ms_per_step=100.0)
    assert [title.splitlines()[0] for title in titles(figure)] == ["100 ms", "200 ms", "300 ms"]
    assert [title.splitlines()[1][:5] for title in titles(figure)] == ["SNN 0", "SNN 1", "SNN 1"]
    figure = Figure()
    early = Prediction(output=logits(1), timesteps=torch.tensor([2]))
    draw_events(figure, batch, logits(1), early, stream=True)
    first, second, third = titles(figure)
    assert first == "step 1\nSNN –" and second.endswith("ends") and "SNN 1" in third
    figure = Figure()
    control = Prediction(output=logits(2), timesteps=torch.tensor([0]))
    draw_events(figure, batch, logits(1), control, stream=True)
    assert ["SNN 2" in title for title in titles(figure)] == [False, False, True]


def test_clouds_name_their_classes_and_parts_stand_beside_the_truth() -> None:
    clouds, parts = torch.rand(2, 30, 3), torch.arange(30).remainder(3).expand(2, 30)
    figure = Figure()
    batch = Batch(inputs=clouds, targets=torch.tensor([1, 2]), indices=torch.arange(2))
    snn = Prediction(output=logits(1, 0), timesteps=torch.tensor([4, 4]))
    draw_clouds(figure, batch, logits(1, 2), snn, ["bed", "desk", "sofa"])
    assert titles(figure) == ["class desk\nANN desk, SNN desk", "class sofa\nANN sofa, SNN bed"]
    figure = Figure()
    batch = Batch(inputs=clouds, targets=parts, indices=torch.arange(2))
    answers = {"ANN": parts, "SNN": torch.zeros_like(parts)}
    scores = {"ANN": torch.ones(2), "SNN": torch.tensor([0.25, 0.5])}
    draw_parts(figure, batch, answers, scores, ["seat", "leg", "back"])
    assert titles(figure)[:3] == ["true parts", "ANN, IoU 1.00", "SNN, IoU 0.25"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["seat", "leg", "back"]
    colours = [len(np.unique(axes.collections[0].get_facecolor(), axis=0)) for axes in figure.axes]
    assert colours == [3, 3, 1, 3, 3, 1]
