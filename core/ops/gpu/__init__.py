"""The hot operations on a GPU, by kernels of our own (`core/kernels`) and, for products of matrices, cuBLAS.

`core/kernels/README.md` says what is proven of it, and how.
"""

from core.ops.gpu.activation import *
from core.ops.gpu.augment import *
from core.ops.gpu.conv import *
from core.ops.gpu.dropout import *
from core.ops.gpu.linear import *
from core.ops.gpu.loss import *
from core.ops.gpu.matmul import *
from core.ops.gpu.mixed import *
from core.ops.gpu.muon import *
from core.ops.gpu.norm import *
from core.ops.gpu.optim import *
from core.ops.gpu.pool import *
from core.ops.gpu.recurrent import *
from core.ops.gpu.sequences import *
