"""UserError, the exception whose message is meant for the user, and how other exceptions are put into words."""

import re


class UserError(Exception):
    """Something the user can put right.

    The message names the value, what was expected and the remedy. The command line prints it
    without a traceback and exits with status 2; the live window shows it in the status bar.
    """


def words(error: BaseException) -> str:
    """The message of an exception; unless it is a UserError, with the name of its class."""
    said = f"{type(error).__name__}: {harmless(error)}" if str(error) else type(error).__name__
    if isinstance(error, (SystemExit, KeyboardInterrupt)):  # in a thread these do not come from the user
        return f"the network's code tried to end the program ({said})"
    return str(error) if isinstance(error, UserError) else said


def one_line(text: object) -> str:
    """A name from outside as a single line that is safe to print: control characters are replaced by ?."""
    return "".join(sign if sign.isprintable() else "?" for sign in str(text))


def printable(text: str) -> str:
    """A text that is safe to print: control characters, which names from outside may hold, are escaped."""
    return "".join(
        sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode() for sign in text
    )


# torch and numpy advise in these words how to run a file's code although they refused it.
_ADVICE = re.compile(
    r"weights_only|allow_pickle|safe_globals|arbitrary code|trusted source|if you trust|still be loaded|unsafely", re.I
)
_PICKLED = (
    "it holds pickled Python objects, which are never loaded, or is not a NumPy file: save plain arrays of numbers"
)


def harmless(error: BaseException) -> str:
    """A library's error message; shortened by `reason` if it advises to run a file's code."""
    return reason(error) if _ADVICE.search(str(error)) else str(error)


def reason(error: BaseException) -> str:
    """The first line of a library's error message, without the sentences that advise to run a file's code."""
    text = str(error).strip()
    if "allow_pickle" in text:
        return _PICKLED
    for line in text.splitlines():
        kept = [sentence for sentence in re.split(r"(?<=[.!?]) +", line) if not _ADVICE.search(sentence)]
        if any(sentence.strip() for sentence in kept):
            return " ".join(kept).strip()
    return type(error).__name__
