"""The demos as visitors find them: the parts of bench_apps.py, screenshots.py and stranger.py, also for the tests."""
