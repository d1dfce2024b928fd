"""Calls that have been written down lead to the answers of the network, whatever the input; what cannot be written
down goes the usual way."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from to_freeze import (
    BUILDERS,
    convolutional,
    distance,
    images,
    perceptron,
    replay_of,
    replayed,
    residual,
    trained,
)

from core.frozen import freeze
from core.frozen.one_row import OneRowAtOnce
from core.frozen.replay import (
    MOST_ROWS,
    SHAPES,
    WORTH_WRITING_DOWN,
    Replay,
    write_down,
)
from core.frozen.written import Notes, WrittenWorkspaces
from core.layers import (
    GELU,
    GRU,
    Conv2d,
    LastState,
    LeakyReLU,
    Linear,
    Parallel,
    ReLU,
    Sequential,
)
from core.layers.sequences import Sequences
from core.ops.cpu import winograd
from core.params import Constant
from core.workers import Workers
from core.workspaces import Workspaces

TOLERANCE = {np.float64: 1e-12, np.float32: 2e-5}


def fails(*_: object) -> None:
    raise AssertionError("went the usual way")


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("rows", [1, 5, 40])
@pytest.mark.parametrize("build", BUILDERS)
def test_all_kinds_of_networks_answer_without_their_layers(build, rows, dtype, monkeypatch):
    network, x = trained(build, dtype), images(rows, dtype)
    replay = replayed(network, np.zeros_like(x))
    others = [x, 2 - x, np.zeros_like(x)]
    expected = [network.forward(other).copy() for other in others]
    monkeypatch.setattr(replay, "network", None)
    for other, answer in zip(others, expected, strict=True):
        assert distance(replay.forward(other), answer) < TOLERANCE[dtype]


@pytest.mark.parametrize("seed", range(12))
def test_the_calls_of_one_sequence_are_complete_even_if_two_answers_agree(seed):
    """Behind a few ReLUs many answers are alike, so that a list without the walk could pass for right."""
    rng = np.random.default_rng(seed)
    layers = GRU(3, 4, rng=rng), LastState(), Linear(4, 2, rng=rng), ReLU(), Linear(2, 2, rng=rng)
    network = Sequential(*layers).to(dtype=np.float64)
    frozen = freeze(network)
    for _ in range(WORTH_WRITING_DOWN + 4):
        x = rng.standard_normal((1, 5, 3))
        np.testing.assert_allclose(frozen.forward(x), network.forward(x), atol=1e-12)
    assert frozen._calls


def test_a_shape_has_to_come_often_enough(monkeypatch):
    replay, written = replay_of(trained(residual)), []
    monkeypatch.setattr("core.frozen.replay.write_down", lambda _, x: written.append(x.shape) or write_down(_, x))
    for rows in [1, 2] * (WORTH_WRITING_DOWN - 1):
        replay.forward(images(rows))
    assert not written
    for rows in [1] * 5 + [2] * 5:
        replay.forward(images(rows))
    assert written == [(1, 4, 4, 3), (2, 4, 4, 3)]


def test_few_shapes_are_kept_and_of_many_rows_only_one():
    replay = replay_of(trained(residual))

    def kept_after(rows):
        for _ in range(WORTH_WRITING_DOWN):
            replay.forward(images(rows))
        return sorted(shape[0] for shape in replay._calls)

    assert SHAPES == 4
    kept = [kept_after(rows) for rows in (1, 2, 40, 41, 3, 4)]
    assert kept == [[1], [1, 2], [1, 2, 40], [1, 2, 41], [1, 2, 3, 41], [4]]


@pytest.mark.parametrize("change", ["moved", "parameter", "data"])
def test_new_weights_are_noticed(change):
    x = images(1)
    replay = replayed(trained(convolutional), x)
    first = next(layer for _, layer in replay.walk() if isinstance(layer, Conv2d))
    before, nothing = replay.forward(x).copy(), np.zeros_like(first.weight.data)
    if change == "moved":
        replay.to(dtype=np.float32)
        x = x.astype(np.float32)
    elif change == "parameter":
        first.weight = Constant(nothing)
    else:
        nothing.setflags(write=False)
        first.weight.data = nothing
    answers = [replay.forward(x).copy() for _ in range(WORTH_WRITING_DOWN + 1)]
    for answer in answers:
        assert (distance(answer, before.astype(x.dtype)) < 1e-5) == (change == "moved")
        assert distance(answer, answers[0]) < 1e-5
    assert answers[0].dtype == x.dtype


def test_everything_else_goes_the_usual_way(monkeypatch):
    network, x = trained(residual), images(1)
    replay = replayed(network, x)
    monkeypatch.setattr("core.frozen.replay.Calls.answer", fails)
    with pytest.raises(AssertionError):
        replay.forward(x)
    assert distance(replay.forward(x, train=True), network.forward(x)) < 1e-12
    dx = replay.backward(np.ones((1, 5)))
    assert dx.shape == x.shape
    for _ in range(WORTH_WRITING_DOWN + 1):
        many = images(MOST_ROWS + 1)
        assert distance(replay.forward(many), network.forward(many)) < 1e-12
    rng = np.random.default_rng(0)
    reader = Sequential(GRU(3, 4, rng=rng), LastState(), Linear(4, 2, rng=rng))
    frozen = freeze(reader)
    sequences = Sequences.pack_padded(rng.standard_normal((2, 6, 3)).astype(np.float32))
    for _ in range(WORTH_WRITING_DOWN + 1):
        assert distance(frozen.forward(sequences), reader.forward(sequences)) < 2e-5


def test_what_takes_much_memory_is_not_written_down(monkeypatch):
    network, x = trained(residual), images(40)
    frozen = freeze(network).network
    assert write_down(frozen, x) is not None
    assert write_down(frozen, x, 1000) is None  # a thousand such parts would take too much together
    monkeypatch.setattr("core.frozen.replay.MOST_MEMORY", 50_000)
    assert write_down(frozen, x) is None
    assert write_down(frozen, x[:1]) is not None
    replay = replayed(network, x)
    assert distance(replay.forward(x), network.forward(x)) < 1e-12


def test_memory_is_lent_again_as_soon_as_nobody_can_reach_it():
    def share(one, other):
        return np.shares_memory(np.asarray(one), np.asarray(other))

    notes = Notes(1 << 20)
    memory = WrittenWorkspaces(notes, Workspaces())
    like = np.empty(0, np.float32)
    first, second = memory("a", (10, 10), like), memory("a", (10, 10), like)
    assert not share(first, second)
    block = np.asarray(first)
    for look in (lambda a: a[2:], lambda a: a.T, lambda a: a.reshape(-1), lambda a: a.ravel(), lambda a: a.data):
        kept = look(first)
        del first
        assert not share(memory("b", (100,), like), block)
        del kept
        first = memory("b", (100,), like).reshape(10, 10)
        assert share(first, block)
    del first
    assert not share(memory("a", (3,), like), block)  # would be a waste
    assert memory("a", (40,), like, dtype=np.float64).dtype == np.float64
    one, other = memory.scratch("s", (3, 4), like), memory.another().scratch("s", (2, 2), like)
    assert share(one, other)
    assert not share(one, memory.scratch("t", (2, 2), like))
    assert memory.scratch("s", (50,), like).shape == (50,)


def test_layers_of_a_replay_share_memory():
    """A chain of layers needs two results at once: what one reads and what it writes."""
    network = Sequential(*(LeakyReLU() for _ in range(20)))
    x = images(40)
    replay = replayed(network, x)
    expected = network.forward(x).copy()
    np.testing.assert_array_equal(replay.forward(x), expected)
    (calls,) = replay._calls.values()
    owners = {id(call.args[1].base) for call in calls._calls if call.func is np.maximum}
    assert len(owners) == 2


@pytest.mark.parametrize("build", [convolutional, residual])
def test_a_replay_leaves_nothing_behind(build, monkeypatch):
    made = []

    class Watched(Notes):
        def __init__(self, *memory):
            super().__init__(*memory)
            made.append(weakref.ref(self))

    monkeypatch.setattr("core.frozen.replay.Notes", Watched)
    replay = replayed(trained(build), images(2))
    assert replay._calls
    assert made
    del replay
    gc.collect()
    assert all(notes() is None for notes in made)


def test_what_is_derived_from_constants_is_there_once(monkeypatch):
    made = []
    transform = winograd._transform_kernel
    monkeypatch.setattr(winograd, "_transform_kernel", lambda *args: made.append(args) or transform(*args))
    monkeypatch.setattr(winograd, "FEWEST_TILES_OF_CONSTANTS", 1)
    replay = replayed(Conv2d(8, 9, 3, padding=1, rng=np.random.default_rng(0)), np.ones((1, 8, 8, 8), np.float32))
    assert len(replay._calls) == 1
    assert len(made) == 1


def test_gelu_can_be_written_down():
    layer, x = GELU(), images(3)
    replay = replayed(layer, x)
    assert replay._calls
    for other in (x, -x, np.abs(x)):
        np.testing.assert_allclose(replay.forward(other), layer.forward(other), rtol=1e-12)


def test_no_rows_at_all():
    network = trained(residual)
    replay = replay_of(network)
    for _ in range(WORTH_WRITING_DOWN + 2):
        assert replay.forward(np.zeros((0, 4, 4, 3))).shape == (0, 5)


def test_an_earlier_answer_may_be_the_input():
    """Though it lies in memory that the next answer overwrites, and that is used while calls are written down."""
    rng = np.random.default_rng(0)
    network = Sequential(Conv2d(3, 3, 3, padding=1, rng=rng), LeakyReLU())
    replay = replay_of(network)
    for _ in range(WORTH_WRITING_DOWN + 2):
        x = replay.forward(images(2).astype(np.float32))
        expected = network.forward(x.copy())
        assert distance(replay.forward(x), expected) < 2e-5


def test_errors_of_the_network_are_its_own():
    replay = replay_of(trained(residual))
    for _ in range(WORTH_WRITING_DOWN + 1):
        with pytest.raises(ValueError, match=r"expected \(N, H, W, 3\)"):
            replay.forward(np.zeros((1, 4, 4, 5)))


def test_copies_begin_with_nothing_and_workers_have_their_own():
    network, x = trained(residual), images(40)
    parallel = Parallel(replayed(network, x[:20]), Workers(2))
    for _ in range(WORTH_WRITING_DOWN + 2):
        assert distance(parallel.forward(x), network.forward(x)) < 1e-12
    one, other = (replica._calls for replica in parallel.replicas)
    assert list(one) == list(other) == [(20, 4, 4, 3)]  # though the second one is a copy of one that had written them
    assert one is not other
    assert freeze(parallel)._calls is None
    assert isinstance(freeze(parallel), Replay)
    assert not isinstance(freeze(parallel).network, Replay)


def test_a_network_as_a_list_of_calls():
    calls = write_down(freeze(trained(convolutional, np.float32)).network, images(1, np.float32))
    assert len(calls) < 25
    functions = {call.func for call in calls._calls}
    assert functions == {np.copyto, np.matmul, np.maximum, np.add, np.ndarray.dot, np.ndarray.__setitem__}
    assert isinstance(freeze(trained(perceptron)), OneRowAtOnce)  # whose way is shorter still
