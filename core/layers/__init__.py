"""The layers, one topic a file."""

from core.layers.activation import GELU, SELU, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from core.layers.base import Layer
from core.layers.containers import Committee, Flatten, Residual, Sequential
from core.layers.conv import Conv2d, ConvPool, ConvReLUPool
from core.layers.dropout import Dropout
from core.layers.linear import Linear
from core.layers.mixed import MixedPrecision
from core.layers.norm import BatchNorm, LayerNorm, measure_statistics
from core.layers.parallel import Parallel
from core.layers.pool import AvgPool2d, GlobalAvgPool, MaxPool2d
from core.layers.recurrent import GRU, LSTM, RNN, EachStep, LastState, MeanState
from core.layers.sequences import Sequences

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "RNN",
    "SELU",
    "AvgPool2d",
    "BatchNorm",
    "Committee",
    "Conv2d",
    "ConvPool",
    "ConvReLUPool",
    "Dropout",
    "EachStep",
    "Flatten",
    "GlobalAvgPool",
    "LastState",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "MeanState",
    "MixedPrecision",
    "Parallel",
    "ReLU",
    "Residual",
    "Sequences",
    "Sequential",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "measure_statistics",
]
