"""A short form of `make powercut`, and each verb alone: on a quiet disk nothing but the verb itself makes durable what it did."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from campaigns.disks import Disk, disk, missing
from campaigns.powercut import cuts, start_anew
from campaigns.stage import KINDS, UNCOMMITTED, in_memory, project
from conformance.forking import program, python
from support import Instead, Repo

from workspaces.model import Status


@pytest.fixture
def memory() -> Generator[Path]:
    """A folder in memory, where there is room for files."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        yield Path(folder).resolve()


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_acknowledged_is_there_when_the_power_goes(kind: str, memory: Path) -> None:
    if reason := missing("ext4"):
        pytest.skip(reason)
    tally = cuts(kind, "ext4", memory, agents=4, many=3, seed="short")
    assert (tally.tried, tally.broke) == (3, [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["ext4", "xfs", "btrfs"])
def test_each_verb_makes_durable_what_it_acknowledged(form: str, kind: str, memory: Path, instead: Instead) -> None:
    """Also when others have the file system written out before each rename of a ref: from then on btrfs has forgotten that somebody had asked for
    the file, and does not note its new name for the next one who asks for anything."""
    if reason := missing(form):
        pytest.skip(reason)
    hook = memory / "hooks" / "reference-transaction"
    hook.parent.mkdir()
    hook.write_text(f'#!/bin/sh\n[ "$1" != prepared ] || sync -f {memory / "disk"}\n')
    hook.chmod(0o755)
    instead(f'*update-ref*) exec $real -c core.hooksPath={hook.parent} "$@"')
    with disk(form, memory) as made:
        root = made.point / "shop"
        images = worked(made, root, kind)
        for image, verb in zip(images, VERBS, strict=True):
            with made.mounted(image):
                start_anew(root)
                verb.check(root)
                assert not is_git(root) or Repo(root).git("fsck", "--connectivity-only", "--no-dangling") == ""


@pytest.mark.parametrize("form", ["ext4", "xfs", "btrfs"])
def test_files_that_were_on_their_way_when_the_power_went_are_made_again(form: str, memory: Path) -> None:
    if reason := missing(form):
        pytest.skip(reason)
    with disk(form, memory) as made:
        root = made.point / "shop"
        with made.mounted(made.image):
            project("worktree", root)
            subprocess.run(["sync", "-f", str(root)], check=True)
            subprocess.run([*python(), "-c", DIES, str(root)], check=True)
            image = made.cut(0)
        with made.mounted(image):
            there = [file for file in (root / ".workspaces" / "fix").rglob("*") if file.is_file() and file.stat().st_size]
            start_anew(root)
            cloned(root)
            again = [file for file in (root / ".workspaces" / "fix").rglob("*") if file.is_file() and file.stat().st_size]
            assert len(again) > len(there), "nothing was lost, so nothing was tried"
            assert Repo(root).git("fsck", "--connectivity-only", "--no-dangling") == ""


DIES = """
import os, sys
from pathlib import Path
from workspaces import Project
project = Project.open(Path(sys.argv[1]))
project._write_out = lambda: None
project.clone(name="fix")
os._exit(0)
"""


def worked(made: Disk, root: Path, kind: str) -> list[Path]:
    """Do one thing after the other, and return what was on the disk after each."""
    images: list[Path] = []
    with made.mounted(made.image):
        project(kind, root)
        for verb in VERBS:
            verb.prepare(root)
            subprocess.run(["sync", "-f", str(root)], check=True)
            said(root, *verb.command)
            images.append(made.cut(len(images)))
    return images


def said(root: Path, *command: str) -> dict[str, object]:
    done = subprocess.run([*program(), *command, "--json"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr + done.stdout
    found: dict[str, object] = json.loads(done.stdout)
    return found


def names(root: Path) -> list[str]:
    return sorted(each.name for each in Status.model_validate(said(root, "list")).workspaces)


def edited(root: Path, workspace: str = "") -> Path:
    return root / (f".workspaces/{workspace}" if workspace else "") / "src" / "part1" / "file1.py"


def is_git(root: Path) -> bool:
    return (root / ".git").is_dir()


def made_whole(root: Path, *clones: str) -> None:
    """Look whether the last of some clones is whole, and what each began with is held."""
    assert names(root) == sorted(("main", *clones))
    last = root / ".workspaces" / clones[-1]
    assert (last / UNCOMMITTED).read_text() == (root / UNCOMMITTED).read_text()
    if is_git(root):
        assert Repo(last).status() == [f" M {UNCOMMITTED}"]
        assert Repo(root).git("for-each-ref", "refs/workspaces").count("/base") == len(clones)


def cloned(root: Path) -> None:
    made_whole(root, "fix")


def taken(root: Path) -> None:
    assert edited(root, "quick").read_text() == "merge"
    made_whole(root, "fix", "quick")


def merged(root: Path) -> None:
    assert edited(root).read_text() == "merge"
    assert not is_git(root) or Repo(root).status() == [f" M {UNCOMMITTED}"]


def undone(root: Path) -> None:
    assert edited(root).read_text().startswith("value")
    assert not is_git(root) or Repo(root).status() == [f" M {UNCOMMITTED}"]


def kept(root: Path) -> None:
    edited(root, "fix").write_text("lost")
    said(root, "restore", "fix", "fix@1")
    assert edited(root, "fix").read_text() == "checkpoint"


def deleted(root: Path) -> None:
    assert names(root) == ["main", "quick"]
    said(root, "restore", "fix")
    assert edited(root, "fix").read_text() == "checkpoint"


def restored(root: Path) -> None:
    assert names(root) == ["fix", "main", "quick"]
    assert edited(root, "fix").read_text() == "checkpoint"


def edits(text: str) -> Callable[[Path], object]:
    return lambda root: edited(root, "fix").write_text(text)


def prepares(root: Path) -> None:
    subprocess.run([*python(), "-c", PREPARES, str(root)], check=True)


PREPARES = """
import sys
from pathlib import Path
from workspaces import Project
Project.open(Path(sys.argv[1])).prepare(1)
"""


@dataclass(frozen=True)
class Verb:
    command: Sequence[str]
    check: Callable[[Path], None]
    """Whether what it acknowledged is there."""
    prepare: Callable[[Path], object] = lambda _: None


VERBS = (
    Verb(("clone", "--name", "fix"), cloned),
    Verb(("merge", "fix"), merged, edits("merge")),
    Verb(("clone", "--name", "quick"), taken, prepares),
    Verb(("checkpoint", "fix"), kept, edits("checkpoint")),
    Verb(("delete", "fix", "--discard-unmerged"), deleted),
    Verb(("restore", "fix"), restored),
    Verb(("undo",), deleted),
    Verb(("restore", "main"), undone),
)
