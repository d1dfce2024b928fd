"""Reports on a trained classifier: metrics, plots, and the files that carry them. Nothing here needs a display."""
