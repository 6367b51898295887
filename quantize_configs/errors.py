"""The base of every error that the packages raise on purpose, and the kinds callers tell apart.

Their messages are written for the user: what was received, what is allowed, what to do. A program
prints such a message as its last line; any other exception is a fault of the code and keeps its
traceback. Each kind is also the built-in exception that Python has for it, so that
`except ValueError` works as everywhere.
"""


class QFAError(Exception):
    """What was asked cannot be done, and the message says why and what to do instead."""


class InvalidInputError(QFAError, ValueError):
    """An argument, a setting or the data has a value that is not allowed."""


class InvalidTypeError(InvalidInputError, TypeError):
    """An argument is of a type that is not taken."""


class MissingFileError(InvalidInputError, FileNotFoundError):
    """A path that was given leads nowhere."""


class ExistingFileError(InvalidInputError, FileExistsError):
    """What would be written exists already, and is never overwritten."""


class UnsupportedError(QFAError, ValueError):
    """What was asked makes sense, but there is no way to do it: a layer, an operator, a cost."""


class DamagedFileError(QFAError, ValueError):
    """A file is damaged, of another version, or misses what it should hold."""


class StateError(QFAError, RuntimeError):
    """A call came too early or too late, such as `fit` before `compile`."""


class UnavailableError(QFAError):
    """This machine, or a device of it, lacks or refuses something: space, a package, a phone."""


class MissingExtraError(UnavailableError, ImportError):
    """A package is not installed that only an extra of this one brings."""

    def __init__(self, purpose: str, package: str, extra: str):
        """Names the command that installs it.

        Args:
          purpose: What needs the package, the subject of the sentence: "The search".
          package: Name on the package index.
          extra: Extra of qfa_tf that brings it.
        """
        super().__init__(
            f"{purpose} needs {package}. Install it with: pip install 'qfa_tf[{extra}]'"
        )
        self.arguments = (purpose, package, extra)

    def __reduce__(self):
        """Errors travel from worker processes by pickle."""
        return type(self), self.arguments
