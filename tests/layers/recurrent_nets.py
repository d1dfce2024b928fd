"""Small recurrent layers and ragged sequences for them."""

import numpy as np

from core.layers import GRU, LSTM, RNN, Layer, Sequences

CELLS = [RNN, GRU, LSTM]
LENGTHS = {"ragged": [3, 1, 6, 4, 1, 6], "equal": [4, 4, 4], "one sequence": [5], "one step each": [1, 1]}
RAGGED = np.array(LENGTHS["ragged"])
D, H = 3, 4


class Padded(Layer):
    """A layer of `Sequences` as one of arrays (N, T, D), so that gradcheck can perturb them."""

    def __init__(self, body, lengths):
        super().__init__()
        self.body, self.lengths = body, lengths

    def forward(self, x, train=False):
        y = self.body.forward(Sequences.pack_padded(x, self.lengths), train)
        self.given = y
        return y.to_padded() if isinstance(y, Sequences) else y

    def backward(self, dy):
        if isinstance(self.given, Sequences):
            dy = Sequences.pack_padded(dy, self.lengths)
        return self.body.backward(dy).to_padded()


def build(cell, dtype=np.float64, seed=0, **options):
    options = {"num_layers": 2, "bidirectional": True} | options
    return cell(options.pop("inputs", D), H, rng=np.random.default_rng(seed), dtype=dtype, **options)


def padded(lengths, dtype=np.float64, fill=0.0):
    x = np.random.default_rng(1).standard_normal((len(lengths), max(lengths), D)).astype(dtype)
    x[np.arange(max(lengths)) >= np.array(lengths)[:, None]] = fill
    return x


def outcome(layer, x, dy):
    """All that a step computes: states, last states, dx and the parameters' gradients."""
    y = layer.forward(x, train=True)
    arrays = [y.rows.copy(), y.last.copy()]
    dx = layer.backward(Sequences(dy[: len(y.rows)], y.layout, last=dy[: len(x), ::-1]))
    arrays.append(dx.rows.copy())
    for parameter in layer.parameters():
        arrays.append(parameter.grad.copy())
        parameter.zero_grad()
    return arrays


def random_dy(seed=3, dtype=np.float32, rows=64):
    return np.random.default_rng(seed).standard_normal((rows, 2 * H)).astype(dtype)
