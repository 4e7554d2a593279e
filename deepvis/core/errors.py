"""The one exception that is meant for the user's eyes, and what others say, fit for them."""

import re


class UserError(Exception):
    """Something the user can put right.

    The message names the value, what was expected and the remedy. The command line prints it
    without a traceback and exits with status 2; the live window shows it in the status bar.
    """


def words(error: BaseException) -> str:
    """The message of a user's error; of any other also its kind, which may be all it says."""
    said = f"{type(error).__name__}: {harmless(error)}" if str(error) else type(error).__name__
    if isinstance(error, (SystemExit, KeyboardInterrupt)):  # raised in a thread, where no user is
        return f"the network's code tried to end the program ({said})"
    return str(error) if isinstance(error, UserError) else said


def one_line(text: object) -> str:
    """A name from outside on one line of a message, with ? in place of signs that would steer a terminal."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(text))


def printable(text: str) -> str:
    """A text for the terminal: signs that would steer it, in names that others gave, are written out."""
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode() for sign in text
    )


# What torch and numpy say when they refuse to run a file's code: how to have it run all the same.
_ADVICE = re.compile(
    r"weights_only|allow_pickle|safe_globals|arbitrary code|trusted source|if you trust|still be loaded|unsafely", re.I
)
_PICKLED = (
    "it holds Python objects (pickled), which are never loaded, or is no file of numpy: save plain arrays of numbers"
)


def harmless(error: BaseException) -> str:
    """A foreign error's message; where it advises to switch a guard off, what `reason` leaves of it."""
    return reason(error) if _ADVICE.search(str(error)) else str(error)


def reason(error: BaseException) -> str:
    """The first line of a foreign error, without advice to switch off what keeps a file's code from running."""
    text = str(error).strip()
    if "allow_pickle" in text:
        return _PICKLED
    for line in text.splitlines():
        kept = [sentence for sentence in re.split(r"(?<=[.!?]) +", line) if not _ADVICE.search(sentence)]
        if any(sentence.strip() for sentence in kept):
            return " ".join(kept).strip()
    return type(error).__name__
