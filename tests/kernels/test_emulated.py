"""The emulated GPU refuses what CuPy refuses, and notices when the host waits."""

from __future__ import annotations

import numpy as np
import pytest

from core import backend, ops
from core.kernels.emulated import EmulatedArray, WaitsForTheGPU, emulated_gpu


def test_outside_of_it_nothing_changes():
    before = backend.why_no_gpu()
    with emulated_gpu():
        assert backend.why_no_gpu() == ""
        assert backend.array_module(np.ones(2)) is np
    assert backend.why_no_gpu() == before
    assert isinstance(backend.array_module(np.ones(2)), type(np))
    assert ops.of(np.ones(2)) is ops.cpu


def test_arrays_go_there_and_come_back():
    x = np.arange(6.0).reshape(2, 3)
    with emulated_gpu() as gpu:
        there = backend.to_device(x, "gpu")
        assert backend.device_of(there) == "gpu"
        assert backend.array_module(there) is gpu
        assert backend.select_device("auto") == "gpu"
        assert ops.of(there).__name__ == "core.ops.gpu"
        there += 1
        assert x[0, 0] == 0
        assert isinstance(there.sum(), EmulatedArray)
        assert isinstance(gpu.zeros(3), EmulatedArray)
        assert isinstance(there[0], EmulatedArray)
        assert isinstance(there @ there.T, EmulatedArray)
        assert isinstance(gpu.concatenate([there, there]), EmulatedArray)
        back = backend.to_cpu(there)
        assert type(back) is np.ndarray
        assert (gpu.uploads, gpu.waits) == (1, 1)
    np.testing.assert_array_equal(back, x + 1)


@pytest.mark.parametrize(
    "mix",
    [
        lambda gpu, there, here: there + here,
        lambda gpu, there, here: gpu.matmul(there, here),
        lambda gpu, there, here: gpu.concatenate([there, here]),
        lambda gpu, there, here: there.__setitem__(0, here),
        lambda gpu, there, here: there[np.array([0, 1])],
        lambda gpu, there, here: here.__iadd__(there),
    ],
)
def test_arrays_of_both_sides_do_not_mix(mix):
    with emulated_gpu() as gpu, pytest.raises(TypeError, match="CPU meets one of the GPU"):
        mix(gpu, gpu.ones(3), np.ones(3))


@pytest.mark.parametrize("look", [float, int, bool, lambda x: x.item(), lambda x: x.get(), lambda x: x.tolist()])
def test_looking_at_a_number_waits(look):
    with emulated_gpu() as gpu:
        x = gpu.ones(3).sum()
        look(x)
        assert gpu.waits == 1
        with gpu.forbid_waiting(), pytest.raises(WaitsForTheGPU, match="makes the host wait"):
            look(x)


def test_a_mask_as_an_index_waits():
    with emulated_gpu() as gpu:
        x = gpu.ones(3)
        with gpu.forbid_waiting(), pytest.raises(WaitsForTheGPU, match="a mask"):
            x[x > 0]
