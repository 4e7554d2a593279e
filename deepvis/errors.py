"""The one exception that is meant for the user's eyes."""


class UserError(Exception):
    """Something the user can put right.

    The message names the value, what was expected and the remedy. The command line prints it
    without a traceback and exits with status 2; the live window shows it in the status bar.
    """


def words(error: BaseException) -> str:
    """The message of a user's error; of any other also its kind, which may be all it says."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, (SystemExit, KeyboardInterrupt)):  # raised in a thread, where no user is
        return f"the network's code tried to end the program ({said})"
    return str(error) if isinstance(error, UserError) else said
