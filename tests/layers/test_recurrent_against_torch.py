"""RNN, GRU and LSTM against PyTorch on packed sequences: values, gradients, ten optimizer steps, weights both ways."""

import numpy as np
import pytest

from core import layers, losses, optim
from core.layers import LastState, Linear, Sequences, Sequential

torch = pytest.importorskip("torch")

CELLS = {"rnn": (layers.RNN, torch.nn.RNN), "gru": (layers.GRU, torch.nn.GRU), "lstm": (layers.LSTM, torch.nn.LSTM)}
SHAPES = [(1, False), (1, True), (2, False), (2, True), (3, True)]  # layers, bidirectional
LENGTHS = np.array([5, 1, 9, 9, 3, 1, 7])
D, H = 3, 6
ALL = pytest.mark.parametrize(("cell", "depth", "both"), [(cell, *shape) for cell in CELLS for shape in SHAPES])


def pair(cell, depth, both, seed=0):
    """Our layer and PyTorch's, each with weights of its own."""
    ours_class, theirs_class = CELLS[cell]
    torch.manual_seed(seed)
    ours = ours_class(D, H, num_layers=depth, bidirectional=both, rng=np.random.default_rng(seed))
    return ours, theirs_class(D, H, depth, bidirectional=both, batch_first=True)


def torch_name(name):
    """ "l1_reverse.weight_ih" -> "weight_ih_l1_reverse"."""
    place, kind = name.split(".")
    return f"{kind}_{place}"


def as_torch(array):
    """(K, I, H) or (K, H), gates apart -> PyTorch's (K * H, I) or (K * H,), gates stacked."""
    moved = array.swapaxes(1, 2) if array.ndim == 3 else array
    return torch.tensor(moved.reshape(-1, *moved.shape[2:]).copy())


def from_torch(tensor, shape):
    array = tensor.detach().numpy()
    return array.reshape(shape[0], shape[2], shape[1]).swapaxes(1, 2) if len(shape) == 3 else array.reshape(shape)


def give(ours, theirs):
    """Copy our weights to PyTorch."""
    theirs.load_state_dict({torch_name(name): as_torch(array) for name, array in ours.state_dict().items()})


def batch(seed=1):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((len(LENGTHS), LENGTHS.max(), D), dtype=np.float32)
    return Sequences.pack_padded(x, LENGTHS), torch.tensor(x, requires_grad=True)


def run(theirs, x, lengths=LENGTHS):
    """PyTorch's states after every step, (N, T, C) with zeros behind the ends, and its last ones, (N, C)."""
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), True, enforce_sorted=False)
    y, last = theirs(packed)
    last = last[0] if isinstance(last, tuple) else last
    directions = 2 if theirs.bidirectional else 1
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True)
    return y, torch.cat(list(last[-directions:]), dim=1)


def close(ours, theirs, tolerance=1e-5):
    np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


@ALL
def test_values_and_gradients(cell, depth, both):
    ours, theirs = pair(cell, depth, both)
    give(ours, theirs)
    x, x_torch = batch()
    y, (y_torch, last_torch) = ours.forward(x, train=True), run(theirs, x_torch)
    close(y.to_padded(), y_torch)
    close(y.last, last_torch)
    rng = np.random.default_rng(2)
    dy, dlast = rng.standard_normal(y.shape, dtype=np.float32), rng.standard_normal(y.last.shape, dtype=np.float32)
    ((y_torch * torch.tensor(dy)).sum() + (last_torch * torch.tensor(dlast)).sum()).backward()
    dx = ours.backward(Sequences(Sequences.pack_padded(dy, LENGTHS).rows, x.layout, dlast))
    close(dx.to_padded(), x_torch.grad)
    grads = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        close(as_torch(parameter.grad), grads[torch_name(name)].grad)


@ALL
def test_inference(cell, depth, both):
    ours, theirs = pair(cell, depth, both)
    give(ours, theirs)
    x, x_torch = batch()
    y, (y_torch, last_torch) = ours.forward(x), run(theirs, x_torch)
    close(y.to_padded(), y_torch)
    close(y.last, last_torch)


@ALL
def test_weights_come_from_pytorch_too(cell, depth, both):
    ours, theirs = pair(cell, depth, both)
    wanted = dict(theirs.named_parameters())
    ours.load_state_dict({n: from_torch(wanted[torch_name(n)], a.shape) for n, a in ours.state_dict().items()})
    x, x_torch = batch()
    close(ours.forward(x).last, run(theirs, x_torch)[1])


@ALL
def test_ten_steps_of_adamw(cell, depth, both):
    ours, theirs = pair(cell, depth, both)
    give(ours, theirs)
    width = H * (2 if both else 1)
    head = Linear(width, 4, rng=np.random.default_rng(5))
    head_torch = torch.nn.Linear(width, 4)
    head_torch.load_state_dict(
        {"weight": torch.tensor(head.weight.data.T.copy()), "bias": torch.tensor(head.bias.data)}
    )
    model = Sequential(ours, LastState(), head)
    optimizer = optim.AdamW(model.parameters(), weight_decay=0.02)
    weights = [p for m in (theirs, head_torch) for n, p in m.named_parameters() if "weight" in n]
    biases = [p for m in (theirs, head_torch) for n, p in m.named_parameters() if "bias" in n]
    groups = [{"params": weights, "weight_decay": 0.02}, {"params": biases, "weight_decay": 0.0}]
    optimizer_torch = torch.optim.AdamW(groups, lr=0.01)
    labels = np.random.default_rng(3).integers(0, 4, len(LENGTHS))
    for step in range(10):
        x, x_torch = batch(seed=step)
        loss, dlogits = losses.softmax_cross_entropy(model.forward(x, train=True), labels)
        model.backward(dlogits)
        optimizer.step(0.01)
        optimizer_torch.zero_grad()
        loss_torch = torch.nn.functional.cross_entropy(head_torch(run(theirs, x_torch)[1]), torch.tensor(labels))
        loss_torch.backward()
        optimizer_torch.step()
        assert float(loss) == pytest.approx(loss_torch.item(), rel=1e-5)
    trained = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        close(as_torch(parameter.data), trained[torch_name(name)])


def test_the_mean_of_the_states():
    ours, theirs = pair("gru", 1, True)
    give(ours, theirs)
    x, x_torch = batch()
    pool = layers.MeanState()
    mean = pool.forward(ours.forward(x, train=True), train=True)
    mean_torch = run(theirs, x_torch)[0].sum(dim=1) / torch.tensor(LENGTHS)[:, None]
    close(mean, mean_torch)
    dy = np.random.default_rng(2).standard_normal(mean.shape, dtype=np.float32)
    (mean_torch * torch.tensor(dy)).sum().backward()
    close(ours.backward(pool.backward(dy)).to_padded(), x_torch.grad)
