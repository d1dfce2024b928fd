"""A batch split among workers gives what one worker gives, whatever couples or tells apart its samples."""

import copy
import pickle

import numpy as np
import pytest

from core.layers import (
    GRU,
    BatchNorm,
    Committee,
    Dropout,
    LastState,
    Layer,
    Linear,
    Parallel,
    ReLU,
    Sequences,
    Sequential,
)
from core.losses import softmax_cross_entropy
from core.optim import SGD, Adam
from core.params import pack
from core.predict import predict
from core.random import Stream
from core.workers import Workers


def network(seed=0):
    rng, stream = np.random.default_rng(seed), Stream(seed)
    return Sequential(
        Linear(12, 16, rng=rng, bias=False),  # a bias before BatchNorm has a gradient of pure rounding noise
        BatchNorm(16),
        ReLU(),
        Dropout(0.3, stream=stream),
        Linear(16, 5, rng=rng),
    ), stream


def train(model, stream, steps=10, rows=37, dtype=np.float32):
    rng = np.random.default_rng(1)
    optimizer = Adam(model.parameters())
    losses = []
    for step in range(steps):
        stream.seek(0, step)
        x, labels = rng.standard_normal((rows, 12), dtype), rng.integers(0, 5, rows)
        loss, dlogits = softmax_cross_entropy(model.forward(x, train=True), labels)
        model.backward(dlogits)
        optimizer.step(0.01)
        losses.append(float(loss))
    return losses, model.state_dict()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_result_does_not_depend_on_the_number_of_workers(count):
    alone, stream = network()
    expected_losses, expected = train(alone.to(dtype=np.float64), stream, dtype=np.float64)
    inner, stream = network()
    losses, state = train(Parallel(inner.to(dtype=np.float64), Workers(count)), stream, dtype=np.float64)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-12)
    assert state.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(state[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_the_same_number_of_workers_gives_the_same_bits():
    runs = []
    for _ in range(2):
        inner, stream = network()
        runs.append(train(Parallel(inner, Workers(2)), stream))
    assert runs[0][0] == runs[1][0]
    for name, array in runs[0][1].items():
        np.testing.assert_array_equal(array, runs[1][1][name])


def test_the_input_gradient_is_put_together():
    inner, _ = network()
    alone, _ = network()
    rng = np.random.default_rng(2)
    x, dy = rng.standard_normal((9, 12), np.float32), rng.standard_normal((9, 5), np.float32)
    parallel = Parallel(inner, Workers(2))
    np.testing.assert_allclose(parallel.forward(x, train=True), alone.forward(x, train=True), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(parallel.backward(dy), alone.backward(dy), rtol=1e-4, atol=1e-5)
    assert parallel.skip_input_grad() is parallel
    parallel.forward(x, train=True)
    assert parallel.backward(dy) is None


@pytest.mark.parametrize("rows", [1, 2, 9])
@pytest.mark.parametrize("apart", [True, False])
def test_a_committee_answers_member_by_member(rows, apart):
    def committee():
        rng = np.random.default_rng(0)
        members = Committee(*(Sequential(Linear(12, 6, rng=rng), ReLU(), Linear(6, 5, rng=rng)) for _ in range(3)))
        members.apart = apart
        return members

    alone, parallel = committee(), Parallel(committee(), Workers(3))
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((rows, 12), np.float32), rng.standard_normal((3**apart * rows, 5), np.float32)
    np.testing.assert_allclose(parallel.forward(x, train=True), alone.forward(x, train=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parallel.backward(dy), alone.backward(dy), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(parallel.parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(parallel.forward(x), alone.forward(x), rtol=1e-5, atol=1e-6)


def test_training_on_no_rows_at_all():
    model = Parallel(Sequential(Linear(12, 5, rng=np.random.default_rng(0))), Workers(2))
    assert model.forward(np.zeros((0, 12), np.float32), train=True).shape == (0, 5)
    assert model.backward(np.zeros((0, 5), np.float32)).shape == (0, 12)


@pytest.mark.parametrize("rows", [0, 1, 2, 31, 32, 200])
def test_inference_of_any_number_of_rows(rows):
    inner, _ = network()
    alone, _ = network()
    x = np.random.default_rng(3).standard_normal((rows, 12), np.float32)
    np.testing.assert_allclose(Parallel(inner, Workers(3)).forward(x), alone.forward(x), rtol=1e-5, atol=1e-6)


def test_gradients_of_several_batches_add_up():
    inner, _ = network()
    parallel = Parallel(inner, Workers(2))
    rng = np.random.default_rng(4)
    x, dy = rng.standard_normal((8, 12), np.float32), rng.standard_normal((8, 5), np.float32)
    parallel.forward(x, train=True)
    parallel.backward(dy)
    once = pack(parallel.parameters()).grad.copy()
    parallel.forward(x, train=True)
    parallel.backward(dy)
    np.testing.assert_allclose(pack(parallel.parameters()).grad, 2 * once, rtol=1e-5, atol=1e-6)


def test_the_weights_stay_views_of_the_flat_buffer_and_are_shared():
    inner, stream = network()
    parallel = Parallel(inner, Workers(2))
    train(parallel, stream)
    for replica in parallel.replicas:
        for parameter in replica.parameters():
            assert np.shares_memory(parameter.data, pack(parallel.parameters()).data)
        assert replica.layers["1"].running_mean is inner.layers["1"].running_mean


def test_an_error_in_one_worker_reaches_the_caller_and_the_next_call_works():
    class Fails(Layer):
        fail = False

        def forward(self, x, train=False):
            if Fails.fail and x[0, 0] > 0:
                raise ValueError("this shard cannot be computed")
            return x

    inner = Sequential(Linear(2, 2, rng=np.random.default_rng(0)), BatchNorm(2))
    inner.layers["0"].weight.data[...] = np.eye(2)
    model = Parallel(Sequential(Fails(), inner), Workers(2))
    x = np.array([[-1.0, 0], [-1, 1], [1, 2], [1, 3]], np.float32)
    expected = model.forward(x, train=True).copy()
    Fails.fail = True
    with pytest.raises(ValueError, match="this shard"):
        model.forward(x, train=True)
    Fails.fail = False
    np.testing.assert_array_equal(model.forward(x, train=True), expected)


def test_predict_returns_a_copy_of_the_callers_own():
    inner, _ = network()
    model = Parallel(inner, Workers(2))
    rng = np.random.default_rng(5)
    x = rng.standard_normal((70, 12), np.float32)
    first = predict(model, x, batch_size=32)
    kept = first.copy()
    predict(model, x[::-1], batch_size=32)
    np.testing.assert_array_equal(first, kept)
    assert first.shape == (70, 5)
    assert predict(model, x[:0]).shape == (0, 5)


def test_a_network_can_be_wrapped_again():
    network = Sequential(Linear(3, 4, rng=np.random.default_rng(0)), BatchNorm(4))
    x = np.random.default_rng(1).standard_normal((8, 3), dtype=np.float32)
    first = Parallel(network, Workers(2)).forward(x, train=True).copy()
    np.testing.assert_allclose(Parallel(network, Workers(2)).forward(x, train=True), first, atol=1e-6)


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


def recurrent():
    rng = np.random.default_rng(0)
    return Sequential(GRU(12, 4, rng=rng), LastState(), Linear(4, 5, rng=rng))


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_padded_sequences_are_shared_also_where_there_are_fewer_than_workers(rows):
    alone, model = recurrent(), Parallel(recurrent(), Workers(3))
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((rows, 6, 12), np.float32), rng.standard_normal((rows, 5), np.float32)
    np.testing.assert_allclose(model.forward(x, train=True), alone.forward(x, train=True), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.backward(dy), alone.backward(dy), rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(model.parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lengths", [[5, 2, 6, 1, 3], [4]])
def test_packed_sequences_are_shared_where_nobody_wants_their_gradient(lengths):
    rng = np.random.default_rng(1)
    x = rng.standard_normal((len(lengths), 6, 12), np.float32)
    sequences, dy = Sequences.pack_padded(x, lengths), rng.standard_normal((len(lengths), 5), np.float32)
    alone, model = recurrent(), Parallel(recurrent(), Workers(2)).skip_input_grad()
    np.testing.assert_allclose(
        model.forward(sequences, train=True), alone.forward(sequences, train=True), rtol=1e-4, atol=1e-6
    )
    alone.backward(dy)
    assert model.backward(dy) is None
    for ours, theirs in zip(model.parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)


def test_the_gradient_of_packed_sequences_is_refused():
    model = Parallel(recurrent(), Workers(2))
    x = Sequences.pack_padded(np.ones((4, 6, 12), np.float32), [5, 2, 6, 1])
    dy = model.forward(x, train=True).copy()
    with pytest.raises(TypeError, match="skip_input_grad"):
        model.backward(dy)
