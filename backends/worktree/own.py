"""What a checkout has of its own beside its files: settings (git-worktree(1), "CONFIGURATION FILE"), and which of the files that it tracks are not there
(git-sparse-checkout(1)). A clone has them as its source has.

Of the settings, a clone takes those that say how files are checked out and who commits, and programs that a person has trusted. The others stay where
they are: who works in a checkout writes them, and they could name any program.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from workspaces.errors import Limit
from workspaces.model import Snapshot

from .. import bounds, tree, views
from ..configuration import Setting
from ..diff import steps
from ..git import Git
from .commits import tree_of
from .conversions import NO

_SETTINGS, _PATTERNS = "config.worktree", "info/sparse-checkout"
_TAKEN = re.compile(
    rb"core\.(autocrlf|eol|symlinks|filemode|attributesfile|excludesfile|sparsecheckout|sparsecheckoutcone)$|index\.sparse$"
    rb"|sparse\.expectfilesoutsideofpatterns$|(user|author|committer)\.(name|email)$"
)
_SPARSELY = (b"core.sparsecheckout", b"core.sparsecheckoutcone", b"index.sparse")
"""What says no in a checkout that is sparse no longer, and says nothing by that."""
_ESCAPED = {b"\\": b"\\\\", b'"': b'\\"', b"\n": b"\\n", b"\t": b"\\t"}
_SKIPPED = b"S"


def is_sparse(git: Git) -> bool:
    """Return whether a checkout leaves files out by patterns. Without those, git leaves out none."""
    return git.checkout.get("core.sparsecheckout", "no").lower() not in NO and (git.git_dir / _PATTERNS).exists()


def has_own(git: Git) -> bool:
    """Return whether a checkout has anything that a clone of it would not have by itself."""
    return is_sparse(git) or any(each.key not in _SPARSELY or os.fsdecode(each.value).lower() not in NO for each in git.own)


def take_over(source: Git, admin: Path) -> None:
    """Give the git directory of a clone what its source has of its own. It is durable."""
    if taken := [each for each in source.own if _may_be_taken(source, each)]:
        (admin / _SETTINGS).write_bytes(b"".join(map(_written, taken)))
        tree.sync_file(admin / _SETTINGS)
    if is_sparse(source):
        patterns = tree.start_of(source.git_dir / _PATTERNS, bounds.MEMORY)
        if len(patterns) == bounds.MEMORY:
            raise Limit(f"{source.git_dir / _PATTERNS} is too large. Nothing was changed.", "Make it anew: git sparse-checkout set.")
        (admin / _PATTERNS).parent.mkdir(exist_ok=True)
        (admin / _PATTERNS).write_bytes(patterns)
        tree.sync_file(admin / _PATTERNS)
        tree.sync((admin / _PATTERNS).parent)


def _may_be_taken(source: Git, setting: Setting) -> bool:
    """Return whether a clone takes a setting: of drivers, only what runs since it is trusted."""
    return bool(_TAKEN.match(setting.key)) or source.settings.get(os.fsdecode(setting.key)) == os.fsdecode(setting.value)


def _written(setting: Setting) -> bytes:
    """Return a setting as git stores it (git-config(1), "Syntax"). One without a value says yes."""
    section, _, rest = setting.key.partition(b".")
    below, _, name = rest.rpartition(b".")
    head = section + (b' "' + re.sub(rb'[\\"]', rb"\\\g<0>", below) + b'"' if below else b"")
    value = setting.value or (b"" if b"." in rest or section in (b"user", b"author", b"committer") else b"true")
    return b'[%s]\n\t%s = "%s"\n' % (head, name, re.sub(rb'[\\"\n\t]', lambda found: _ESCAPED[found[0]], value))


# -- sparse checkouts ---------------------------------------------------------------------------------------------------------------------


def whole(git: Git) -> Git:
    """Return the door as one that reads and writes an index file by file, also where the checkout keeps folders that it leaves out as one entry each: for
    that, git looks for all files that are not marked yet, and a partial clone may not have them."""
    return replace(git, settings={**git.settings, "index.sparse": "false"}) if is_sparse(git) else git


def outside(git: Git, contents: str) -> set[bytes]:
    """Return the paths of a tree that a sparse checkout has no files of, by its patterns. git marks them in an index by which nothing else is to do."""
    with views.view(git.scratch or git.git_dir) as folder:
        (folder / "tree").mkdir()
        view = replace(whole(git.at(work_tree=folder / "tree", index=folder / "index")), aside=True)
        view.run("read-tree", contents)
        view.run("read-tree", "-m", "-u", contents)
        return skipped(view)


def left_out(git: Git, snapshot: Snapshot, noted: str) -> set[bytes]:
    """Return the paths of a snapshot that have no file in a sparse checkout of it, whose index has the tree `noted`. What is not committed has one: it is
    somebody's work, and nothing else could tell of what is not staged either."""
    differ = {step.path for each in {noted, tree_of(git, snapshot.head)} for step in steps(git, each, snapshot.contents)}
    return outside(git, snapshot.contents) - differ


def skipped(git: Git) -> set[bytes]:
    """Return the paths in the index of a checkout that have no file there, and are to have none."""
    return {row[2:] for row in whole(git).fields("ls-files", "-z", "-t") if row[:1] == _SKIPPED}


def leave_out(git: Git, paths: Iterable[bytes]) -> None:
    """Note in the index that paths have no file, and are to have none."""
    _mark(git, "--skip-worktree", paths)


def mark(git: Git, contents: str) -> None:
    """Note in the index of a sparse checkout, which holds `contents`, which files are left out: by its patterns, where no file is, and none is missing."""
    held = {path: (mode, blob) for mode, blob, path in _listed(git, contents)}
    rows = [(row[:1], row[2:].split(b"\t", 1)) for row in whole(git).fields("ls-files", "-z", "-t", "--stage")]
    out, root = outside(git, contents), os.fsencode(git.work_tree or "")
    hide, show = list[bytes](), list[bytes]()
    for sign, (about, path) in rows:
        mode, blob, _ = about.split(b" ")
        is_held = held.get(path) == (mode, blob)
        if sign == _SKIPPED and not is_held:
            show.append(path)
        elif sign == b"H" and is_held and path in out and not os.path.lexists(os.path.join(root, path)):  # noqa: PTH118 - bytes
            hide.append(path)
    _mark(git, "--no-skip-worktree", show)
    _mark(git, "--skip-worktree", hide)


def _mark(git: Git, how: str, paths: Iterable[bytes]) -> None:
    if stdin := b"".join(path + b"\0" for path in paths):
        whole(git).run("update-index", how, "-z", "--stdin", stdin=stdin)


def _listed(git: Git, contents: str) -> Iterator[tuple[bytes, bytes, bytes]]:
    for row in git.fields("ls-tree", "-r", "-z", "--full-tree", contents):
        about, _, path = row.partition(b"\t")
        mode, _, blob = about.split(b" ")
        yield mode, blob, path
