"""Files that survive a power cut, and whether a file may be believed."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import secrets
import stat
from functools import lru_cache
from pathlib import Path

from edged.errors import NotFound, Rejected, StorageError, TooLarge

_LINKS = 40  # as the kernel: path_resolution(7)


def atomic_write(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Make `path` hold `data`: after a power cut it holds all of the old or all of the new.

    Raises StorageError; the old content then stands.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        try:
            write_synced(temporary, data, mode)
            temporary.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_directory(path.parent)
    except OSError as exc:
        raise StorageError(f"cannot write {path}: {exc.strerror}") from exc


def write_synced(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Create `path`, which must not exist, with `data` on the disk when this returns; raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_directory(path: Path) -> None:
    """Put the directory's entries (new, renamed, removed names) on the disk; raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_regular(path: Path) -> int:
    """A read-only descriptor of a regular file; never waits for the other end of a pipe. The caller owns it.

    Raises NotFound, Rejected for anything but a regular file, StorageError.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFound(f"no such file: {path}") from exc
        raise StorageError(f"cannot open {path}: {exc.strerror}") from exc
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise Rejected(f"not a regular file: {path}")


def read_capped(path: Path, cap_bytes: int) -> bytes:
    """The whole of a regular file of at most `cap_bytes`.

    Raises TooLarge, NotFound, Rejected (not a regular file), StorageError.
    """
    fd = open_regular(path)
    try:
        with os.fdopen(fd, "rb") as file:
            data = file.read(cap_bytes + 1)
    except OSError as exc:
        raise StorageError(f"cannot read {path}: {exc.strerror}") from exc
    if len(data) > cap_bytes:
        raise TooLarge(f"{path} is larger than {cap_bytes} bytes")
    return data


def trusted(path: Path, root: Path = Path("/")) -> bool:
    """Whether nobody but root and this user can change what `path` names.

    Looks at the file, at every directory above it up to and including `root`, and at every symbolic link
    on the way. A directory others may write to counts where it is sticky (`/tmp`): they cannot replace
    what is not theirs. A missing file, or one outside `root`, is not trusted.
    """
    todo = list(reversed(Path(os.path.abspath(path)).parts[1:]))  # noqa: PTH100 - resolve() would skip the links
    place, links = Path("/"), 0
    judged = [Path("/")]
    try:
        while todo:
            place = place / todo.pop() if todo[-1] != ".." else (todo.pop(), place.parent)[1]
            judged.append(place)
            if not place.is_symlink():
                continue
            links += 1
            target = place.readlink()
            place = Path("/") if target.is_absolute() else place.parent
            todo.extend(reversed([part for part in target.parts if part != "/"]))
            if links > _LINKS:
                return False
        if not place.is_relative_to(root):
            return False
        above_root = set(root.parents)
        return all(_ours(p, is_leaf=p == place) for p in judged if p not in above_root)
    except OSError:
        return False


def _ours(path: Path, *, is_leaf: bool) -> bool:
    """Whether only root and this user can change this one name's object."""
    info = path.lstat()
    if info.st_uid not in (0, os.geteuid()):
        return False
    if stat.S_ISLNK(info.st_mode):  # a link has no mode of its own; its directory is judged as well
        return True
    if stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX and not is_leaf:
        return True
    if info.st_mode & stat.S_IWOTH:
        return False
    return not info.st_mode & stat.S_IWGRP or _private_group(info.st_gid, os.geteuid())


@lru_cache(maxsize=64)
def _private_group(gid: int, uid: int) -> bool:
    """Whether the group is this user's own, of the same name and without other members.

    Debian and Ubuntu give such users umask 002 (pam_umask usergroups), and OpenSSH there judges the same way.
    """
    try:
        user, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return gid == user.pw_gid and group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
