"""Arguments out of range: every error names who was given what."""

from math import inf, nan

import numpy as np
import pytest

from core.layers import (
    GRU,
    LSTM,
    AvgPool2d,
    BatchNorm,
    Committee,
    Conv2d,
    ConvPool,
    ConvReLUPool,
    Dropout,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Sequential,
    Softplus,
    measure_statistics,
)
from core.losses import focal_loss, mean_squared_error, softmax, softmax_cross_entropy
from core.muon import Group, Muon
from core.optim import SGD, Adam, AdamW, clip_by_norm, clip_by_value
from core.params import Parameter, pack
from core.random import Stream
from core.schedules import ReduceOnPlateau, constant, cosine, linear, one_cycle, step_decay

RNG, STREAM = np.random.default_rng(0), Stream(0)
LOGITS, LABELS = np.zeros((2, 3), np.float32), np.array([0, 1])


def weights():
    return [Parameter(np.ones((2, 2), np.float32))]


def weighted(class_weights):
    return softmax_cross_entropy(LOGITS, LABELS, class_weights=np.array(class_weights))


LAYERS = {
    "Linear expected in_features .* got 0": lambda: Linear(0, 3, rng=RNG),
    r"Linear expected in_features .* got 2\.5": lambda: Linear(2.5, 3, rng=RNG),
    "Linear expected out_features .* got '3'": lambda: Linear(3, "3", rng=RNG),
    "Conv2d expected groups .* got 0": lambda: Conv2d(2, 2, 3, groups=0, rng=RNG),
    r"Conv2d expected kernel_size .* got 2\.5": lambda: Conv2d(2, 2, 2.5, rng=RNG),
    r"Conv2d expected dilation .* got \(1, 1\.5\)": lambda: Conv2d(2, 2, 3, dilation=(1, 1.5), rng=RNG),
    "ConvReLUPool expected padding .* got -1": lambda: ConvReLUPool(2, 2, 3, padding=-1, rng=RNG),
    "ConvPool expected out_channels .* got 0": lambda: ConvPool(2, 0, 3, rng=RNG),
    r"MaxPool2d expected kernel_size .* got \[1, 2, 3\]": lambda: MaxPool2d(np.array([1, 2, 3])),
    "MaxPool2d expected kernel_size .* got {3, 5}": lambda: MaxPool2d({3, 5}),  # in which order?
    "MaxPool2d expected stride .* got 0": lambda: MaxPool2d(2, 0),
    r"MaxPool2d expected kernel_size of at most 255, got \(300, 1\)": lambda: MaxPool2d((300, 1)),
    "AvgPool2d expected kernel_size .* got None": lambda: AvgPool2d(None),
    "Dropout expected rate .* got nan": lambda: Dropout(nan, stream=STREAM),
    "Dropout expected rate .* got 1": lambda: Dropout(1, stream=STREAM),
    "BatchNorm expected momentum .* got 2": lambda: BatchNorm(3, momentum=2),
    "BatchNorm expected eps .* got nan": lambda: BatchNorm(3, eps=nan),
    "LayerNorm expected eps .* got -1": lambda: LayerNorm(3, eps=-1),
    "LayerNorm expected size .* got 0": lambda: LayerNorm(0),
    "LeakyReLU expected slope .* got -1": lambda: LeakyReLU(-1),
    "Softplus expected beta .* got inf": lambda: Softplus(inf),
    "Softplus expected threshold .* got nan": lambda: Softplus(1, nan),
    "GRU expected num_layers .* got 0": lambda: GRU(1, 1, num_layers=0, rng=RNG),
    "LSTM expected dropout .* got 1": lambda: LSTM(1, 1, num_layers=2, dropout=1, stream=STREAM, rng=RNG),
    "Sequential expected names .* got": lambda: Sequential(ReLU(), **{"0": ReLU()}),
    "measure_statistics expected batch_size .* got 0": lambda: measure_statistics(BatchNorm(3), LOGITS, 0),
}
LOSSES = {
    "softmax expected temperature .* got 0": lambda: softmax(LOGITS, 0),
    "softmax_cross_entropy expected temperature .* got -1": lambda: softmax_cross_entropy(
        LOGITS, LABELS, temperature=-1
    ),
    r"softmax_cross_entropy expected label_smoothing .* got -0\.1": lambda: softmax_cross_entropy(LOGITS, LABELS, -0.1),
    "softmax_cross_entropy expected label_smoothing .* got nan": lambda: softmax_cross_entropy(LOGITS, LABELS, nan),
    r"class weights .* not all 0, got \[ 1\. -1\.  0\.\]": lambda: weighted([1.0, -1.0, 0.0]),
    "class weights .* not all 0, got .*inf": lambda: weighted([1.0, 1.0, inf]),
    "class weights .* not all 0, got .*nan": lambda: weighted([nan, 1.0, 1.0]),
    r"class weights .* not all 0, got \[0\. 0\. 0\.\]": lambda: weighted([0.0, 0.0, 0.0]),
    "focal_loss expected gamma .* got nan": lambda: focal_loss(LOGITS, LABELS, nan),
}
OPTIMIZERS = {
    "SGD expected momentum .* got 1": lambda: SGD(weights(), momentum=1),
    "SGD expected weight_decay .* got nan": lambda: SGD(weights(), weight_decay=nan),
    "AdamW expected weight_decay .* got -1": lambda: AdamW(weights(), weight_decay=-1),
    r"Adam expected beta2 .* got 1\.0": lambda: Adam(weights(), betas=(0.9, 1.0)),
    "Adam expected eps .* got -1": lambda: Adam(weights(), eps=-1),
    "Muon expected momentum .* got 0": lambda: Muon(weights(), momentum=0),
    "Muon expected rate .* got -1": lambda: Muon(weights(), [Group(weights(), -1)]),
    "SGD expected lr .* got nan": lambda: SGD(weights()).step(nan),
    "Adam expected lr .* got inf": lambda: Adam(weights()).step(inf),
    "Muon expected lr .* got -1": lambda: Muon(weights()).step(-1),
    "every parameter once": lambda: SGD(2 * weights()),
    "clip_by_value expected limit .* got 0": lambda: clip_by_value(pack(weights()), 0),
    "clip_by_norm expected limit .* got nan": lambda: clip_by_norm(pack(weights()), nan),
}
SCHEDULES = {
    "constant expected lr .* got inf": lambda: constant(inf),
    "step_decay expected factor .* got -1": lambda: step_decay(1.0, [3], -1),
    r"cosine expected minimum in \[0, 1\.0\], got 2": lambda: cosine(1.0, 10, minimum=2),
    "cosine expected steps .* got 0": lambda: cosine(1.0, 0),
    r"linear expected warm_up in \[0, 10\), got 10": lambda: linear(1.0, 10, warm_up=10),
    r"linear expected lr .* got 0": lambda: linear(0, 10),
    r"one_cycle expected rising .* got 1\.5": lambda: one_cycle(1.0, 10, rising=1.5),
    "one_cycle expected end_factor .* got nan": lambda: one_cycle(1.0, 10, end_factor=nan),
    "ReduceOnPlateau expected factor .* got 1": lambda: ReduceOnPlateau(1.0, factor=1),
    "ReduceOnPlateau expected patience .* got -1": lambda: ReduceOnPlateau(1.0, patience=-1),
}
CASES = LAYERS | LOSSES | OPTIMIZERS | SCHEDULES


@pytest.mark.parametrize("message", CASES)
def test_arguments_out_of_range(message):
    with pytest.raises(ValueError, match=message):
        CASES[message]()


@pytest.mark.parametrize("build", [Sequential, Committee, Residual])
def test_only_layers_can_be_inside_of_layers(build):
    with pytest.raises(TypeError, match=f"{build.__name__} expected layers, got"):
        build([ReLU()])


@pytest.mark.parametrize("build", [lambda: Linear(3, 2, dtype=int, rng=RNG), lambda: BatchNorm(3, dtype=np.uint8)])
def test_only_floating_point_numbers_can_learn(build):
    with pytest.raises(TypeError, match=r"Parameter expected floating-point numbers, got u?int"):
        build()


@pytest.mark.parametrize("loss", [softmax_cross_entropy, focal_loss, mean_squared_error])
def test_losses_are_not_of_integers(loss):
    scores = LOGITS.astype(int)
    with pytest.raises(TypeError, match="expected floating-point numbers, got int64"):
        loss(scores, scores if loss is mean_squared_error else LABELS)


def test_numbers_of_numpy_are_numbers():
    assert Conv2d(np.int64(2), 2, np.int64(3), rng=RNG).windows.kernel == (3, 3)
    assert Conv2d(2, 2, 3, padding=np.array([1, 2]), rng=RNG).windows.padding == (1, 2)
    assert Conv2d(2, 2, np.array(3), rng=RNG).windows.kernel == (3, 3)
    assert LeakyReLU(np.float32(0.5)).slope == 0.5


@pytest.mark.parametrize(
    ("build", "shape"),
    [
        (lambda size: Linear(size, size, rng=RNG), (2, 2, 200)),
        (lambda size: Conv2d(size, size, np.uint8(3), rng=RNG), (3, 4, 4, 200)),
        (lambda size: Conv2d(2, 2, 3, padding=size, rng=RNG), (3, 2, 2, 2)),
        (lambda size: BatchNorm(size), (2, 2, 200)),
        (lambda size: LayerNorm(size), (2, 2, 200)),
        (lambda size: GRU(size, size, rng=RNG), (2, 2, 200)),
    ],
)
def test_sizes_of_few_bits_do_not_overflow(build, shape):
    """`labels.max() + 1`, the number of classes, is of the labels' type."""
    layer, x = build(np.uint8(200)), np.ones(shape, np.float32)
    assert layer.forward(x).shape == build(200).forward(x).shape
