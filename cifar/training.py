"""Train a network on CIFAR-10 (or MNIST): a perceptron, a plain or residual convolutional network, or the fastest one.

    python cifar/training.py                             # --model fast; see README.md for what each one reaches
    python cifar/training.py --model cnn --batch-norm
    python cifar/training.py --model resnet --epochs 20
    python cifar/training.py --model resnet --amp        # float16 products, on a GPU
    python cifar/training.py --dataset mnist

The data must have been prepared by setup_data.py; test_model.py measures the result on images that nothing else opens.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np

    from cifar.data import TrainingImages, load_training_images
    from cifar.model import Architecture, build, preprocess
    from cifar.settings import PRESETS, Settings, choose_preset
    from cifar.views import answer_in_views, mirror
    from cifar.whitening import Whitening
    from core.backend import select_device, to_device
    from core.cli import main
    from core.errors import UserError
    from core.layers import BatchNorm, Conv2d, Layer, Linear, MixedPrecision, Parallel, measure_statistics
    from core.losses import accuracy, loss_and_accuracy, softmax_cross_entropy
    from core.muon import Group, Muon
    from core.optim import Optimizer
    from core.random import Stream
    from core.schedules import Schedule, step_decay
    from core.training.history import Row
    from core.training.run import Run
    from core.training.settings import make_optimizer, make_schedule, steps_per_epoch
    from core.workers import set_threads
except ModuleNotFoundError as error:
    print(f"error: {error}; keep this folder beside core/ and run `python -m pip install -e .` there", file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C

WHITENING_IMAGES = 5_000  # that the first layer of the fast network is computed from
PLAIN_IMAGES = 4_000  # training images without distortions that set the statistics of BatchNorm after an epoch


def start(settings: Settings) -> None:
    """Train as the command line says."""
    train(settings)


def train(settings: Settings) -> Row:
    """Train as `settings` say; everything goes to runs/<name>. Returns the best epoch's row of the history."""
    device = select_device(settings.device)
    if settings.amp and device == "cpu":
        raise UserError("--amp needs a GPU, whose tensor cores multiply float16; leave it out on a CPU")
    data = load_training_images(settings.dataset, settings.data, settings.validation)
    network, stream = make_network(settings, data)
    model = make_model(settings, network)
    optimizer = optimizer_of(settings, model)
    schedule, augment = schedule_of(settings, len(data.rows)), settings.augmentation()
    sides = np.random.default_rng(settings.seed).integers(0, 2, len(data.labels))  # which way each image starts
    some = np.random.default_rng(settings.seed).permutation(data.rows)[:PLAIN_IMAGES]
    x_plain = to_device(preprocess(data.images[some], data.normalize), device)
    x_held_out = to_device(preprocess(data.images[data.held_out], data.normalize), device)
    labels_held_out = to_device(data.labels[data.held_out], device)

    with Run(
        settings,
        model,
        optimizer,
        schedule,
        folder=PROJECT / "runs" / settings.run_name,
        stream=stream,
        data_info=data.info,
        about=describe(settings.architecture(), data),
    ) as run:
        for epoch in run.epochs():
            for x, t, side in run.batches(
                data.images, data.labels, sides, rows=data.rows, normalize=data.normalize, augment=augment
            ):
                if settings.flip == "alternate":
                    mirror(x, side != epoch % 2)
                logits = model.forward(x, train=True)
                loss, dlogits = softmax_cross_entropy(logits, t, settings.label_smoothing)
                model.backward(dlogits)
                run.step(loss, accuracy=accuracy(logits, t))
            with run.averaged():
                measure_statistics(network, x_plain)  # those of the augmented images are others
                if settings.validation:
                    logits = answer_in_views(model, x_held_out, 2 if settings.test_flip else 1)
                    run.validate(**loss_and_accuracy(logits, labels_held_out))
    return run.best


def make_network(settings: Settings, data: TrainingImages) -> tuple[Layer, Stream]:
    """The network on its device, and the stream that its dropout draws from."""
    set_threads(settings.threads)
    stream = Stream(settings.seed)
    architecture = settings.architecture(len(data.info["classes"]))
    network = build(architecture, seed=settings.seed, stream=stream)
    for _, layer in network.walk():
        if isinstance(layer, Whitening):
            layer.fit(preprocess(data.images[data.rows[:WHITENING_IMAGES]], data.normalize))
    return network.to(select_device(settings.device)), stream


def make_model(settings: Settings, network: Layer) -> Layer:
    """What trains the network: shared out among the workers and, with --amp, in float16."""
    model = Parallel(network)
    model.skip_input_grad()
    return MixedPrecision(model) if settings.amp else model


def optimizer_of(settings: Settings, model: Layer) -> Optimizer:
    """Muon has groups of its own: convolutions, biases, the last layer; the norms' factors stay as they are.

    Its steps on matrices have one length whatever the gradient. The others' rates are meant for the sum over a batch,
    and a gradient is its mean; so they grow with the number of images.
    """
    if settings.optimizer != "muon":
        return make_optimizer(settings, model)
    layers = [layer for _, layer in model.walk()]
    norms = [layer for layer in layers if isinstance(layer, BatchNorm)]
    others = [
        Group([norm.bias for norm in norms], settings.bias_rate * settings.batch_size),
        Group([norm.weight for norm in norms], 0.0),
        Group(
            [layer.weight for layer in layers if isinstance(layer, Linear)], settings.head_rate * settings.batch_size
        ),
    ]
    matrices = [layer.weight for layer in layers if isinstance(layer, Conv2d)]
    return Muon(matrices, others, weight_decay=settings.weight_decay)


def schedule_of(settings: Settings, samples: int) -> Schedule:
    """The schedule that the settings name, for training on `samples` images."""
    if settings.schedule == "step" and settings.decay_at:
        an_epoch = steps_per_epoch(samples, settings.batch_size)
        return step_decay(settings.lr, [epoch * an_epoch for epoch in settings.decay_at], settings.decay_factor)
    return make_schedule(settings, samples)


def describe(architecture: Architecture, data: TrainingImages) -> dict[str, Any]:
    """What the saved weights have to say of themselves, so that test and demo can use them."""
    about = {"architecture": architecture.to_dict(), "normalize": data.normalize.to_dict()}
    return about | {"classes": data.info["classes"], "trained_on": len(data.rows), "selected_on": len(data.held_out)}


if __name__ == "__main__":
    main(start, Settings, description=__doc__, presets=PRESETS, choose_preset=choose_preset)
