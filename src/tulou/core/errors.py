"""Every error a user can meet, in one tree.

    TulouError                 something Tulou can explain; the command line prints it as one sentence, exit code 1
    ├── SettingsError          tulou.toml cannot be read, or a key or value in it is wrong; exit code 2
    ├── MissingExtraError      an optional library is not installed; the message names the command that installs it
    ├── DataError              a source, table or index cannot be used as it is
    ├── ModelError             a base model, training run or model folder cannot be used as it is
    │   └── ExportError        its architecture has no graph in the form that was asked for
    ├── ServiceError           the service cannot start, stop or be reached
    ├── BusyError              another process holds what this one needs
    └── DiskFullError          no space left; what was complete stays complete

An error says what happened, with which value, and what to do next.
"""


class TulouError(Exception):
    """Something Tulou can explain to the person in front of it."""

    exit_code = 1


class SettingsError(TulouError):
    exit_code = 2


class MissingExtraError(TulouError):
    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs {library}; install it with: pip install 'tulou[{extra}]'")


class DataError(TulouError):
    pass


class ModelError(TulouError):
    pass


class ExportError(ModelError):
    pass


class ServiceError(TulouError):
    pass


class BusyError(TulouError):
    pass


class DiskFullError(TulouError):
    pass
