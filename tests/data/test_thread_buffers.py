"""Buffers that are used again in every batch, but never by two threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from core.data.thread_buffers import ThreadBuffers


def test_an_array_of_the_same_name_is_the_same_memory():
    buffers = ThreadBuffers()
    large = buffers.array("grid", (4, 6))
    assert large.dtype == np.float32
    for again in (buffers.array("grid", (4, 6)), buffers.array("grid", (3, 5))):
        assert np.shares_memory(large, again)
        assert again.flags.c_contiguous
    assert not np.shares_memory(large, buffers.array("other", (4, 6)))
    assert not np.shares_memory(large, buffers.array("grid", (5, 6))), "it was too small"
    assert buffers.array("grid", (5, 6), np.int64).dtype == np.int64


def test_another_thread_gets_other_memory():
    buffers = ThreadBuffers()
    mine = buffers.array("grid", (4, 6))
    with ThreadPoolExecutor(1) as other:
        theirs = other.submit(buffers.array, "grid", (4, 6)).result()
    assert not np.shares_memory(mine, theirs)
    assert np.shares_memory(mine, buffers.array("grid", (4, 6)))
