"""The parts of benchmark.py, and what the other measurements of training share with it."""
