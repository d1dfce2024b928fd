"""The parts of launch.py: the start page, who serves it, and the demos as its children."""
