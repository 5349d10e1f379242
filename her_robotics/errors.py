"""Mistakes that a user can mend: the command line prints their one line and exits with code 2."""


class UserError(Exception):
    """Something given by the user cannot be used; the message says what, and what is expected."""
