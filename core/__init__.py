"""Neural networks by hand: the shared tensor core of barenets. It knows no data set."""

from core.predict import predict

__all__ = ["predict"]
__version__ = "0.1.0"
