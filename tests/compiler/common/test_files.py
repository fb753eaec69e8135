"""Files: complete or not there, and known to who asks."""

from pathlib import Path

import pytest

from ullage.compiler.common.errors import UsageError
from ullage.compiler.common.files import check_file, check_folder, recording, write_atomic


def test_files_written_meanwhile_are_noted_once_each(tmp_path: Path) -> None:
    write_atomic(tmp_path / "before", b"1")
    with recording() as outer:
        write_atomic(tmp_path / "new" / "a", b"1")
        write_atomic(tmp_path / "new" / "a", b"2")
        with recording() as inner:
            write_atomic(tmp_path / "b", b"3")
    write_atomic(tmp_path / "after", b"4")
    assert outer == [str(tmp_path / "new" / "a")]
    assert inner == [str(tmp_path / "b")]
    assert (tmp_path / "new" / "a").read_bytes() == b"2"


def test_what_cannot_be_written_is_not_noted(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with recording() as files, pytest.raises(UsageError, match="cannot be written"):
        write_atomic(tmp_path / "folder", b"1")
    assert not files
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_folders_and_files_are_checked_without_being_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    check_folder(tmp_path / "new" / "below", "-o")
    check_file(tmp_path / "new" / "file", "-o")
    check_file(tmp_path / "file", "-o")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match=r"-o .* is a file, not a folder"):
            check_folder(folder, "-o")
    with pytest.raises(UsageError, match="is a folder; name a file"):
        check_file(tmp_path, "--trace")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
