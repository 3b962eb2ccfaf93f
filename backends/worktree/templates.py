"""Templates: spares of which one serves any number of clones, where the file system copies a whole tree at one moment (`subvolume`).

The tree of a template is a subvolume, and a clone gets a snapshot of it. That has the same inode numbers and times, so the index of the template holds
for it, byte for byte. Nobody who copies a template holds it: whoever changes or removes one takes its name away first, and no name is used
twice. So what was copied is whole if the template has its name yet, afterwards.
"""

from __future__ import annotations

from pathlib import Path

from .. import subvolume, tree

_INDEX = "index"


def prepare(files: Path) -> None:
    """Make the empty tree of a spare: of a template, where there can be one."""
    if subvolume.can_be(files.parent):
        subvolume.create(files)
    else:
        files.mkdir()


def copy(template: Path, origin: Path, admin: Path, files: Path) -> bool:
    """Make `files` a snapshot of the tree `origin` of a template, and `admin` a git directory with its index. False where that cannot be, or it was
    taken away meanwhile: nothing is left of it then."""
    try:
        index = (template / _INDEX).read_bytes()
        admin.mkdir()
        (admin / _INDEX).write_bytes(index)
        tree.hand_over(admin / _INDEX)  # and the snapshot waits for it as for all that was written before
        subvolume.snapshot(origin, files)
        template.lstat()
    except OSError:
        subvolume.remove(files)
        tree.remove(admin)
        return False
    return True
