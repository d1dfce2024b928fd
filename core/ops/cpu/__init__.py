"""The hot operations in NumPy."""

from core.ops.cpu.activation import *
from core.ops.cpu.augment import *
from core.ops.cpu.conv import *
from core.ops.cpu.conv_block import *
from core.ops.cpu.dropout import *
from core.ops.cpu.linear import *
from core.ops.cpu.loss import *
from core.ops.cpu.matmul import *
from core.ops.cpu.mixed import *
from core.ops.cpu.muon import *
from core.ops.cpu.norm import *
from core.ops.cpu.optim import *
from core.ops.cpu.pool import *
from core.ops.cpu.recurrent import *
from core.ops.cpu.sequences import *
