"""What the machine itself refuses, wherever it does: a full disk, a folder that may not be written."""

from __future__ import annotations

import errno

from tulou.core.disk import is_disk_full
from tulou.core.errors import DataError, DiskFullError, TulouError

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


def machine_said(err: Exception) -> TulouError | None:
    """`err` as a sentence for the person in front of it, or None where it tells of a fault of ours."""
    if is_disk_full(err):
        return DiskFullError("the disk is full; what was finished is kept: free some space and try again")
    if isinstance(err, OSError) and err.errno in _FORBIDDEN and err.filename:
        return DataError(f"{err.filename}: {err.strerror}; Tulou needs to read the project and to write its .tulou")
    return None
