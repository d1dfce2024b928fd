"""A Parallel and its weights: copies of it, optimizers for all of them or some, and moves to another dtype."""

import copy
import pickle

import numpy as np
import pytest
from to_share import network, train

from core.frozen import freeze
from core.layers import Linear, Parallel, Sequential
from core.losses import softmax_cross_entropy
from core.optim import SGD, Adam
from core.workers import Workers


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_trains_as_the_original_does(duplicate):
    runs = []
    for use in (lambda model: model, duplicate):
        inner, _ = network()
        model = use(Parallel(inner, Workers(2)))
        stream = next(layer.stream for _, layer in model.walk() if hasattr(layer, "stream"))
        runs.append(train(model, stream))
    assert runs[0][0] == runs[1][0]
    for name, array in runs[0][1].items():
        np.testing.assert_array_equal(array, runs[1][1][name])


def test_a_copy_is_apart_from_the_original():
    inner, stream = network()
    model = Parallel(inner, Workers(2))
    train(model, stream, steps=2)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    other = copy.deepcopy(model)
    assert other.workers is model.workers
    train(other, next(layer.stream for _, layer in other.walk() if hasattr(layer, "stream")), steps=2)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


@pytest.mark.parametrize("first", ["model", "optimizer"])
def test_a_copy_beside_its_optimizer_goes_on_as_the_original_does(first):
    inner, _ = network()
    model = Parallel(inner, Workers(2))
    optimizer = Adam(model.parameters(), weight_decay=0.1)
    go_on(model, optimizer)
    if first == "model":
        other, others = copy.deepcopy((model, optimizer))
    else:
        others, other = copy.deepcopy((optimizer, model))
    go_on(model, optimizer)
    go_on(other, others)
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, other.state_dict()[name])


def go_on(model, optimizer, steps=3):
    rng = np.random.default_rng(1)
    for step in range(steps):
        next(layer.stream for _, layer in model.walk() if hasattr(layer, "stream")).seek(0, step)
        logits = model.forward(rng.standard_normal((37, 12), np.float32), train=True)
        model.backward(softmax_cross_entropy(logits, rng.integers(0, 5, 37))[1])
        optimizer.step(0.01)


def test_a_copy_whose_optimizer_has_another_order_is_refused():
    inner, _ = network()
    optimizer = Adam(list(inner.parameters())[::-1])
    model = Parallel(inner, Workers(2))
    with pytest.raises(ValueError, match="another order"):
        copy.deepcopy((model, optimizer))
    copy.deepcopy((optimizer, model))


def test_gradients_are_added_where_they_belong_whatever_the_order_of_an_earlier_optimizer():
    states = []
    for parallel in (False, True):
        inner, _ = network()
        optimizer = Adam(list(inner.parameters())[::-1])
        model = Parallel(inner, Workers(2)) if parallel else inner
        go_on(model, optimizer)
        states.append(model.state_dict())
    for name, array in states[0].items():
        np.testing.assert_allclose(states[1][name], array, rtol=1e-3, atol=1e-5, err_msg=name)


def test_a_copy_needs_no_gradient_of_the_input_either():
    model = Parallel(network()[0], Workers(2)).skip_input_grad()
    assert copy.deepcopy(model).input_grad is False


@pytest.mark.parametrize("when", ["before", "after", "between"])
@pytest.mark.parametrize("whose", ["the head's", "all and others"])
def test_gradients_are_right_whatever_an_optimizer_packs_and_when(whose, when):
    def step(model, optimizer):
        rng = np.random.default_rng(1)
        next(layer.stream for _, layer in model.walk() if hasattr(layer, "stream")).seek(0, 0)
        logits = model.forward(rng.standard_normal((37, 12), np.float32), train=True)
        model.backward(softmax_cross_entropy(logits, rng.integers(0, 5, 37))[1])
        gradients = [parameter.grad.copy() for parameter in model.parameters()]
        if optimizer:
            optimizer.step(0.01)
        else:
            for parameter in model.parameters():
                parameter.zero_grad()
        return gradients

    def optimizer_of(inner):
        head, other = inner.layers["4"], Linear(3, 2, rng=np.random.default_rng(0))
        return SGD(head.parameters() if whose == "the head's" else [*inner.parameters(), *other.parameters()])

    (alone, _), (inner, _) = network(), network()
    expected = step(alone, optimizer_of(alone))
    optimizer = optimizer_of(inner) if when == "before" else None
    model = Parallel(inner, Workers(3))
    if when == "between":
        step(model, None)
    optimizer = optimizer or optimizer_of(inner)
    for ours, theirs in zip(step(model, optimizer), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
    for name, array in alone.state_dict().items():
        if "running" not in name:
            np.testing.assert_allclose(model.state_dict()[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_all_replicas_move_to_another_dtype():
    (alone, stream), (inner, other_stream) = network(), network()
    expected, _ = train(alone.to(dtype=np.float64), stream, dtype=np.float64)
    model = Parallel(inner, Workers(2)).skip_input_grad()
    assert model.to(dtype=np.float64) is model
    losses, _ = train(model, other_stream, dtype=np.float64)
    np.testing.assert_allclose(losses, expected, rtol=1e-12)
    assert model.input_grad is False


def test_its_replica_is_one_of_the_network():
    model = Parallel(network()[0], Workers(2))
    x = np.random.default_rng(1).standard_normal((5, 12), np.float32)
    np.testing.assert_allclose(model.replica().forward(x), model.forward(x), rtol=1e-5)
    with pytest.raises(ValueError, match="original's parameters"):
        SGD(model.replica().parameters())


@pytest.mark.parametrize("duplicate", [lambda model: model.replica(), freeze])
def test_a_parallel_goes_around_the_whole_network(duplicate):
    rng = np.random.default_rng(0)
    model = Sequential(Parallel(Linear(3, 3, rng=rng), Workers(2)), Linear(3, 2, rng=rng))
    with pytest.raises(ValueError, match="not around some of its layers"):
        duplicate(model)
