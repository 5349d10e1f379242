"""Mistakes that a user can mend: the command line prints their one line and exits with code 2."""


class UserError(Exception):
    """Something given by the user cannot be used; the message says what, and what is expected."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line of at most 300 characters; its type where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
