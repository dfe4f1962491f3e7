import errno

import pytest

from tulou.cli.machine import machine_said


@pytest.mark.parametrize(
    "err",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("(sqlite3.OperationalError) database or disk is full"),
    ],
)
def test_a_full_disk_is_one_sentence_wherever_it_is_met(err: Exception) -> None:
    assert "free some space and try again" in str(machine_said(err))


def test_what_may_not_be_written_is_named() -> None:
    told = machine_said(PermissionError(errno.EACCES, "Permission denied", "/shop/.tulou"))
    assert str(told).startswith("/shop/.tulou: Permission denied")


def test_a_fault_of_ours_is_not_explained_away() -> None:
    assert machine_said(KeyError("weight")) is None
    assert machine_said(FileNotFoundError(errno.ENOENT, "No such file or directory", "/shop/lost")) is None
