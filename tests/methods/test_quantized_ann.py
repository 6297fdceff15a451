"""The control of rate-distortion thresholds: the same levels, sent as numbers and not as spikes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from adacal.core.converted import Converted
from adacal.core.divergence import symmetric_kl
from adacal.core.measure import measure_energy
from adacal.methods.base import METHODS, Calibration, load_methods
from core.energy_toys import trained_small

load_methods()
ANN, INPUTS, LABELS = trained_small()
CONTROL = {"thresholds": "rate_distortion"}


def built(name: str, T: int = 1, net: nn.Module = ANN, **options: Any) -> Converted:
    stream = options.pop("stream", False)
    inputs = INPUTS[:96].expand(T, *[-1] * INPUTS.dim()) if stream else INPUTS[:96]
    calibration = Calibration(
        T=T,
        batches=[(inputs, LABELS[:96])],
        forward=lambda module, inputs: module(inputs),
        divergence=symmetric_kl,
        generator=torch.Generator().manual_seed(0),
        stream=stream,
        event_input=stream,
    )
    example = inputs[:, :1] if stream else inputs[:1]
    return METHODS.get(name)(**options).build(net, example, calibration)


def capped() -> nn.Module:
    def swapped(part: nn.Module) -> nn.Module:
        return nn.ReLU6() if isinstance(part, nn.ReLU) else part

    torch.manual_seed(0)
    parts = [nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU()]
    net = nn.Sequential(*map(swapped, parts), nn.Flatten(), nn.LazyLinear(3))
    net(INPUTS[:2])
    with torch.no_grad():
        net[0].weight.mul_(12)  # so that some activations lie beyond 6
    return net.eval()


@pytest.mark.parametrize("net", [ANN, capped()], ids=["relu", "relu6"])
@pytest.mark.parametrize("phi", [1, 3])
@pytest.mark.parametrize("correct_mean", [True, False])
def test_at_one_step_the_control_says_what_the_spikes_say_for_no_more_energy(
    net: nn.Module, phi: int, correct_mean: bool
) -> None:
    mode = "light" if correct_mean else "none"
    spiking = built("rate_distortion", net=net, budget=phi, calibration=mode)
    control = built("quantized_ann", net=net, max_spikes=phi, correct_mean=correct_mean, **CONTROL)
    same = (control.predict(INPUTS).output == spiking.predict(INPUTS).output).all(1)
    assert same.float().mean() >= 0.99  # a current next to a level may be rounded to either
    ours, bits = measure_energy(spiking, INPUTS), measure_energy(control, INPUTS)
    assert ours.spikes > 1.05 * bits.spikes > 0  # counts above 1 have fewer set bits
    assert all(bits.energy_pj[model] <= ours.energy_pj[model] for model in bits.energy_pj)
    assert ours.macs == bits.macs and control.strictness() == "quantised"


def test_its_budget_is_that_of_as_many_levels_in_one_step() -> None:
    control = built("quantized_ann", T=4, max_spikes=1, ratio=0.8, **CONTROL)
    spiking = built("rate_distortion", budget=4, ratio=0.8, max_spikes=64)
    assert torch.equal(control.predict(INPUTS).output, spiking.predict(INPUTS).output)
    assert control.search_log == spiking.search_log
    assert {site.max_spikes for site in control.report()} == {64}


def test_of_a_stream_it_takes_the_mean_frame() -> None:
    stream, image = (
        built("quantized_ann", T=2, max_spikes=1, stream=stream, **CONTROL)
        for stream in (True, False)
    )
    wanted = image.predict(INPUTS).output
    assert torch.equal(stream.predict(INPUTS.expand(2, *[-1] * INPUTS.dim())).output, wanted)


def test_the_new_options_change_the_id_of_no_older_record() -> None:
    kind = METHODS.get("quantized_ann")
    assert kind().options() == {"max_spikes": 4, "correct_mean": True}
    assert kind(**CONTROL).options() == {"max_spikes": 4, "correct_mean": True, **CONTROL}
