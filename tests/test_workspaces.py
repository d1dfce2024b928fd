"""Memory that is used again: never while somebody still looks at it."""

import copy
import threading

import numpy as np
import pytest

from core import workspaces
from core.layers import BatchNorm, Conv2d, LeakyReLU, Sequential
from core.memory import LINE
from core.workspaces import LARGE, MOST_SPARE, Block, Blocks, Workspaces

MANY = LARGE // 4  # floats that make a large array
LIKE = np.empty(0, np.float32)


@pytest.fixture(autouse=True)
def no_blocks_of_other_tests(monkeypatch):
    monkeypatch.setattr(workspaces, "_blocks", Blocks())


def address(array):
    return array.__array_interface__["data"][0]


def test_a_small_array_keeps_its_memory():
    workspace = Workspaces()
    first = workspace("a", (3, 4), LIKE)
    assert workspace("a", (3, 4), LIKE) is first
    assert np.shares_memory(workspace("a", (2, 2), LIKE), first)
    assert not np.shares_memory(workspace("b", (3, 4), LIKE), first)


@pytest.mark.parametrize("look", [lambda a: a, lambda a: a[1:], lambda a: a.T, lambda a: a.view(np.int32), memoryview])
def test_a_large_array_is_lent_again_when_the_last_view_of_it_is_gone(look):
    workspace = Workspaces()
    first = workspace("a", (MANY, 3), LIKE)
    place, view = address(first), look(first)
    del first
    second = workspace("a", (MANY, 3), LIKE)
    assert address(second) != place
    del view
    assert address(workspace("b", (3, MANY), LIKE)) == place


def test_large_arrays_have_the_type_and_shape_that_was_asked_for():
    array = Workspaces()("a", (MANY, 2), LIKE, dtype=np.uint16)
    assert (array.shape, array.dtype) == ((MANY, 2), np.uint16)
    assert array.flags.c_contiguous
    assert address(array) % LINE == 0


def test_the_smallest_block_that_fits_is_taken():
    blocks = Blocks()
    held = [blocks.take(size) for size in (1200, 1000, 1100)]
    places = [address(array) for array in held]
    del held
    assert address(blocks.take(1050)) == places[2]
    assert address(blocks.take(100)) not in places, "a block of ten times the size would be a waste"


def test_blocks_that_nobody_needs_any_more_are_given_up():
    blocks = Blocks()
    for size in range(1000, 1_000_000, 5000):  # each too large for all before
        blocks.take(size)
    assert sum(block.size for block in blocks._blocks) <= MOST_SPARE * size


def test_every_thread_has_its_own_blocks():
    places = []

    def work():
        places.append(address(Workspaces()("a", (MANY,), LIKE)))

    array = Workspaces()("a", (MANY,), LIKE)
    place = address(array)
    del array
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert places != [place]


def test_a_view_counts_as_a_reference():
    block = Block(100)
    before = block.references()
    view = block.view(10)
    assert block.references() == before + 1
    del view
    assert block.references() == before


def test_a_plan_is_made_once_and_a_few_are_kept():
    workspace = Workspaces()
    made = [workspace.plan(key, list) for key in ("x", "y", "x")]
    assert made[0] is made[2]
    assert made[0] is not made[1]
    for key in range(10):
        workspace.plan(key, list)
    assert workspace.plan("x", list) is not made[0]


def test_a_copied_layer_lays_out_its_own_work():
    rng = np.random.default_rng(0)
    layer = Conv2d(3, 4, 3, padding=1, rng=rng)
    layer.forward(rng.standard_normal((1, 8, 8, 3), np.float32))
    twin, x = copy.deepcopy(layer), rng.standard_normal((1, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(twin.forward(x), layer.forward(x))


def test_what_a_training_forward_leaves_behind_is_not_lent_to_the_next_batch():
    """Two networks take turns between forward and backward; each must find what it has left."""
    rng = np.random.default_rng(0)
    networks = [Sequential(Conv2d(3, 16, 3, padding=1, rng=rng), BatchNorm(16), LeakyReLU()) for _ in range(2)]
    x = rng.standard_normal((16, 32, 32, 3), np.float32)
    alone = []
    for network in networks:
        y = network.forward(x, train=True)
        alone.append((y.copy(), network.backward(np.cos(y)).copy()))
    outputs = [network.forward(x, train=True) for network in networks]
    for network, y, (expected_y, expected_dx) in zip(networks, outputs, alone, strict=True):
        np.testing.assert_array_equal(y, expected_y)
        np.testing.assert_array_equal(network.backward(np.cos(y)), expected_dx)
