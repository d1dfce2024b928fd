"""The hot operations on a GPU, by kernels of our own (`core/kernels`) and cuBLAS.

What still comes from `core.ops.cpu` is written for NumPy and CuPy alike, so CuPy runs that very code.
"""

from core.ops.cpu.pool import *
from core.ops.cpu.recurrent import *
from core.ops.cpu.sequences import *
from core.ops.gpu.activation import *
from core.ops.gpu.conv import *
from core.ops.gpu.dropout import *
from core.ops.gpu.linear import *
from core.ops.gpu.loss import *
from core.ops.gpu.mixed import *
from core.ops.gpu.norm import *
from core.ops.gpu.optim import *
