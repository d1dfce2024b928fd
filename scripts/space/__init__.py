"""The parts of export_space.py, and the app.py that it puts into every Space."""
