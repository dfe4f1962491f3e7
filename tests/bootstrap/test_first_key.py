import stat
from pathlib import Path

import pytest

from tulou.bootstrap import service
from tulou.bootstrap.project import Project
from tulou.bootstrap.service import first_admin_key
from tulou.service.gateway.keys import Keys


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "tulou.toml").touch()
    return Project.open(tmp_path)


def test_the_first_key_is_made_once_and_kept_for_the_owner(project: Project) -> None:
    keys = Keys(project.state)
    secret = first_admin_key(project, keys)
    assert secret is not None
    assert project.admin_key_file.read_text().strip() == secret
    assert stat.S_IMODE(project.admin_key_file.stat().st_mode) == 0o600
    found = keys.find(secret)
    assert found is not None
    assert found.is_admin
    assert first_admin_key(project, keys) is None


def test_a_first_key_that_could_not_be_kept_is_not_valid(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _content: bytes) -> None:
        raise OSError("No space left on device")

    keys = Keys(project.state)
    with monkeypatch.context() as patched:
        patched.setattr(service, "write_private", full)
        with pytest.raises(OSError, match="No space left"):
            first_admin_key(project, keys)
    assert keys.list() == []
    assert first_admin_key(project, keys) is not None
