"""A batch split among workers gives what one worker gives, whatever couples or tells apart its samples."""

import numpy as np
import pytest
from to_share import network, train

from core.layers import (
    GRU,
    BatchNorm,
    Committee,
    Dropout,
    EachStep,
    LastState,
    Layer,
    Linear,
    Parallel,
    ReLU,
    Sequences,
    Sequential,
)
from core.params import pack
from core.predict import predict
from core.random import Stream
from core.workers import Workers


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


class EachStepApart(Layer):
    """(N, T, D) -> (N * T, D)."""

    def forward(self, x, train=False):
        self.remember(train, x.shape)
        return x.reshape(-1, x.shape[-1])

    def backward(self, dy):
        return dy.reshape(self.recall())


@pytest.mark.parametrize("rows", [0, 1, 5, 200])
def test_several_answers_to_a_row_stay_together(rows):
    def steps():
        return Sequential(EachStepApart(), Linear(3, 2, rng=np.random.default_rng(0)))

    alone, parallel = steps(), Parallel(steps(), Workers(3))
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal((rows, 4, 3), np.float32), rng.standard_normal((4 * rows, 2), np.float32)
    np.testing.assert_allclose(parallel.forward(x), alone.forward(x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parallel.forward(x, train=True), alone.forward(x, train=True), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(parallel.backward(dy), alone.backward(dy), rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(parallel.parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)


def test_workers_drop_different_things_where_rows_are_no_samples():
    """16 samples of 4 steps each: the second worker's steps do not begin with those of the first one's fourth."""
    network = Sequential(EachStepApart(), Dropout(0.5, stream=Stream(0)))
    y = Parallel(network, Workers(2)).forward(np.ones((16, 4, 30), np.float32), train=True)
    assert len({row.tobytes() for row in y}) == 64


@pytest.mark.parametrize("several", [EachStepApart, lambda: Committee(ReLU(), ReLU())])
def test_several_answers_to_a_row_are_none_of_a_committee(several):
    committee = Committee(ReLU(), Sequential(several()))
    twice = Committee(Sequential(several()), Sequential(several()))
    x = np.ones((5, 4, 3), np.float32)
    for refused in (committee, twice):
        with pytest.raises(ValueError, match=r"Committee expected one answer to each of 5 rows, got (10|20)"):
            refused.forward(x, train=True)


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


def test_the_network_inside_can_still_be_trained_by_itself():
    inner, alone = (Sequential(Linear(3, 4, rng=np.random.default_rng(0)), BatchNorm(4)) for _ in range(2))
    Parallel(inner, Workers(2))
    x = np.random.default_rng(1).standard_normal((8, 3), dtype=np.float32)
    y = alone.forward(x, train=True)
    np.testing.assert_array_equal(inner.forward(x, train=True), y)
    np.testing.assert_array_equal(inner.backward(y), alone.backward(y))


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


def tagger():
    rng = np.random.default_rng(0)
    return Sequential(GRU(12, 4, rng=rng, bidirectional=True), EachStep(Linear(8, 5, rng=rng)))


@pytest.mark.parametrize("lengths", [[5, 2, 6, 1, 3], [4]])
def test_sequences_and_their_gradients_are_put_together(lengths):
    rng = np.random.default_rng(1)
    x = Sequences.pack(rng.standard_normal((sum(lengths), 12), np.float32), lengths)
    drows = rng.standard_normal((sum(lengths), 5), np.float32)
    alone, model = tagger(), Parallel(tagger(), Workers(2))
    expected, y = (one.forward(x, train=True) for one in (alone, model))
    np.testing.assert_allclose(y.rows, expected.rows, rtol=1e-4, atol=1e-6)
    expected_dx, dx = (one.backward(Sequences(drows, x.layout)) for one in (alone, model))
    np.testing.assert_allclose(dx.rows, expected_dx.rows, rtol=1e-4, atol=1e-6)
    for ours, theirs in zip(model.parameters(), alone.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad, rtol=1e-4, atol=1e-5)
    padded = x.to_padded()
    model.forward(padded, train=True)
    assert model.backward(Sequences.pack_padded(np.ones((*padded.shape[:2], 5), np.float32))).shape == padded.shape


@pytest.mark.parametrize("lengths", [[5, 2, 6, 1, 3], [4]])
def test_the_gradient_of_the_last_states_alone_is_put_together(lengths):
    """As `LastState` behind a Parallel hands it back: sequences without rows."""
    rng = np.random.default_rng(1)
    x = Sequences.pack(rng.standard_normal((sum(lengths), 12), np.float32), lengths)
    dy = rng.standard_normal((len(lengths), 8), np.float32)
    layers = [GRU(12, 4, rng=np.random.default_rng(0), bidirectional=True) for _ in range(2)]
    alone, model = Sequential(layers[0], LastState()), Sequential(Parallel(layers[1], Workers(2)), LastState())
    for one in (alone, model):
        one.forward(x, train=True)
    expected, dx = alone.backward(dy), model.backward(dy)
    np.testing.assert_allclose(dx.rows, expected.rows, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("lengths", [[5, 2, 6, 1, 3], [4]])
def test_the_gradient_of_packed_sequences_reaches_them(lengths):
    rng = np.random.default_rng(1)
    x = Sequences.pack(rng.standard_normal((sum(lengths), 12), np.float32), lengths)
    dy = rng.standard_normal((len(lengths), 5), np.float32)
    alone, model = recurrent(), Parallel(recurrent(), Workers(2))
    alone.forward(x, train=True)
    model.forward(x, train=True)
    expected, dx = alone.backward(dy), model.backward(dy)
    np.testing.assert_array_equal(dx.lengths, lengths)
    np.testing.assert_allclose(dx.rows, expected.rows, rtol=1e-4, atol=1e-6)
