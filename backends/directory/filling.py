"""Making files, links and folders as a manifest says they are, from frozen contents."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from workspaces.errors import BackendFailed
from workspaces.threads import look

from .. import tree
from .manifest import UNKNOWN, Entry, How, Manifest, attributes, entry, how
from .scan import key_of

Source = Callable[[str], int]
"""Opens contents by their name."""


def put(folder: int, name: str, it: Entry, about: How, source: Source) -> os.stat_result:
    """Make one file or link, which must not be there, below an open folder, and return what it is then."""
    if it.kind == "l":
        os.symlink(it.content, name, dir_fd=folder)
        os.utime(name, ns=(about.modified, about.modified), dir_fd=folder, follow_symlinks=False)
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    with tree.opened(source(it.content)) as there, tree.opened(_made(there, folder, name)) as here:
        _finish(here, it, about)
        made = os.fstat(here)
    if about.size not in (made.st_size, UNKNOWN):
        raise BackendFailed(
            f"The kept contents {it.content[:13]} are damaged: {made.st_size} bytes of {about.size}.", "workspaces doctor looks closer."
        )
    return made


def _made(contents: int, folder: int, name: str) -> int:
    """Make a file with the contents of an open one, below a folder that nobody else sees yet, and return it open."""
    if not tree.KERNEL_COPIES and tree.clone(contents, folder, name):
        return os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    made = os.open(name, tree.CREATE, 0o600, dir_fd=folder)
    try:
        tree.fill(contents, made)
    except BaseException:
        os.close(made)
        raise
    return made


def _finish(file: int, it: Entry, about: How) -> None:
    for name, value in attributes(it.attributes).items():
        try:
            os.setxattr(file, name, value)
        except OSError as error:
            if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.EACCES):
                raise
    os.fchmod(file, it.perm)
    os.utime(file, ns=(about.modified, about.modified))


def fill(manifest: Manifest, target: Path, source: Source) -> dict[str, str]:
    """Fill an empty folder with all of a manifest, and return the keys of what was made."""
    keys: dict[str, str] = {}
    linked: dict[int, str] = {}
    what, paths = manifest.what, sorted(manifest.what)
    with tree.Folders(target, make=True) as folders:
        for path in paths:
            look()
            at, _, name = path.rpartition("/")
            it, about = entry(what[path]), how(manifest.how[path])
            folder = folders.at(at)
            keys[path] = ""
            if it.kind == "d":
                with suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=folder)
            elif about.link in linked and what[linked[about.link]] == what[path]:
                _link(target, linked[about.link], path)
            else:
                found = put(folder, name, it, about, source)
                if about.link:
                    linked[about.link] = path
                else:
                    keys[path] = key_of(found)
    finish_folders(target, reversed([path for path in paths if what[path].startswith("d")]), manifest)
    with tree.Folders(target) as folders:
        for path in [path for path, key in keys.items() if not key]:  # folders, and files with several names, change until all is made
            keys[path] = key_of(os.stat(path.rpartition("/")[2], dir_fd=folders.at(path.rpartition("/")[0]), follow_symlinks=False))
    return keys


def _link(root: Path, old: str, new: str) -> None:
    with tree.Folders(root) as there, tree.Folders(root) as here:
        source, target = there.at(old.rpartition("/")[0]), here.at(new.rpartition("/")[0])
        os.link(old.rpartition("/")[2], new.rpartition("/")[2], src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)


def finish_folders(root: Path, paths: Iterable[str], manifest: Manifest) -> None:
    """Give folders the permissions, attributes and times that a manifest has for them, as far as they are there. Inner ones come first."""
    with tree.Folders(root) as folders:
        for path in paths:
            if it := manifest.at(path):
                with suppress(FileNotFoundError, NotADirectoryError):
                    _finish(folders.at(path), it, manifest.how_at(path))
