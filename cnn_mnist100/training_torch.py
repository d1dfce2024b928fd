"""The same network, data, augmentation and report in PyTorch on the CPU, for comparison; needs the extra "torch".

    python cnn_mnist100/training_torch.py                          # takes the flags of training.py
    python cnn_mnist100/training_torch.py --preset best --epochs 3
    python cnn_mnist100/test_model.py --run torch-default --engine torch

Forward, backward and optimizer are PyTorch's. They work on the very memory of our network, so the initial weights, the
batches, the checkpoints and the report are those of training.py, and either side takes over the other's weights.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import torch
    from torch import Tensor, nn

    from cnn_mnist100.model import Architecture, build, preprocess
    from cnn_mnist100.pairs import exchange
    from cnn_mnist100.settings import PRESETS, Settings
    from cnn_mnist100.training import describe, load
    from core.backend import Array
    from core.cli import main
    from core.errors import UserError
    from core.layers import Sequential
    from core.optim import Optimizer
    from core.random import Stream
    from core.training.run import Run
    from core.training.settings import make_schedule
    from core.workers import set_threads
except ModuleNotFoundError as error:
    print(f'error: {error}; run `python -m pip install -e ".[torch]"` in the folder that holds core/', file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C


def train(settings: Settings) -> None:
    """Train as `settings` say; everything goes to runs/torch-<name>."""
    for flag in ("resume", "lr_find", "sweep", "search"):
        if getattr(settings, flag):
            raise UserError(f"--{flag.replace('_', '-')} is a flag of training.py only")
    if settings.device == "gpu":
        raise UserError("--device gpu: this comparison runs on the CPU")
    torch.set_num_threads(set_threads(settings.threads))
    torch.manual_seed(settings.seed)
    pairs, architecture = load(settings), settings.architecture()
    folder = PROJECT / "runs" / f"torch-{settings.run_name}"

    ours = build(architecture, seed=settings.seed)
    optimizer = TorchOptimizer(settings, ours)
    theirs = torch_network(architecture)
    live_in(theirs, ours)
    optimizer.take(theirs)
    schedule = make_schedule(settings, len(pairs.rows))
    loss_of = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    about = describe(architecture, pairs) | {"trained_with": f"PyTorch {torch.__version__}"}
    x_held_out = preprocess(pairs.images[pairs.held_out], pairs.normalize)
    labels_held_out = torch.from_numpy(pairs.labels[pairs.held_out])
    pictures, augment, stream = pairs.images[..., None], settings.augmentation(), Stream(settings.seed)

    with Run(
        settings, ours, optimizer, schedule, folder=folder, stream=stream, data_info=pairs.info, about=about
    ) as run:
        for _ in run.epochs():
            batches = run.batches(pictures, pairs.labels, rows=pairs.rows, normalize=pairs.normalize, augment=augment)
            for x, t in exchange(batches, stream) if settings.exchange else batches:
                targets = torch.from_numpy(t)
                logits = theirs(torch.from_numpy(x))
                loss = loss_of(logits, targets)
                accuracy = (logits.argmax(dim=1) == targets).double().mean()
                loss.backward()
                run.step(loss.item(), accuracy=accuracy.item())
            with run.averaged():
                run.validate(**evaluate(theirs, x_held_out, labels_held_out))


# -- the network ------------------------------------------------------------------------------------------------------


def torch_network(architecture: Architecture) -> nn.Sequential:
    """The network of `cnn_mnist100.model.build` in PyTorch, with the same names; it takes (N, 28, 56, 1) too."""
    layers: dict[str, nn.Module] = {"channels_first": ChannelsFirst()}
    channels = 1
    for place, filters in enumerate(architecture.filters, start=1):
        name = f"conv{place}"
        layers[name] = nn.Conv2d(channels, filters, architecture.kernel, padding=architecture.padding)
        layers[f"{name}_relu"] = nn.ReLU()
        if place <= architecture.pools:
            layers[f"{name}_pool"] = nn.MaxPool2d(2)
        if architecture.batch_norm:
            layers[f"norm{place}"] = nn.BatchNorm2d(filters)
        channels = filters
    H, W = architecture.last_map()
    parts, outputs = (2, 10) if architecture.head == "digits" else (1, 100)
    layers["flatten"] = FlattenChannelsLast(parts)
    size = H * W * channels // parts
    for place, hidden in enumerate(architecture.hidden, start=1):
        name = f"hidden{place}"
        layers[name] = nn.Linear(size, hidden, bias=not architecture.batch_norm)
        if architecture.batch_norm:
            layers[f"{name}_norm"] = nn.BatchNorm1d(hidden)
        layers[f"{name}_relu"] = nn.ReLU()
        layers[f"{name}_dropout"] = nn.Dropout(architecture.dropout)
        size = hidden
    layers["output"] = nn.Linear(size, outputs)
    if architecture.head == "digits":
        layers["number"] = TensAndUnits()
    return nn.Sequential(OrderedDict(layers))


class ChannelsFirst(nn.Module):
    """(N, H, W, C) -> (N, C, H, W), as PyTorch's layers expect it."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 3, 1, 2)


class FlattenChannelsLast(nn.Module):
    """(N, C, H, W) -> (parts * N, H * W / parts * C): each picture cut into `parts` side by side, channels last."""

    def __init__(self, parts: int) -> None:
        super().__init__()
        self.parts = parts

    def forward(self, x: Tensor) -> Tensor:
        N, C, H, W = x.shape
        cut = x.reshape(N, C, H, self.parts, W // self.parts)
        return cut.permute(0, 3, 2, 4, 1).reshape(self.parts * N, -1)


class TensAndUnits(nn.Module):
    """Logits of the two digits as logits of the number: (2 N, 10) -> (N, 100)."""

    def forward(self, x: Tensor) -> Tensor:
        tens, units = x.reshape(-1, 2, 10).unbind(dim=1)
        return (tens[:, :, None] + units[:, None, :]).flatten(1)


# -- weights on their way between the two ------------------------------------------------------------------------------


def as_torch(network: nn.Module, arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Arrays of our network, by name, in the form that PyTorch gives them, but in our memory.

    A matrix (in, out) is (out, in) there, and a kernel (KH * KW * C, K) is (K, C, KH, KW). Raises ValueError when names
    or shapes do not fit.
    """
    theirs = weights_of(network)
    if theirs.keys() != arrays.keys():
        raise ValueError(f"the networks differ in {sorted(theirs.keys() ^ arrays.keys())}")
    views = {}
    for name, tensor in theirs.items():
        size = tensor.shape[0]  # K, or out
        expected = (tensor.numel() // size, size) if tensor.ndim > 1 else (size,)
        if arrays[name].shape != expected:
            raise ValueError(f"{name} expected {expected}, got {arrays[name].shape}")
        view = torch.from_numpy(arrays[name])
        if tensor.ndim == 4:
            _, C, KH, KW = tensor.shape
            view = view.reshape(KH, KW, C, size).permute(3, 2, 0, 1)
        views[name] = view.T if tensor.ndim == 2 else view
    return views


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Parameters and running statistics by name, without PyTorch's count of batches."""
    return {name: tensor for name, tensor in network.state_dict().items() if not name.endswith("num_batches_tracked")}


def load_into_torch(network: nn.Module, state: Mapping[str, Array]) -> None:
    """Copy the `state_dict` of our network into the same one in PyTorch."""
    for name, view in as_torch(network, state).items():
        weights_of(network)[name].copy_(view)


def load_from_torch(ours: Sequential, network: nn.Module) -> None:
    """Copy the weights of a network in PyTorch into ours."""
    theirs = weights_of(network)
    for name, view in as_torch(network, dict(ours.named_state())).items():
        view.copy_(theirs[name])


def live_in(network: nn.Module, ours: Sequential) -> None:
    """Let the network in PyTorch use the memory of ours for its weights, running statistics and gradients."""
    memory = as_torch(network, dict(ours.named_state()))
    gradients = {name: parameter.grad for name, parameter in ours.named_parameters()}
    statistics = {name: array for name, array in ours.named_state() if name not in gradients}
    gradient_memory = as_torch(network, gradients | statistics)
    for name, parameter in network.named_parameters():
        parameter.data = memory[name]
        parameter.grad = gradient_memory[name]  # autograd adds to a gradient that is there already, in place
    for name, buffer in network.named_buffers():
        if name in memory:
            buffer.data = memory[name]


# -- what the loop needs ----------------------------------------------------------------------------------------------


class TorchOptimizer(Optimizer):
    """PyTorch's optimizer of the name in the settings, behind what `Run` asks of one.

    Each comparison has one of its own: `core` imports no framework, and projects do not import each other.
    """

    def __init__(self, settings: Settings, ours: Sequential) -> None:
        super().__init__(ours.parameters(), settings.weight_decay)
        self._settings = settings

    def take(self, network: nn.Module) -> None:
        """Take charge of a network that lives in the memory of ours: weights decay, biases and scales do not."""
        decayed = [parameter for parameter in network.parameters() if parameter.ndim > 1]
        others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": self.weight_decay}, {"params": others, "weight_decay": 0.0}]
        name, settings = self._settings.optimizer, self._settings
        if name == "sgd":
            self.rival = torch.optim.SGD(groups, settings.lr, settings.momentum, nesterov=settings.nesterov)
        elif name == "adamw":
            self.rival = torch.optim.AdamW(groups, settings.lr)
        else:
            self.rival = torch.optim.Adam(groups, settings.lr, amsgrad=name == "amsgrad")

    def step(self, lr: float) -> None:
        """Update all weights with learning rate `lr`, and fill the gradients with zeros."""
        for group in self.rival.param_groups:
            group["lr"] = lr
        self.rival.step()
        self.flat.zero_grad()
        self.flat.settle()


@torch.inference_mode()
def logits_of(network: nn.Module, x: Array) -> Tensor:
    """The logits (N, 100) at test time for prepared pictures (N, 28, 56, 1), in batches."""
    network.eval()
    logits = torch.cat([network(part) for part in torch.from_numpy(x).split(512)])
    network.train()
    return logits


def evaluate(network: nn.Module, x: Array, labels: Tensor) -> dict[str, float]:
    """Mean loss and accuracy on prepared pictures."""
    logits = logits_of(network, x)
    accuracy = (logits.argmax(dim=1) == labels).double().mean()
    return {"loss": nn.functional.cross_entropy(logits, labels).item(), "accuracy": accuracy.item()}


def answer(architecture: Architecture, ours: Sequential, x: Array) -> Array:
    """The logits (N, 100) that PyTorch computes with our weights."""
    network = torch_network(architecture)
    load_into_torch(network, ours.state_dict())
    return logits_of(network, x).numpy()


if __name__ == "__main__":
    main(train, Settings, description=__doc__, presets=PRESETS)
