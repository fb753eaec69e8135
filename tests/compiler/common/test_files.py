"""Files: complete or not there, and known to who asks."""

import os
import resource
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ullage.compiler.common.errors import ModelError, OutputError, UsageError
from ullage.compiler.common.files import (
    check_file,
    check_folder,
    is_file,
    kind_of,
    make_folder,
    read_file,
    recording,
    together,
    write_atomic,
)


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


def _fed(pipe: Path, data: bytes) -> threading.Thread:
    """Make a named pipe; the thread writes to it as soon as somebody reads."""
    os.mkfifo(pipe)

    def feed() -> None:
        try:
            pipe.write_bytes(data)
        except BrokenPipeError:
            return  # its reader has had enough

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    return thread


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target, link = tmp_path / "far" / "target", tmp_path / "link"
    for place in (link, tmp_path / "second"):
        place.symlink_to(target if place == link else "link")  # the second is relative
        for data in (b"1", b"2"):  # dangling at first
            write_atomic(place, data)
            assert place.is_symlink()
            assert target.read_bytes() == data
    assert [path.name for path in (tmp_path / "far").iterdir()] == ["target"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "link", "second"]


def test_links_in_a_circle_and_to_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "folder").mkdir()
    (tmp_path / "c").symlink_to("folder")
    for name in ("a", "c"):
        with pytest.raises(UsageError, match="cannot be written"):
            write_atomic(tmp_path / name, b"1")
        assert (tmp_path / name).is_symlink()


def test_a_pipe_is_written_through(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    data = b"x" * 300_000  # more than a pipe holds
    thread = threading.Thread(target=lambda: found.append(pipe.read_bytes()), daemon=True)
    thread.start()
    with recording() as files:
        write_atomic(pipe, data)
    thread.join(10)
    assert found == [data]
    assert files == [str(pipe)]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_a_reader_that_leaves_is_no_error(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    thread = threading.Thread(target=write_atomic, args=(pipe, b"x" * 300_000), daemon=True)
    thread.start()
    while not _has_data(reader):
        pass
    os.close(reader)
    thread.join(10)
    assert not thread.is_alive()


def _has_data(reader: int) -> bool:
    try:
        return bool(os.read(reader, 1))
    except BlockingIOError:
        return False


def test_a_full_device_is_its_own_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OutputError, match="cannot be written: File too large") as caught:
            write_atomic(path, b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 74
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_modes_are_the_callers_and_those_of_a_file_stay(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        write_atomic(tmp_path / "new", b"1")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o664)
    write_atomic(tmp_path / "new", b"2")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o664


def test_files_are_read_up_to_a_size(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100)
    assert read_file(path, 100) == b"x" * 100
    with pytest.raises(ModelError, match="larger than 99 bytes"):
        read_file(path, 99, ModelError)
    path.write_bytes(b"")
    assert read_file(path, 0) == b""


def test_pipes_are_read_up_to_a_size(tmp_path: Path) -> None:
    data = bytes(range(256)) * 1000
    thread = _fed(tmp_path / "enough", data)
    assert read_file(tmp_path / "enough", len(data)) == data
    thread.join(10)
    thread = _fed(tmp_path / "more", data)
    with pytest.raises(UsageError, match="larger than 255999 bytes"):
        read_file(tmp_path / "more", len(data) - 1)
    thread.join(10)
    assert not thread.is_alive()


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    for place in (tmp_path, tmp_path / "link"):
        with pytest.raises(UsageError, match="it is a folder; name a file"):
            read_file(place, 100)
    with pytest.raises(UsageError, match="it is a character device; name a file"):
        read_file(os.devnull, 100)
    with pytest.raises(UsageError, match="No such file"):
        read_file(tmp_path / "missing", 100)
    with pytest.raises(UsageError, match="null byte"):
        read_file("a\0b", 100)


def test_kinds(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "dangling").symlink_to("nowhere")
    found = {name: kind_of(tmp_path / name) for name in ("pipe", "file", "dangling", "absent")}
    assert found == {"pipe": "a named pipe", "file": "a file", "dangling": "", "absent": ""}
    assert (kind_of(tmp_path), kind_of(os.devnull)) == ("a folder", "a character device")


def test_a_link_is_checked_by_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "file" / "below")
    (tmp_path / "good").symlink_to("absent")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        check_file(tmp_path / "link", "-o")
    check_file(tmp_path / "good", "-o")
    check_file(tmp_path / "pipe", "-o")


# Names that no file can have; the first by its length.
NO_NAMES = ("x" * 5000, "a\0b", "loop/x")


@pytest.mark.parametrize("name", NO_NAMES)
def test_names_that_no_file_can_have_lead_nowhere(name: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    path = tmp_path / name
    assert kind_of(path) == ""
    assert not is_file(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_file(path, 10)
    with pytest.raises(UsageError, match="cannot be written"):
        write_atomic(path, b"1")


@pytest.mark.parametrize("check", [check_file, check_folder])
def test_names_that_no_document_holds_are_refused(
    check: Callable[[Path, str], None], tmp_path: Path
) -> None:
    check(tmp_path / ("x" * 5000), "-o")  # is told when it is written
    with pytest.raises(UsageError, match="no Unicode text; name another one"):
        check(tmp_path / os.fsdecode(b"\xff"), "-o")


def _write_then_raise(path: Path, error: BaseException) -> None:
    with together():
        write_atomic(path, b"1")
        assert not path.exists()
        raise error


def test_where_one_file_cannot_be_made_none_is_written(tmp_path: Path) -> None:
    with recording() as written, pytest.raises(ModelError):
        _write_then_raise(tmp_path / "one", ModelError("the second cannot be made"))
    assert (written, list(tmp_path.iterdir())) == ([], [])
    with recording() as written, together():
        write_atomic(tmp_path / "one", b"1")
        write_atomic(tmp_path / "two", b"2")
    assert written == [str(tmp_path / "one"), str(tmp_path / "two")]
    write_atomic(tmp_path / "three", b"3")  # nothing is held back any more
    assert len(list(tmp_path.iterdir())) == 3


def test_after_ctrl_c_the_files_that_are_complete_are_written(tmp_path: Path) -> None:
    with recording() as written, pytest.raises(KeyboardInterrupt):
        _write_then_raise(tmp_path / "one", KeyboardInterrupt())
    assert written == [str(tmp_path / "one")]
    assert (tmp_path / "one").read_bytes() == b"1"


def test_a_folder_is_made_or_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    make_folder(tmp_path / "link")
    make_folder(tmp_path / "link" / "a" / "b")
    assert (tmp_path / "far" / "away" / "a" / "b").is_dir()
    make_folder(tmp_path / "link")
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UsageError, match="cannot be made"):
            make_folder(folder)
