"""Writing files so that nothing half-written is ever seen, power loss included, and nothing of a killed run stays.

What a process writes before it is whole carries that process in its name. So whoever comes later can tell what a live
process is still writing from what a killed one has left, and removes the latter: beside the files that it writes
itself (:func:`replacing`), and in the system's folder for temporary files (:func:`scratch_folder`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from uuid import uuid4

from napari_sparse3d.errors import InputError

try:
    import fcntl
except ImportError:  # not a POSIX system: no locks there
    fcntl = None  # type: ignore[assignment]

_MARK = "s3d"
_LONGEST_NAME = 255  # bytes, on every file system in use
_FORGOTTEN_S = 7 * 24 * 3600
"""What another machine left in a shared folder is removed after so long without a change."""

_LEFT = re.compile(rf"\.?{_MARK}-([0-9a-f]{{6}})-([0-9a-f]{{6}})-(\d+)-(\d+)-")


@contextmanager
def replacing(
    path: str | os.PathLike[str], *, durable: bool = True, previous: str | os.PathLike[str] | None = None
) -> Iterator[Path]:
    """Give a temporary path in the same folder, which takes the place of ``path`` when the block ends well.

    The temporary name ends like the final one, so writers that choose a format by its ending work. Missing parent
    folders are made. If the block raises (or the user interrupts it), the temporary file is removed and whatever was
    at ``path`` before stays as it was. If the process is killed, the next one that writes to this folder removes it.
    A file that is replaced keeps its permissions; a symbolic link stays one, and the file behind it is replaced.

    Parameters
    ----------
    path : path
    durable : bool
        Whether the content is on the disk before the name is, and the name before the block ends: after power loss
        there is the old file or the whole new one. False for what can be made again and is checked when it is read.
    previous : path, optional
        In the same folder: where the file that is replaced is kept. At no moment is there neither.

    Raises
    ------
    InputError
        If ``path`` is a folder, or no ordinary file (a device, a pipe).
    OSError
        If it cannot be written.
    """
    target = Path(path)
    if target.is_symlink():
        target = Path(os.path.realpath(target))
    _check_target(target)
    new_folders = _make_folder(target.parent)
    _remove_left(target.parent)
    temporary = beside(target)
    try:
        yield temporary
        if target.exists():
            _take_permissions(target, temporary)
        if durable:
            _sync(temporary)
        if previous is not None and target.exists():
            _keep(target, Path(previous))
        temporary.replace(target)
        if durable:
            for folder in new_folders:
                _sync_folder(folder)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """As :func:`replacing`, for a folder that the block makes at the temporary path; it appears whole, durably.

    Raises
    ------
    InputError
        If anything is at ``path``: no system puts a folder in the place of another in one step.
    """
    target = Path(path)
    if target.exists() or target.is_symlink():
        raise InputError(f"{target} is there already, and a folder is not written over; remove it or name another")
    new_folders = _make_folder(target.parent)
    _remove_left(target.parent)
    temporary = beside(target)
    try:
        yield temporary
        for inside, _, names in os.walk(temporary):
            for name in names:
                _sync(Path(inside, name))
            _sync_folder(Path(inside))
        temporary.rename(target)
        for folder in new_folders:
            _sync_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def beside(target: Path) -> Path:
    """A name in the same folder that ends like ``target``, for what this process writes and nobody else touches."""
    # not tempfile.mkstemp: the file must get the user's ordinary permissions, which the writer's own open() gives it
    mark = f".{_MARK}-{process_mark()}-{uuid4().hex[:8]}-"
    name = os.fsencode(target.name)[-(_LONGEST_NAME - len(mark)) :]
    return target.with_name(mark + name.decode("utf-8", errors="ignore"))


def try_output(path: str | os.PathLike[str]) -> None:
    """See that a file can be written at ``path``, before hours are spent on its content; leaves nothing.

    Raises
    ------
    InputError
        If ``path`` is a folder, or no ordinary file.
    OSError
        If its folder, or the nearest one above that exists, takes no file.
    """
    target = Path(os.path.realpath(path)) if Path(path).is_symlink() else Path(path)
    _check_target(target)
    folder = target.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    tried = beside(folder / "try")
    try:
        with tried.open("wb") as file:
            file.write(b"\0")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        with contextlib.suppress(OSError):
            tried.unlink()


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for temporary files, removed at the end; those that killed processes left are removed first."""
    place = Path(tempfile.gettempdir())
    _remove_left(place)
    with tempfile.TemporaryDirectory(prefix=f"{_MARK}-{process_mark()}-", dir=place) as folder:
        yield Path(folder)


def remove_left(folder: Path) -> None:
    """Remove what killed processes have left half-written in ``folder``; what a live one writes stays."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if (left := _LEFT.match(entry.name)) and _is_left(entry, left):
                _remove(entry)


def process_mark() -> str:
    """This process among all others, as it stands in the names of temporary files: machine, boot, number, start."""
    return f"{_machine()}-{_boot()}-{os.getpid()}-{_started(os.getpid()) or 0}"


def process_lives(mark: str) -> bool:
    """Whether the process of this :func:`process_mark` still runs; True where that cannot be known from here."""
    machine, boot, number, started = mark.split("-")
    if machine != _machine():
        return True
    if boot != _boot():
        return False
    if os.name != "posix":  # os.kill would end it
        return True
    return _runs(int(number), int(started))


class Locked(InputError):
    """Another process holds the lock."""


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold ``path`` as a lock, which the system gives up when this process ends, however that is.

    Raises
    ------
    Locked
        If another process holds it: ``what`` says what that is doing.
    """
    descriptor = _take_lock(path, what)
    try:
        yield
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                path.unlink()  # while it is held: whoever opened it meanwhile sees that it is gone
            os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a live process holds this lock."""
    if fcntl is None:
        return path.exists()
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


# --- one file ---------------------------------------------------------------------------------------------------------


def _check_target(target: Path) -> None:
    if target.is_dir():
        raise InputError(f"{target} is a folder; name the file to write, for example {target / 'out'}")
    if target.exists() and not target.is_file():
        raise InputError(f"{target} is no ordinary file (a device or a pipe); name a file to write")


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder and those above it; itself and every one that got a new entry, innermost first."""
    changed = [folder]
    while not changed[-1].exists() and changed[-1] != changed[-1].parent:
        changed.append(changed[-1].parent)
    folder.mkdir(parents=True, exist_ok=True)
    return changed


def _take_permissions(old: Path, new: Path) -> None:
    before, now = old.stat(), new.stat()
    if hasattr(os, "chown") and (before.st_uid, before.st_gid) != (now.st_uid, now.st_gid):
        with contextlib.suppress(OSError):  # only root may give files away
            os.chown(new, before.st_uid, before.st_gid)
    if stat.S_IMODE(before.st_mode) != stat.S_IMODE(now.st_mode):
        new.chmod(stat.S_IMODE(before.st_mode))


def _keep(target: Path, previous: Path) -> None:
    """Let ``previous`` be the file at ``target``, which stays there."""
    link = beside(previous)
    try:
        link.hardlink_to(target)
        link.replace(previous)
    except OSError:  # no hard links here (exFAT, some shares): for a moment there is the previous one alone
        target.replace(previous)
    finally:
        link.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    # Windows flushes only what is open for writing; elsewhere the file may be read-only
    descriptor = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)


# --- what killed processes left ---------------------------------------------------------------------------------------

_looked_at: set[tuple[int, str]] = set()


def _remove_left(folder: Path) -> None:
    """:func:`remove_left`, once for each folder and process: a folder may hold a hundred thousand files."""
    key = (os.getpid(), str(folder.resolve()))
    if key not in _looked_at:
        _looked_at.add(key)
        remove_left(folder)


def _is_left(entry: os.DirEntry[str], left: re.Match[str]) -> bool:
    status = entry.stat(follow_symlinks=False)
    if hasattr(os, "getuid") and os.getuid() not in (0, status.st_uid):
        return False
    if left[1] != _machine():
        return time.time() - status.st_mtime > _FORGOTTEN_S
    return not process_lives("-".join(left.groups()))


def _remove(entry: os.DirEntry[str]) -> None:
    with contextlib.suppress(OSError):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink()


@lru_cache(maxsize=1)
def _machine() -> str:
    """This machine, and where processes are counted on it: containers of one machine count their own."""
    with contextlib.suppress(OSError):
        return _short(f"{platform.node()} {Path('/proc/self/ns/pid').readlink()}")
    return _short(platform.node())


@lru_cache(maxsize=1)
def _boot() -> str:
    with contextlib.suppress(OSError):
        return _short(Path("/proc/sys/kernel/random/boot_id").read_text())
    return _short("")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]


def _started(number: int) -> int | None:
    """When a process started, in ticks since the boot (proc(5), stat, field 22); None if there is none, or no /proc."""
    try:
        text = Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return None
    state, *fields = text.rpartition(")")[2].split()
    return None if state == "Z" else int(fields[18])  # a zombie writes no more


def _runs(number: int, started: int) -> bool:
    if Path("/proc/self/stat").exists():
        return _started(number) == started
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


# --- locks ------------------------------------------------------------------------------------------------------------

_WAIT_S = 1.0
"""For a lock that somebody has only looked at (:func:`is_locked`)."""


def _take_lock(path: Path, what: str) -> int | None:
    if fcntl is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + _WAIT_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return None  # this file system has no locks
            if time.monotonic() > end:
                raise Locked(f"{what} by another process; wait until it has ended, or stop it") from None
            time.sleep(0.05)
            continue
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # given up and removed meanwhile
