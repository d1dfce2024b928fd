"""The same recurrent network in PyTorch on the CPU, for comparison; needs the extra "torch".

    python rnn_doodles/training_torch.py                      # takes the flags of training.py
    python rnn_doodles/training_torch.py --preset best
    python rnn_doodles/test_model.py --run torch-best

Forward, backward and optimizer are PyTorch's, on packed sequences; the initial weights, the drawings of each batch,
their distortions, the learning rate and the report are those of training.py. Dropout is PyTorch's own, which between
the layers zeroes each step of a drawing by itself. After every step the weights are copied into our network, which
validates and is saved: its outputs are the same to 1e-5.
"""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent
sys.path.insert(0, str(PROJECT.parent))  # so that this runs from any folder, installed or not
try:
    import numpy as np
    import torch
    from torch import Tensor, nn
    from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

    from core.cli import main
    from core.errors import UserError
    from core.layers import Sequences, Sequential
    from core.losses import loss_and_accuracy
    from core.optim import Optimizer
    from core.random import Stream
    from core.training.run import Run
    from core.training.settings import make_schedule
    from core.workers import set_threads
    from rnn_doodles.buckets import Buckets
    from rnn_doodles.model import FEATURES, Architecture, answer, build
    from rnn_doodles.settings import PRESETS, Settings
    from rnn_doodles.training import Inputs, describe, load
except ModuleNotFoundError as error:
    print(f'error: {error}; run `python -m pip install -e ".[torch]"` in the folder that holds core/', file=sys.stderr)
    sys.exit(2)
except KeyboardInterrupt:
    sys.exit(130)  # as shells report Ctrl-C


def train(settings: Settings) -> None:
    """Train as `settings` say; everything goes to runs/torch-<name>."""
    for flag in ("resume", "lr_find", "sweep", "search", "ema_decay", "clip_value"):
        if getattr(settings, flag):
            raise UserError(f"--{flag.replace('_', '-')} is a flag of training.py only")
    if settings.device == "gpu":
        raise UserError("--device gpu: this comparison runs on the CPU")
    if settings.pool != "last" or settings.accumulate > 1:
        raise UserError("--pool mean and --accumulate are for training.py only")
    torch.set_num_threads(set_threads(settings.threads))
    torch.manual_seed(settings.seed)
    data, stream = load(settings), Stream(settings.seed)
    architecture = settings.architecture(len(data.info["classes"]))
    ours = build(architecture, seed=settings.seed, stream=stream)
    theirs = TorchNetwork(architecture)
    load_into_torch(theirs, ours)
    optimizer = TorchOptimizer(settings, ours, theirs)
    loss_of = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)
    inputs = Inputs(data.drawings, settings.augmentation(), stream, "cpu")
    arrays = data.arrays()
    order = Buckets(data.rows, data.drawings.lengths, settings.micro_batch_size, settings.buckets)
    about = describe(settings, data) | {"trained_with": f"PyTorch {torch.__version__}"}

    with Run(
        settings,
        ours,
        optimizer,
        make_schedule(settings, len(data.rows)),
        folder=PROJECT / "runs" / f"torch-{settings.run_name}",
        stream=stream,
        data_info=data.info,
        about=about,
    ) as run:
        for _ in run.epochs():
            for x, t in inputs.of(run.batches(*arrays, rows=order, numbers=True)):
                targets = torch.from_numpy(t)
                logits = theirs(as_packed(x))
                loss = loss_of(logits, targets)
                accuracy = (logits.argmax(dim=1) == targets).double().mean()
                loss.backward()
                run.step(loss.item(), accuracy=accuracy.item())
            logits = answer(ours, data.drawings[data.held_out])
            run.validate(**loss_and_accuracy(logits, data.labels[data.held_out]))


class TorchNetwork(nn.Module):
    """What `rnn_doodles.model.build` makes, with the last states: packed sequences (N, T, 3) -> logits (N, classes)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        cell = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[architecture.cell]
        self.directions = 2 if architecture.bidirectional else 1
        self.recurrent = cell(
            FEATURES,
            architecture.hidden,
            architecture.layers,
            dropout=architecture.dropout if architecture.layers > 1 else 0.0,
            bidirectional=architecture.bidirectional,
        )
        self.dropout = nn.Dropout(architecture.dropout)
        self.head = nn.Linear(self.directions * architecture.hidden, architecture.classes)

    def forward(self, x: PackedSequence) -> Tensor:
        _, last = self.recurrent(x)
        states = last[0] if isinstance(last, tuple) else last  # an LSTM has a cell beside its state
        return self.head(self.dropout(torch.cat(list(states[-self.directions :]), dim=1)))


def as_packed(x: Sequences) -> PackedSequence:
    """A batch of ours as PyTorch packs it."""
    return pack_padded_sequence(
        torch.from_numpy(x.to_padded()), torch.from_numpy(x.lengths), batch_first=True, enforce_sorted=False
    )


# -- weights on their way between the two ------------------------------------------------------------------------------


def torch_name(name: str) -> str:
    """Our "recurrent.l1_reverse.weight_ih" is "recurrent.weight_ih_l1_reverse" there."""
    layer, *place, kind = name.split(".")
    return f"{layer}.{kind}_{place[0]}" if place else f"{layer}.{kind}"


def load_into_torch(theirs: TorchNetwork, ours: Sequential) -> None:
    """Copy the weights of our network into PyTorch's."""
    state = theirs.state_dict()
    for name, array in ours.named_state():
        if array.ndim == 3:  # (K, I, H), the gates apart; PyTorch has them in one, (K * H, I)
            array = array.swapaxes(1, 2).reshape(-1, array.shape[1])
        elif name.startswith("recurrent."):
            array = array.reshape(-1)
        else:
            array = array.T  # a matrix (in, out) is (out, in) there
        state[torch_name(name)].copy_(torch.from_numpy(np.ascontiguousarray(array)))


def load_from_torch(ours: Sequential, theirs: TorchNetwork) -> None:
    """Copy the weights of PyTorch's network into ours."""
    state = theirs.state_dict()
    for name, array in ours.named_state():
        tensor = state[torch_name(name)].numpy()
        if array.ndim == 3:
            gates, inputs, hidden = array.shape
            array[...] = tensor.reshape(gates, hidden, inputs).swapaxes(1, 2)
        elif name.startswith("recurrent."):
            array[...] = tensor.reshape(array.shape)
        else:
            array[...] = tensor.T


# -- what the loop needs ----------------------------------------------------------------------------------------------


class TorchOptimizer(Optimizer):
    """PyTorch's optimizer of the name in the settings, behind what `Run` asks of one.

    Each comparison has one of its own: `core` imports no framework, and projects do not import each other.
    """

    def __init__(self, settings: Settings, ours: Sequential, theirs: TorchNetwork) -> None:
        super().__init__(ours.parameters(), settings.weight_decay)
        self.ours, self.theirs, self.clip_norm = ours, theirs, settings.clip_norm
        weights = [tensor for tensor in theirs.parameters() if tensor.ndim > 1]
        biases = [tensor for tensor in theirs.parameters() if tensor.ndim == 1]
        groups = [{"params": weights, "weight_decay": settings.weight_decay}, {"params": biases, "weight_decay": 0.0}]
        if settings.optimizer == "sgd":
            self.rival = torch.optim.SGD(groups, settings.lr, settings.momentum, nesterov=settings.nesterov)
        elif settings.optimizer == "adamw":
            self.rival = torch.optim.AdamW(groups, settings.lr)
        else:
            self.rival = torch.optim.Adam(groups, settings.lr, amsgrad=settings.optimizer == "amsgrad")

    def step(self, lr: float) -> None:
        """Clip PyTorch's gradients, update its weights with learning rate `lr`, and copy them into our network."""
        for group in self.rival.param_groups:
            group["lr"] = lr
        if self.clip_norm:
            nn.utils.clip_grad_norm_(self.theirs.parameters(), self.clip_norm)
        self.rival.step()
        self.rival.zero_grad()
        load_from_torch(self.ours, self.theirs)


if __name__ == "__main__":
    main(train, Settings, description=__doc__, presets=PRESETS)
