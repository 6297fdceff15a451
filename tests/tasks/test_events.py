"""Event tasks: streams and still counts of the same recordings, through the same core."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file
from torch import nn

from adacal.core.conversion import convert
from adacal.core.energy import EnergyMeter
from adacal.core.errors import ConfigError, DataError
from adacal.suite.cli import main
from adacal.suite.registry import TASKS, build, load_tasks
from adacal.suite.store import RecordStore
from tasks.data import dvs_mnist
from tasks.data.dvs_mnist import EVENT
from tasks.data.event_frames import EventSplit, random_windows
from tasks.events import Events

LENET = {"name": "lenet", "type": "lenet"}


@pytest.fixture(autouse=True)
def few_digits(monkeypatch: pytest.MonkeyPatch, tmp_path) -> Any:
    few = {part: (im[:30], labels[:30]) for part, (im, labels) in dvs_mnist.digits().items()}
    monkeypatch.setattr(dvs_mnist, "digits", lambda: few)
    monkeypatch.setenv("ADACAL_CACHE", str(tmp_path))
    dvs_mnist.load.cache_clear()
    yield
    dvs_mnist.load.cache_clear()


def task(mode: str = "stream", T: int = 3, **options: Any) -> Events:
    load_tasks()
    config = {"type": "events", "mode": mode, "dataset": {"type": "dvs_mnist"}}
    return build(TASKS, "task", config, **{"model": LENET, "T": T, **options})


def split(*recordings: list[tuple[int, int, int, bool]]) -> EventSplit:
    arrays = [np.array(events, EVENT) for events in recordings]
    labels = torch.zeros(len(arrays), dtype=torch.long)
    return EventSplit(arrays, labels, (4, 3, 2), duration_us=600, scale=2.0)


def test_bins_hold_the_events_of_their_time_by_polarity_row_and_column():
    part = split([(3, 1, 0, True), (3, 1, 299, True), (0, 2, 300, False), (3, 1, 599, False)])
    counts = part.counts(torch.tensor([0]), bins=2)
    assert counts.shape == (1, 2, 2, 3, 4)
    wanted = torch.zeros_like(counts)
    wanted[0, 0, 1, 1, 3], wanted[0, 1, 0, 2, 0], wanted[0, 1, 0, 1, 3] = 2, 1, 1
    assert torch.equal(counts, wanted)
    assert torch.equal(part.fetch(torch.tensor([0])), wanted.sum(1) / 2)


@pytest.mark.parametrize("bins", [1, 2, 3, 4, 5, 7, 8, 30])
def test_no_event_is_lost_whatever_the_number_of_bins(bins: int):
    part = task().dataset.split("test")
    indices = torch.arange(5)
    counts = part.counts(indices, bins)
    assert counts.shape[1] == bins
    assert [int(n) for n in counts.flatten(1).sum(1)] == [len(part.recordings[i]) for i in range(5)]


def test_a_recording_without_events_is_all_zeros():
    assert split([]).counts(torch.tensor([0]), 4).abs().sum() == 0


@pytest.mark.parametrize("bins", [1, 3, 4])
def test_counts_are_those_of_tonic(bins: int):
    from tonic.transforms import ToFrame

    part = task().dataset.split("test")
    window = -(-part.duration_us // bins)
    frame = ToFrame(
        sensor_size=part.sensor_size,
        time_window=window,
        start_time=0,
        end_time=part.duration_us,
        include_incomplete=True,
    )
    wanted = torch.from_numpy(frame(part.recordings[7])).float()
    assert torch.equal(part.counts(torch.tensor([7]), bins)[0], wanted)


def test_recordings_of_their_own_length_are_cut_into_equal_bins_from_first_to_last_event():
    events = np.array([(0, 0, 1000, 1), (1, 0, 1099, 0), (2, 0, 1100, 0), (3, 0, 1199, 1)], EVENT)
    labels = torch.zeros(1, dtype=torch.long)
    part = EventSplit([events], labels, (4, 3, 2), duration_us=None, scale=1.0)
    counts = part.counts(torch.tensor([0]), bins=2)[0]
    assert [int(n) for n in counts.flatten(1).sum(1)] == [2, 2]
    assert counts[0, 1, 0, 0] == counts[0, 0, 0, 1] == counts[1, 0, 0, 2] == 1


def test_a_pixel_may_fire_more_often_than_sixteen_bits_hold():
    part = split([(1, 2, 5, True)] * 40_000)
    assert part.counts(torch.tensor([0]), 1)[0, 0, 1, 2, 1] == 40_000


def test_events_after_the_end_are_refused():
    with pytest.raises(DataError, match="recording 1 has events outside of its 600"):
        split([(0, 0, 5, True)], [(0, 0, 600, True)]).counts(torch.tensor([0, 1]), 2)


def test_the_mean_over_a_stream_is_the_still_image():
    stream, still = task("stream", T=4), task("static", T=4)
    identity = nn.Identity()
    frames = stream.inputs("test", torch.arange(3))
    assert frames.shape == (4, 3, 2, 34, 34)
    mean = stream.spiking_forward(identity, frames.mean(0))
    assert torch.allclose(mean, still.inputs("test", torch.arange(3)), atol=1e-6)


def test_both_modes_share_a_checkpoint_and_nothing_else():
    stream, still = task("stream"), task("static")
    assert stream.checkpoint == still.checkpoint
    assert stream.checkpoint.name == "dvs_mnist_lenet.safetensors"
    assert stream.dataset_name != still.dataset_name
    assert stream.data_fingerprint() != still.data_fingerprint()
    assert stream.stream and stream.event_input and not (still.stream or still.event_input)


def test_the_first_layer_accumulates_events_and_multiplies_nothing():
    stream = task("stream", T=3)
    torch.manual_seed(0)
    ann = stream.build_module().eval()
    frames = stream.inputs("train", torch.arange(8))
    network = convert(
        ann, frames, T=3, stream=True, event_input=True, forward=stream.spiking_forward
    )
    network.calibrate([frames])
    meter = EnergyMeter()
    network.predict(frames, meter)
    report = meter.report()
    assert report.macs == 0
    layers = {layer.name: layer for layer in report.layers}
    assert layers["input"].spikes == pytest.approx(float(frames.sum()) / 8)
    first = next(layer for layer in report.layers if layer.sops > 0)
    assert first.macs == 0


def test_steps_of_a_stream_see_only_the_past():
    stream = task("stream", T=4)
    torch.manual_seed(0)
    ann = stream.build_module().eval()
    frames = stream.inputs("train", torch.arange(4))
    network = convert(ann, frames, T=4, stream=True, forward=stream.spiking_forward)
    network.calibrate([frames])
    other = frames.clone()
    other[2:] = other[2:].flip(-1)
    before, after = network.steps(frames), network.steps(other)
    assert torch.allclose(before[:2], after[:2])
    assert not torch.allclose(before[2:], after[2:])


def test_windows_are_whole_or_a_run_of_bins_at_the_scale_of_the_whole():
    counts = torch.ones(2000, 12, 2, 1, 1) * torch.arange(1.0, 13.0).view(1, 12, 1, 1, 1)
    windows = random_windows(counts, torch.Generator().manual_seed(0))
    assert windows.shape == (2000, 2, 1, 1)
    possible = {
        round(12 / length * sum(range(start, start + length)), 3)
        for length in range(3, 13)
        for start in range(1, 14 - length)
    }
    found = [round(float(value), 3) for value in windows[:, 0, 0, 0]]
    assert set(found) == possible
    whole = sum(value == 78.0 for value in found) / 2000
    assert 0.5 < whole < 0.6  # half, and the windows that happen to be, or to weigh, the same


def test_training_samples_move_by_whole_pixels_and_keep_their_events():
    dataset = task().dataset
    indices = torch.arange(6)
    moved = dataset.training_batch(indices, 0, torch.Generator().manual_seed(0))
    still = dataset.split("train").fetch(indices)
    assert moved.shape == still.shape and not torch.equal(moved, still)
    assert torch.allclose(moved.sum((1, 2, 3)), still.sum((1, 2, 3)), rtol=0.5)


def test_a_step_of_a_stream_stands_for_its_part_of_the_recording(tmp_path: Path) -> None:
    assert task("stream", T=6).ms_per_step == 50.0
    assert task("static", T=6).ms_per_step is None
    config = tmp_path / "run.py"
    stream = task("stream", T=3)
    torch.manual_seed(0)
    weights = tmp_path / "lenet.safetensors"
    save_file(stream.build_module().state_dict(), weights)
    config.write_text(
        "task = dict(type='events', mode='stream', dataset=dict(type='dvs_mnist'))\n"
        f"model = dict(name='lenet', type='lenet', checkpoint={str(weights)!r})\n"
        "method = dict(type='snn_calibration_light')\nconversion = dict(T=3)\n"
        "calibration = dict(n_samples=8)\nevaluation = dict(latency_repeats=0)\n"
    )
    place = ["--results", str(tmp_path)]
    ran = CliRunner().invoke(main, ["run", str(config), *place])
    assert ran.exit_code == 0, ran.output
    (record,), _ = RecordStore(tmp_path).read_all()
    assert record.timesteps.recording_ms() == 300.0
    shown = CliRunner().invoke(main, ["show", record.id, *place]).output
    for seen in ("100", "200", "300"):
        assert re.search(rf"\b{seen}\b +│ +\d+\.\d\d", shown), shown
    table = CliRunner().invoke(main, ["leaderboard", *place, "--format", "md"]).output
    assert "recording seen (ms)" in table


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mode": "live"}, "'stream' or 'static'; got 'live'"),
        ({"dataset": {"type": "mnist5k"}}, "holds no events"),
    ],
)
def test_wrong_options_are_one_sentence(options: dict[str, Any], sentence: str):
    config = {"type": "events", "dataset": {"type": "dvs_mnist"}, **options}
    load_tasks()
    with pytest.raises(ConfigError, match=sentence):
        build(TASKS, "task", config, model=LENET, T=2)
