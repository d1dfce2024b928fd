"""The one exception that stands for a mistake of the user rather than of the programmer."""


class UserError(Exception):
    """A mistake that the user can mend: its text is one clear line that says what was wrong, where, and what to do.

    Scripts that start through `core.cli.main` print it as `error: ...` and exit with code 2, without a traceback.
    """
