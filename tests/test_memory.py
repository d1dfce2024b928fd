"""Where arrays lie, and that what is constant stays so."""

import threading

import numpy as np
import pytest

from core import memory
from core.initializers import he_uniform
from core.layers import GRU, Linear
from core.memory import LINE, aligned, bytes_on_a_line, constant, empty, is_constant, zeros
from core.params import Constant, Parameter, pack

LIKE = np.empty(0, np.float32)


def begins_well(array):
    return array.size == 0 or (array.__array_interface__["data"][0] % LINE == 0 and array.flags.c_contiguous)


@pytest.mark.parametrize("shape", [(), 5, (3, 4), (0, 7), (70_000,)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, bool])
@pytest.mark.parametrize("make", [empty, zeros])
def test_new_arrays_begin_where_a_cache_line_does(make, shape, dtype):
    arrays = [make(shape, dtype, LIKE) for _ in range(5)]
    for array in arrays:
        assert (array.shape, array.dtype) == (np.empty(shape, dtype).shape, dtype)
        assert begins_well(array)
        assert make is empty or not array.any()
    assert not any(np.shares_memory(arrays[0], other) for other in arrays[1:])
    assert len(bytes_on_a_line(100)) == 100


def test_an_array_is_copied_only_if_it_does_not_begin_well():
    array = zeros((4, 8), np.float32, LIKE)
    assert aligned(array) is array
    for bad in (array[:, 1:], array.reshape(-1)[1:], array.T):
        copy = aligned(bad)
        assert begins_well(copy)
        assert not np.shares_memory(copy, array)
        np.testing.assert_array_equal(copy, bad)


def test_parameters_and_their_buffers_begin_well():
    parameters = [Parameter(np.arange(size, dtype=np.float32)[1:]) for size in (100, 17)]
    for parameter in parameters:
        assert begins_well(parameter.data)
        assert begins_well(parameter.grad)
    flat = pack(parameters)
    assert begins_well(flat.data)
    assert begins_well(flat.grad)
    np.testing.assert_array_equal(flat.data, [*range(1, 100), *range(1, 17)])
    assert begins_well(Constant(np.ones(5)).data)


def test_nobody_can_write_to_a_constant():
    original = np.arange(6.0).reshape(2, 3)
    array = constant(original)
    original[:] = 0
    np.testing.assert_array_equal(array, [[0, 1, 2], [3, 4, 5]])
    assert is_constant(array)
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    for shown in (array, array[0], array.T):
        with pytest.raises(ValueError, match="WRITEABLE"):
            shown.setflags(write=True)


def test_what_others_can_write_to_is_no_constant():
    array = np.ones(3)
    shown = array[:]
    shown.setflags(write=False)
    assert not is_constant(array)
    assert not is_constant(shown)
    assert not is_constant(np.broadcast_to(array, (2, 3)))
    assert not is_constant(np.frombuffer(bytearray(8)))
    assert not is_constant([1.0])
    array.setflags(write=False)
    assert is_constant(array)


def test_constants_lie_side_by_side_and_never_on_each_other(monkeypatch):
    monkeypatch.setattr(memory, "SHELF", 4096)
    values = [np.full(size, size, np.float32) for size in (1, 15, 16, 17, 900, 1024, 1025, 5000, 0, 3)]
    arrays = [constant(value) for value in values]
    for array, value in zip(arrays, values, strict=True):
        assert begins_well(array)
        np.testing.assert_array_equal(array, value)
    places = [array.__array_interface__["data"][0] for array in arrays]
    assert places[1] - places[0] == LINE
    assert values[7].nbytes > memory.SHELF  # it has one of its own


def test_threads_get_places_of_their_own():
    arrays = {}

    def work(number):
        arrays[number] = [constant(np.full(100, number)) for _ in range(50)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, own in arrays.items():
        assert all((array == number).all() for array in own)


@pytest.fixture
def one_gigabyte(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    memory.MEMINFO.write_text("MemAvailable: 400000 kB\nSwapFree: 600000 kB\nHugePages_Total: 0\n")


@pytest.mark.parametrize(
    "build",
    [
        lambda rng: Linear(8_000, 8_000, rng=rng),
        lambda rng: Linear(8_000, 12_000, rng=rng, init=he_uniform),
        lambda rng: GRU(8_000, 8_000, rng=rng),
        lambda rng: empty((300_000_000,), np.float32, LIKE),
        lambda rng: zeros((300_000_000,), np.float32, LIKE),
    ],
)
def test_what_linux_would_promise_and_not_have_is_refused_before_it_is_made(build, one_gigabyte):
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state
    with pytest.raises(MemoryError, match=r"^\d\.\d GB are needed at once, and 1\.0 GB are free; "):
        build(rng)
    assert rng.bit_generator.state == before


def test_what_fits_is_made(one_gigabyte):
    assert empty((20_000_000,), np.float32, LIKE).shape == (20_000_000,)


@pytest.mark.parametrize("text", [None, "", "MemTotal: 8000000 kB\n", "MemAvailable: much\n"])
def test_where_nobody_says_what_there_is_nothing_is_refused(text, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    if text is not None:
        memory.MEMINFO.write_text(text)
    assert memory.available() is None
    memory.expect_room(1 << 60)
