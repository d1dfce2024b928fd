"""Layers made of layers: what they are made of, and that they take sequences as well."""

from __future__ import annotations

import numpy as np
import pytest
from recurrent_nets import LENGTHS, Padded, build, padded

from core.gradcheck import TOLERANCE, gradcheck
from core.layers import (
    RNN,
    Committee,
    EachStep,
    LastState,
    Linear,
    MeanState,
    ReLU,
    Residual,
    Sequences,
    Sequential,
)


def linear(inputs, outputs):
    return Linear(inputs, outputs, rng=np.random.default_rng(0), dtype=np.float64)


@pytest.mark.parametrize(
    "network",
    [
        lambda shared: Sequential(linear(4, 4), shared, linear(4, 4), shared),
        lambda shared: Sequential(shared, Residual(Sequential(linear(4, 4), shared, linear(4, 4)))),
        lambda shared: Residual(Sequential(linear(4, 4), shared), shared),
        lambda shared: Committee(Sequential(linear(4, 4), shared), Sequential(linear(4, 4), shared)),
    ],
)
def test_a_layer_has_one_place(network):
    """At two it would overwrite its first output, which a Residual still needs: a wrong answer without a word."""
    with pytest.raises(ValueError, match=r"expected every layer at one place, got a ReLU at two"):
        network(ReLU())


def test_two_layers_may_share_a_parameter():
    first, second = linear(4, 4), linear(4, 4)
    second.weight = first.weight
    x = np.random.default_rng(1).standard_normal((5, 4))
    assert gradcheck(Sequential(first, second), x, np.random.default_rng(2)) < TOLERANCE


@pytest.mark.parametrize("lengths", LENGTHS.values(), ids=LENGTHS)
@pytest.mark.parametrize("behind", [LastState, MeanState, lambda: EachStep(linear(8, 3))])
def test_a_residual_layer_adds_up_sequences(lengths, behind):
    inner = build(RNN, inputs=8, num_layers=1)
    network = Sequential(build(RNN, num_layers=1), Residual(inner), behind())
    x = padded(lengths)
    assert gradcheck(Padded(network, lengths), x, np.random.default_rng(2)) < TOLERANCE
    states = network.layers["0"].forward(Sequences.pack_padded(x, lengths)).copy()
    expected = states.rows + inner.forward(states).rows
    y = network.layers["1"].forward(states)
    np.testing.assert_allclose(y.rows, expected, atol=1e-12)
    np.testing.assert_allclose(y.last, states.last + inner.forward(states).last, atol=1e-12)


def test_the_sum_of_sequences_has_last_states_only_where_both_have():
    x = Sequences.pack_padded(np.random.default_rng(0).standard_normal((3, 4, 8)), [4, 2, 1])
    y = Residual(build(RNN, inputs=8, num_layers=1)).forward(x)
    with pytest.raises(ValueError, match="LastState expected the result of a recurrent layer"):
        LastState().forward(y)


def test_a_residual_layer_refuses_an_array_beside_sequences():
    layer = Residual(build(RNN, inputs=8, num_layers=1))
    with pytest.raises(ValueError, match=r"Residual expected .* Sequences \(3, 4, 8\) and ndarray \(3, 4, 8\)"):
        layer.forward(np.zeros((3, 4, 8)))


@pytest.mark.parametrize("apart", [True, False])
def test_a_committee_reads_sequences(apart):
    lengths = LENGTHS["ragged"]
    committee = Committee(*(Sequential(build(RNN, seed=seed), LastState(), linear(8, 3)) for seed in range(3)))
    committee.apart = apart
    assert gradcheck(Padded(committee, lengths), padded(lengths), np.random.default_rng(2)) < TOLERANCE


def test_a_committee_whose_members_answer_each_step_is_refused():
    members = (Sequential(build(RNN), EachStep(linear(8, 3))) for _ in range(2))
    with pytest.raises(TypeError, match="Committee expected arrays as its members' answers, got Sequences"):
        Committee(*members).forward(padded([2, 2]))
