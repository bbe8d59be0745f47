"""The error a user can mend: one sentence with the field or file, what was found, what to do."""


class InputError(ValueError):
    """Bad input from outside. The command line prints the message alone and exits with 2."""
