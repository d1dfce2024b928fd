"""Raw CUDA kernels: `launch` runs one by its name. How to write, test and time one stands in README.md.

A project with kernels of its own makes its own `Kernels(folder)`.
"""

from core.kernels.launcher import Kernels
from core.kernels.signature import KernelError
from core.kernels.source import FOLDER

KERNELS = Kernels(FOLDER)
launch = KERNELS.launch

THREADS = 256  # of a block, unless a kernel has a reason for another number
MOST_BLOCKS = 4096  # of a grid that goes through the elements in strides; more would only wait for each other


def blocks_for(elements: int, each: int = THREADS) -> int:
    """How many blocks go through so many elements, of which a block takes `each` at a time."""
    return min(-(-elements // each), MOST_BLOCKS)


__all__ = ["FOLDER", "KERNELS", "MOST_BLOCKS", "THREADS", "KernelError", "Kernels", "blocks_for", "launch"]
