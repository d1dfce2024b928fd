"""The layers, one topic a file."""

from core.layers.activation import GELU, SELU, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from core.layers.base import Layer
from core.layers.containers import Flatten, Residual, Sequential
from core.layers.dropout import Dropout
from core.layers.linear import Linear
from core.layers.norm import BatchNorm, LayerNorm
from core.layers.parallel import Parallel

__all__ = [
    "GELU",
    "SELU",
    "BatchNorm",
    "Dropout",
    "Flatten",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "Parallel",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Softplus",
    "Tanh",
]
