"""Neural networks by hand: what all projects of barenets share."""

from core.predict import predict

__all__ = ["predict"]
__version__ = "0.1.0"
