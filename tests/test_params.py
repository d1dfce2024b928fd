"""Parameters, flat buffers, and the state of layers."""

import copy
import pickle

import numpy as np
import pytest

from core.frozen import freeze
from core.gradcheck import TOLERANCE, gradcheck
from core.layers import BatchNorm, Layer, Linear, ReLU, Residual, Sequential, Tanh
from core.optim import SGD, Adam
from core.params import Constant, Parameter, pack


def small_network():
    rng = np.random.default_rng(0)
    return Sequential(features=Sequential(Linear(4, 3, rng=rng), BatchNorm(3), ReLU()), head=Linear(3, 2, rng=rng))


def test_state_dict_names_every_array_and_is_a_copy():
    network = small_network()
    state = network.state_dict()
    assert list(state) == [
        "features.0.weight",
        "features.0.bias",
        "features.1.weight",
        "features.1.bias",
        "head.weight",
        "head.bias",
        "features.1.running_mean",
        "features.1.running_var",
    ]
    state["head.weight"][...] = 7
    assert (network.layers["head"].weight.data != 7).all()


def test_load_state_dict_gives_the_same_outputs():
    network, other = small_network(), small_network()
    x = np.random.default_rng(1).standard_normal((5, 4), np.float32)
    network.forward(x, train=True)  # moves the running statistics
    other.load_state_dict(network.state_dict())
    np.testing.assert_array_equal(other.forward(x), network.forward(x))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("head.bias"), "missing"),
        (lambda state: state.update(extra=np.zeros(1)), "unknown"),
        (lambda state: state.update({"head.bias": np.zeros(9, np.float32)}), r"expected shape \(2,\), got \(9,\)"),
        (lambda state: state.update({"head.bias": np.array([1, 2])}), "head.bias expected float32, got int64"),
        (lambda state: state.update({"head.bias": np.array(["a", "b"])}), "head.bias expected float32, got <U1"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    network = small_network()
    before = network.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        network.load_state_dict(state)
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_packing_puts_decayed_parameters_first_and_keeps_values():
    network = small_network()
    before = network.state_dict()
    flat = pack(network.parameters())
    assert flat.decayed == 4 * 3 + 3 * 2
    assert [parameter.decay for parameter in flat.parameters] == [True, True, False, False, False, False]
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
    assert all(np.shares_memory(parameter.data, flat.data) for parameter in network.parameters())
    assert all(np.shares_memory(parameter.grad, flat.grad) for parameter in network.parameters())
    assert pack(network.parameters()) is flat


def test_parameters_stay_views_of_the_flat_buffer_through_training_and_loading():
    network = small_network()
    optimizer = Adam(network.parameters())
    state = network.state_dict()
    x = np.random.default_rng(1).standard_normal((5, 4), np.float32)
    for _ in range(3):
        network.backward(network.forward(x, train=True).copy())
        optimizer.step(0.1)
    network.load_state_dict(state)
    for parameter in network.parameters():
        assert np.shares_memory(parameter.data, optimizer.flat.data)
        assert np.shares_memory(parameter.grad, optimizer.flat.grad)
        assert parameter.data.dtype == np.float32


def learn(network, steps):
    rng = np.random.default_rng(1)
    optimizer = Adam(network.parameters())
    for _ in range(steps):
        network.forward(rng.standard_normal((8, 4)).astype(np.float32), train=True)
        network.backward(rng.standard_normal((8, 2)).astype(np.float32))
        optimizer.step(0.01)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda network: pickle.loads(pickle.dumps(network))])
def test_a_copy_of_a_network_that_has_learned_learns_on_as_the_original_would_and_leaves_it_alone(duplicate):
    """The buffers that an optimizer updates have to be those of the copy."""
    network = small_network()
    learn(network, 3)
    at_first = network.state_dict()
    other = duplicate(network)
    learn(other, 3)
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, at_first[name])
    learn(network, 3)
    for name, array in other.state_dict().items():
        np.testing.assert_array_equal(array, network.state_dict()[name])
        assert not np.array_equal(array, at_first[name])
    flat, others = (pack(one.parameters()) for one in (network, other))
    assert not np.shares_memory(flat.data, others.data)
    for parameter in other.parameters():
        assert np.shares_memory(parameter.data, others.data)


def test_a_frozen_network_takes_no_state():
    network = small_network()
    frozen = freeze(network)
    with pytest.raises(RuntimeError, match="frozen network keeps its weights: load the state into the original"):
        frozen.load_state_dict(frozen.state_dict())


def test_a_copy_of_a_parameter_takes_its_gradient_along():
    network = small_network()
    pack(network.parameters())
    parameter = network.layers["head"].weight
    parameter.add_grad(np.ones_like(parameter.data))
    duplicate = copy.deepcopy(parameter)
    assert duplicate.flat is None
    np.testing.assert_array_equal(duplicate.grad, parameter.grad)
    duplicate.add_grad(duplicate.data)
    np.testing.assert_array_equal(parameter.grad, np.ones_like(parameter.data))


class Scale(Layer):
    """A layer as others write them."""

    def __init__(self):
        super().__init__()
        self.factor = Parameter(np.array([2.0, 3.0]))

    def forward(self, x, train=False):
        self.remember(train, x)
        return x * self.factor.data

    def backward(self, dy):
        self.factor.grad += (self.recall() * dy).sum(axis=0)
        return dy * self.factor.data


def test_a_layer_may_add_to_its_gradient_in_place():
    layer, x = Scale(), np.random.default_rng(0).standard_normal((4, 2))
    optimizer = SGD(layer.parameters())
    assert gradcheck(layer, x, np.random.default_rng(1)) < TOLERANCE
    assert np.shares_memory(layer.factor.grad, optimizer.flat.grad)


@pytest.mark.parametrize(
    "hold", [list, tuple, lambda members: dict(enumerate(members)), lambda members: [(), {"stage": [members]}]]
)
@pytest.mark.parametrize("member", [ReLU(), Parameter(np.ones(2))])
def test_what_learns_is_not_overlooked_in_a_list(hold, member):
    layer = Layer()
    layer.blocks = hold([None, member])
    with pytest.raises(TypeError, match="Layer keeps layers or parameters in blocks, where nobody finds them"):
        layer.parameters()
    layer.blocks = Sequential(ReLU())
    assert layer.parameters() == []


class Twice(Sequential):
    """A chain with one more layer, which comes last."""

    def __init__(self, rng, *layers):
        super().__init__(*layers)
        self.head = Linear(3, 2, rng=rng, dtype=np.float64)

    def forward(self, x, train=False):
        return self.head.forward(super().forward(x, train), train)

    def backward(self, dy):
        return super().backward(self.head.backward(dy))


def test_a_layer_beside_those_of_a_chain_is_not_overlooked():
    rng = np.random.default_rng(0)
    network = Twice(rng, Linear(4, 3, rng=rng, dtype=np.float64), Tanh())
    assert list(network.state_dict()) == ["0.weight", "0.bias", "head.weight", "head.bias"]
    assert gradcheck(network, rng.standard_normal((5, 4)), rng) < TOLERANCE


def test_a_layer_may_keep_layers_in_a_dict_of_that_name_and_nothing_else_among_them():
    layer = Layer()
    layer.layers = {"first": Scale(), "second": Scale()}
    assert [name for name, _ in layer.named_parameters()] == ["first.factor", "second.factor"]
    for name, value in (("third", None), (3, Scale()), ("", Scale())):
        layer.layers = {"first": Scale(), name: value}
        with pytest.raises(TypeError, match="keeps layers or parameters in layers"):
            layer.parameters()


def test_two_layers_of_one_name_are_refused_and_one_with_two_names_counts_once():
    rng = np.random.default_rng(0)
    network = Sequential(body=Linear(2, 2, rng=rng), head=Linear(2, 2, rng=rng))
    network.last = network.head = network.layers["head"]
    assert list(network.state_dict()) == ["body.weight", "body.bias", "head.weight", "head.bias"]
    network.head = Linear(2, 2, rng=rng)
    with pytest.raises(TypeError, match="two layers called head"):
        network.state_dict()


class Stem(Sequential):
    """A chain behind one more layer."""

    def __init__(self, rng, *layers):
        super().__init__(*layers)
        self.stem = Linear(3, 4, rng=rng, dtype=np.float64)

    def forward(self, x, train=False):
        return super().forward(self.stem.forward(x, train), train)

    def backward(self, dy):
        return self.stem.backward(super().backward(dy))


def test_a_layer_before_a_chain_learns_where_nobody_wants_the_gradient_of_the_input():
    rng = np.random.default_rng(0)
    network = Stem(rng, Linear(4, 2, rng=rng, dtype=np.float64)).skip_input_grad()
    assert gradcheck(network, rng.standard_normal((5, 3)), rng) < TOLERANCE
    network.forward(rng.standard_normal((5, 3)), train=True)
    network.backward(rng.standard_normal((5, 2)))
    assert network.stem.weight.grad.any()


def test_a_forward_may_remember_a_layer_and_a_parameter():
    layer = Layer()
    layer.first, layer.weight = ReLU(), Parameter(np.ones(2))
    layer.remember(True, layer.first, layer.weight)
    assert layer.parameters() == [layer.weight]
    assert layer.recall() == (layer.first, layer.weight)


def test_a_gradient_is_written_to_and_never_replaced_or_spread():
    factor = Scale().factor
    with pytest.raises(AttributeError, match=r"write to it, grad\[\.\.\.\] = value"):
        factor.grad = np.ones(2)
    with pytest.raises(ValueError, match=r"add_grad expected \(2,\), got \(\)"):
        factor.add_grad(np.ones(2).sum())
    with pytest.raises(RuntimeError, match="no gradients"):
        Constant(np.ones(2)).grad += 1


def test_a_gradient_nobody_computed_counts_as_zero_in_a_step():
    network = small_network()
    optimizer = SGD(network.parameters())
    optimizer.flat.grad[...] = np.nan  # what lies in the buffer must not matter
    before = network.state_dict()
    optimizer.flat.zero_grad()
    optimizer.step(1.0)
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_residual_expects_equal_shapes():
    block = Residual(Linear(3, 4, rng=np.random.default_rng(0)))
    with pytest.raises(ValueError, match=r"ndarray \(2, 4\) and ndarray \(2, 3\)"):
        block.forward(np.zeros((2, 3), np.float32))


def test_linear_names_what_it_expected():
    layer = Linear(3, 4, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"Linear expected \(N, ..., 3\), got \(2, 5\)"):
        layer.forward(np.zeros((2, 5), np.float32))


def test_workspaces_are_reused_and_grow():
    layer = Linear(3, 4, rng=np.random.default_rng(0))
    big = layer.forward(np.zeros((8, 3), np.float32))
    small = layer.forward(np.zeros((2, 3), np.float32))
    assert np.shares_memory(big, small)
    assert layer.forward(np.zeros((8, 3), np.float32)).shape == (8, 4)


def test_parameters_are_seen_in_float16_by_those_who_compute_in_it():
    network = small_network()
    flat = pack(network.parameters())
    weight = network.layers["head"].weight
    x = np.ones((2, 3), np.float16)
    assert weight.like(x) is weight.data, "nothing is rounded unless somebody has asked for it"
    half = flat.keep_half()
    half[...] = flat.data
    assert np.shares_memory(weight.like(x), half)
    np.testing.assert_array_equal(weight.like(x), weight.data.astype(np.float16))
    assert weight.like(x.astype(np.float32)) is weight.data


def test_flat_gradients_are_zero_until_a_backward_and_after_a_step():
    network = small_network()
    optimizer = SGD(network.parameters())
    assert not optimizer.flat.is_zero, "packing has written the zeros"
    optimizer.step(0.1)
    assert optimizer.flat.is_zero
    network.forward(np.ones((5, 4), np.float32), train=True)
    network.backward(np.ones((5, 2), np.float32))
    assert not optimizer.flat.is_zero


def test_a_parameter_that_layers_share_is_one_also_after_a_move():
    rng = np.random.default_rng(0)
    first, second = Linear(4, 4, rng=rng), Linear(4, 4, rng=rng, bias=False)
    second.weight = first.weight
    network = Sequential(first, second).to(dtype=np.float64)
    assert second.weight is first.weight
    assert [id(parameter) for parameter in network.parameters()] == [id(first.weight), id(first.bias)]
    assert gradcheck(network, rng.standard_normal((5, 4)), rng) < TOLERANCE
    optimizer, before = SGD(network.parameters()), first.weight.data.copy()
    network.forward(rng.standard_normal((5, 4)), train=True)
    network.backward(rng.standard_normal((5, 4)))
    gradient = first.weight.grad.copy()
    optimizer.step(0.1)
    np.testing.assert_allclose(second.weight.data, before - 0.1 * gradient)


def test_a_layer_in_several_places_is_moved_once():
    class Twice(Sequential):
        def forward(self, x, train=False):
            return self.first.forward(self.again.forward(super().forward(x, train), train), train)

    rng = np.random.default_rng(0)
    for _ in range(10):  # the memory of what has been moved, and so its id, may be that of something new
        first, second, third = (Linear(4, 4, rng=rng) for _ in range(3))
        third.weight = first.weight
        network, x = Twice(first, second, third), rng.standard_normal((3, 4)).astype(np.float32)
        network.first, network.again = first, second
        before = network.forward(x).copy()
        after = network.to(dtype=np.float64).forward(x.astype(np.float64))
        np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4)
        assert third.weight is first.weight
