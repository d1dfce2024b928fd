"""The hot operations on a GPU.

The compositions below are written for NumPy and CuPy alike, so CuPy runs the very code of `core.ops.cpu`.
"""

from core.ops.cpu.activation import *
from core.ops.cpu.dropout import *
from core.ops.cpu.norm import *
from core.ops.cpu.pool import *
from core.ops.cpu.recurrent import *
from core.ops.cpu.sequences import *
from core.ops.gpu.conv import *
from core.ops.gpu.linear import *
