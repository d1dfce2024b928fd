"""Recurrent cells over whole sequences: the work that has to go step by step, every forward with its backward under it.

Each is called with the directions of a layer, one or two, and for each a tuple of the arguments that stand here: a GPU
walks both at once. A direction runs over M packed rows of B sequences, with H hidden units and K gates. Gates come
first in all arrays, so that one gate of one step is one contiguous block.

weight (K, H, H)  from the state to the gates; the backwards take `weight_t`, each matrix transposed.
state (B, H)      in: the first states, that of the longest sequence first; out: the last ones. `dstate`: its gradient.
y (M, H)          out: the states after every step. `dy`: its gradient, None for zeros.

A step touches only the first rows of the state, those of the sequences that are running: sequences that have not begun
(walking from the end) keep their first state, and those that have ended keep their last one.

A gate with a sigmoid arrives halved, its contributions and its weight, because sigmoid(a) = (1 + tanh(a / 2)) / 2. All
gradients are those of the whole gate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.backend import Array, array_module
from core.ops.cpu.blocks import number
from core.ops.cpu.gru_of_one_sequence import gru_of_one_sequence
from core.ops.cpu.products import product_for
from core.workspaces import Workspaces

__all__ = [
    "Unrolled",
    "gru_backward",
    "gru_forward",
    "lstm_backward",
    "lstm_forward",
    "rnn_backward",
    "rnn_forward",
]

Spans = Sequence[tuple[int, int]]


@dataclass
class Unrolled:
    """A cell unrolled in time: what its forward leaves to its backward.

    gates (K, M, H): in, what the inputs contribute to each gate, biases included. A training forward turns it into the
    derivatives by which the backward only has to multiply, and the backward into the gradient of what was there first.
    spans: (first row, number of rows) of each step, in the order of the walk. work (K + 1, B, H): scratch memory.
    cache: what a backward needs beside the gates; None in inference. workspace: for more memory, and to keep what is
    derived from constant weights.
    """

    gates: Array
    spans: Spans
    work: Array
    cache: Array | None
    workspace: Workspaces = field(default_factory=Workspaces)


def _for_each_direction(walk: Callable[..., None]) -> Callable[..., None]:
    def walk_all(*directions: tuple[Any, ...]) -> None:
        for arguments in directions:
            walk(*arguments)

    walk_all.__name__, walk_all.__doc__ = walk.__name__, walk.__doc__
    return walk_all


@_for_each_direction
def rnn_forward(cell: Unrolled, weight: Array, state: Array, y: Array) -> None:
    """h' = tanh(x + h W) (Elman 1990). cache (1, M, H): h before each step."""
    gates, work, cache = cell.gates, cell.work, cell.cache
    xp, multiply = array_module(gates), product_for(gates)
    for start, count in cell.spans:
        step = slice(start, start + count)
        h, a, product = state[:count], gates[0, step], work[0, :count]
        multiply(h, weight[0], product)
        if cache is not None:
            cache[0, step] = h
        a += product
        xp.tanh(a, out=h)
        y[step] = h
        if cache is not None:
            xp.multiply(h, h, out=a)
            xp.subtract(1, a, out=a)  # dh'/da = 1 - h'^2


@_for_each_direction
def rnn_backward(cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
    """da = dh' (1 - h'^2); dh = da W^T."""
    gates, multiply = cell.gates, product_for(cell.gates)
    for start, count in reversed(cell.spans):
        step = slice(start, start + count)
        dh, da = dstate[:count], gates[0, step]
        if dy is not None:
            dh += dy[step]
        da *= dh
        multiply(da, weight_t[0], dh)


def gru_forward(*directions: tuple[Unrolled, Array, Array, Array, Array]) -> None:
    """Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078, eqs. 5-8), with the reset behind the product as in cuDNN:

    r = sigmoid(x_r + h W_r)
    z = sigmoid(x_z + h W_z)
    n = tanh(x_n + r m)         with m = h W_n + bias
    h' = n + z (h - n)

    The fifth argument of a direction is the bias (B, H), the same row for every sequence. cache (3, M, H): h before
    each step, dr/da m, dz/da (h - n).
    """
    cell, _, state, *_ = directions[0]
    if cell.cache is None and len(state) == 1:
        gru_of_one_sequence(*zip(*directions, strict=True))
    else:
        for direction in directions:
            _gru_walk(*direction)


def _gru_walk(cell: Unrolled, weight: Array, state: Array, y: Array, bias: Array) -> None:
    """The walk of one direction, through all steps of any number of sequences."""
    gates, work, cache = cell.gates, cell.work, cell.cache
    xp, multiply, one = array_module(gates), product_for(gates), number(1, gates)
    running = -1
    for start, count in cell.spans:
        step = slice(start, start + count)
        if count != running:  # views take a good part of the time, where there are few sequences
            running, h, b, products = count, state[:count], bias[:count], work[:3, :count]
            rest, carried, m, both = products[0], products[1], products[2], products[:2]
        sums, n = gates[:2, step], gates[2, step]
        multiply(h, weight, products)
        sigmoids = both if cache is None else sums
        xp.add(sums, both, out=sigmoids)
        _sigmoid_of_double(sigmoids)
        r, z = (rest, carried) if cache is None else sums
        m += b
        m *= r
        n += m
        xp.tanh(n, out=n)
        xp.subtract(h, n, out=rest)
        xp.multiply(z, rest, out=carried)
        if cache is not None:
            cache[0, step] = h
        xp.add(n, carried, out=h)
        y[step] = h
        if cache is not None:
            xp.subtract(one, r, out=rest)
            xp.multiply(m, rest, out=cache[1, step])  # m r (1 - r)
            xp.subtract(one, z, out=rest)
            xp.multiply(carried, rest, out=cache[2, step])  # (h - n) z (1 - z)
            n *= n
            xp.subtract(one, n, out=n)
            n *= rest  # dh'/da_n = (1 - z)(1 - n^2)


@_for_each_direction
def gru_backward(cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
    """da_n = dh' (1 - z)(1 - n^2);  dm = da_n r;  da_r = da_n m r (1 - r);  da_z = dh' (h - n) z (1 - z)

    dh = dh' z + da_r W_r^T + da_z W_z^T + dm W_n^T. On return cache[2] holds dm.
    """
    gates, work, cache = cell.gates, cell.work, cell.cache
    assert cache is not None
    xp, multiply = array_module(gates), product_for(gates)
    for start, count in reversed(cell.spans):
        step = slice(start, start + count)
        dh, products, carried = dstate[:count], work[:3, :count], work[3, :count]
        r, z, slope_n, slope_r, slope_z = *gates[:, step], *cache[1:, step]
        if dy is not None:
            dh += dy[step]
        xp.multiply(dh, z, out=carried)
        xp.multiply(dh, slope_z, out=z)  # da_z
        slope_n *= dh  # da_n
        dm = slope_z
        xp.multiply(slope_n, r, out=dm)
        xp.multiply(slope_n, slope_r, out=r)  # da_r
        multiply(gates[:2, step], weight_t[:2], products[:2])
        multiply(dm, weight_t[2], products[2])
        xp.add(carried, products[0], out=dh)
        dh += products[1]
        dh += products[2]


@_for_each_direction
def lstm_forward(cell: Unrolled, weight: Array, state: Array, y: Array, memory: Array) -> None:
    """Long short-term memory (Hochreiter and Schmidhuber 1997; Gers et al. 2000 for the forget gate):

    i, f, o = sigmoid(x + h W), each with its own x and W
    g = tanh(x_g + h W_g)
    c' = f c + i g
    h' = o tanh(c')

    Gates in the order i, f, g, o. memory (B, H): c, in and out like the state. cache (3, M, H): h before each step, f,
    dh'/dc'.
    """
    gates, work, cache = cell.gates, cell.work, cell.cache
    xp, multiply = array_module(gates), product_for(gates)
    for start, count in cell.spans:
        step = slice(start, start + count)
        h, c, a, products = state[:count], memory[:count], gates[:, step], work[:4, :count]
        i, f, g, o = a
        multiply(h, weight, products)
        if cache is not None:
            cache[0, step] = h
        a += products
        _sigmoid_of_double(a[:2])
        xp.tanh(g, out=g)
        _sigmoid_of_double(o)
        written, kept, t = products[0], products[1], products[2]
        xp.multiply(i, g, out=written)
        xp.multiply(f, c, out=kept)
        xp.add(kept, written, out=c)
        xp.tanh(c, out=t)
        xp.multiply(o, t, out=h)
        y[step] = h
        if cache is not None:
            t *= h
            xp.subtract(o, t, out=cache[2, step])  # dh'/dc' = o (1 - tanh^2 c')
            xp.subtract(1, o, out=o)
            o *= h  # dh'/da_o = tanh(c') o (1 - o)
            cache[1, step] = f
            xp.subtract(1, f, out=f)
            f *= kept  # dc'/da_f = c f (1 - f)
            g *= g
            xp.subtract(1, g, out=g)
            g *= i  # dc'/da_g = i (1 - g^2)
            xp.subtract(1, i, out=i)
            i *= written  # dc'/da_i = g i (1 - i)


@_for_each_direction
def lstm_backward(cell: Unrolled, weight_t: Array, dstate: Array, dy: Array | None) -> None:
    """da_o = dh' tanh(c') o (1 - o);  dc' += dh' o (1 - tanh^2 c');  da_i, da_f, da_g = dc' times their slopes

    dc = dc' f;  dh = sum of da W^T over the gates.
    """
    gates, work, cache = cell.gates, cell.work, cell.cache
    assert cache is not None
    xp, multiply = array_module(gates), product_for(gates)
    dmemory = work[4]
    dmemory[...] = 0
    for start, count in reversed(cell.spans):
        step = slice(start, start + count)
        dh, dc, products = dstate[:count], dmemory[:count], work[:4, :count]
        i, f, g, o = gates[:, step]
        if dy is not None:
            dh += dy[step]
        o *= dh
        dh *= cache[2, step]
        dc += dh
        i *= dc
        f *= dc
        g *= dc
        dc *= cache[1, step]
        multiply(gates[:, step], weight_t, products)
        xp.add(products[0], products[1], out=dh)
        dh += products[2]
        dh += products[3]


def _sigmoid_of_double(a: Array) -> None:
    """a = sigmoid(2 a), in place."""
    half = number(0.5, a)
    array_module(a).tanh(a, out=a)
    a *= half
    a += half
