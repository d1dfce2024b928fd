"""What the demos share: the drawing pad, strokes from the browser, pictures for the network, cards, launching."""
