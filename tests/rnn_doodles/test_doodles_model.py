"""The network of rnn_doodles: its gradients, its answers, and what is read back from a run folder."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_doodles import CLASSES, NOTICE, TINY, make_run, some_drawings

from core.errors import UserError
from core.gradcheck import relative_error
from core.layers import Sequences
from core.losses import softmax_cross_entropy
from rnn_doodles.ink import Ink, encode
from rnn_doodles.model import CELLS, POOLS, Architecture, answer, build
from rnn_doodles.trained import load_guesser


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("bidirectional", [True, False])
def test_gradients_of_the_whole_network(cell, pool, bidirectional):
    architecture = replace(TINY, cell=cell, pool=pool, bidirectional=bidirectional, hidden=4)
    model = build(architecture).to(dtype=np.float64)
    drawings, labels = some_drawings(200)
    x = encode(Ink.of(drawings[:5]))
    x = Sequences(x.rows.astype(np.float64), x.layout)

    def loss():
        value, dlogits = softmax_cross_entropy(model.forward(x, train=True), labels[:5])
        return float(value), dlogits

    model.backward(loss()[1])
    rng = np.random.default_rng(0)
    for name, parameter in model.named_parameters():
        error = relative_error(parameter.grad.copy(), parameter.data, lambda: loss()[0], rng, samples=4)
        assert error < 1e-5, name


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("cell", CELLS)
def test_the_architecture_knows_its_weights(cell, bidirectional):
    architecture = Architecture(cell=cell, bidirectional=bidirectional, hidden=5, layers=3, classes=7)
    shapes = sorted(a.shape for a in build(architecture).state_dict().values() if a.ndim == 3)
    assert architecture.recurrent_shapes() == shapes
    assert Architecture(**architecture.to_dict()) == architecture


def test_answers_do_not_depend_on_the_company():
    model = build(TINY)
    drawings, _ = some_drawings(200)
    together = answer(model, drawings)
    assert together.shape == (200, len(CLASSES))
    assert together.dtype == np.float32
    for number in (0, 7, 199):
        np.testing.assert_allclose(answer(model, drawings[number : number + 1])[0], together[number], atol=1e-6)


def test_a_run_is_read_back(tmp_path):
    run = make_run(tmp_path / "run")
    guesser = load_guesser(str(run))
    assert (guesser.architecture, guesser.classes, guesser.notice) == (TINY, tuple(CLASSES), NOTICE)
    drawings, _ = some_drawings(200)
    np.testing.assert_array_equal(answer(guesser.network, drawings), answer(build(TINY), drawings))


LIES = [
    {"hidden": 10**6},
    {"hidden": "6"},
    {"cell": "lstm"},
    {"cell": "x"},
    {"layers": 3},
    {"layers": 10**9},
    {"layers": 0},
    {"bidirectional": False},
    {"classes": 10**9},
    {"more": 1},
]


@pytest.mark.parametrize("lie", LIES)
def test_a_description_that_does_not_fit_the_weights_is_refused(tmp_path, lie):
    about = {"architecture": TINY.to_dict() | lie, "normalize": {"mean": 0.0, "std": 1.0}, "classes": CLASSES}
    run = make_run(tmp_path / "run", about=about)
    with pytest.raises(UserError, match="holds no network of this project"):
        load_guesser(str(run))
