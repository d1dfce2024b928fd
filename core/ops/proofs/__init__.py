"""Does an operation on a GPU do what it does on a CPU? A case for every operation that has a kernel.

The tests run the cases on the CPU, through the shim of `core.kernels`, and `scripts/gpu_check.py` runs them on a GPU.
"""

from core.ops.proofs import elements, images, rows, sequences, weights
from core.ops.proofs.case import TOLERANCES, Case, Difference, Draw, check, outputs

MODULES = (elements, rows, weights, images, sequences)
CASES: dict[str, Case] = {case.name: case for module in MODULES for case in module.CASES}

__all__ = ["CASES", "TOLERANCES", "Case", "Difference", "Draw", "check", "outputs"]
