"""A trained network made ready to answer: less is done for an answer, and hardly anything of it by Python.

    network = freeze(network)
    answers = predict(network, images)

`freezing` makes the copy that answers: what only learning needs is left out, weights become constants.
`replay` writes down the calls of NumPy that answer inputs of one shape, and from then on only makes them again.
`written` are the arrays and the memory on which layers work meanwhile, and which see every call.
`calls` are such a list and whoever makes it: one thread, the workers together, or BLAS's own threads.
`shared_rows` gives each worker some of many rows, and a list of its own for them.
`one_row` knows the calls without writing any down: those of a single row through fully connected layers.

Which way is the fastest is found out by trying, see `core.fastest`.
"""

from core.frozen.freezing import freeze

__all__ = ["freeze"]
