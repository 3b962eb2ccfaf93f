"""What must hold whenever nobody is at work, whatever was done to those who were: looked at from outside, and by `doctor`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

from workspaces import Project


def broken(root: Path) -> list[str]:
    """Open the project at `root`, which ends what dead processes left, and return all that is not as it must be. Nothing, when all is whole."""
    project = Project.open(root)
    project.status()
    return [*_by_doctor(project), *_at_rest(project), *_on_disk(project), *(_in_git(project) if (root / ".git").is_dir() else ())]


def _by_doctor(project: Project) -> Iterator[str]:
    yield from (f"doctor: {finding.check}: {finding.message}" for finding in project.doctor().findings if not finding.ok)


def _at_rest(project: Project) -> Iterator[str]:
    yield from (f"{each.verb} {each.id} was never ended" for each in project.log(10_000).operations if each.state == "started")


def _on_disk(project: Project) -> Iterator[str]:
    """The folders are those of the workspaces, and nothing of a dead call is left beside them."""
    known = {workspace.name for workspace in project.status(detail="names").workspaces} - {"main"}
    folder = project.root / ".workspaces"
    there = {entry.name for entry in folder.iterdir()} - {".gitignore", ".state", ".trash"} if folder.is_dir() else set[str]()
    yield from (f"the folder of {name} is missing" for name in sorted(known - there))
    yield from (f"{name} lies among the workspaces and is none" for name in sorted(there - known))
    homes = (project.root / ".git" / "workspaces", project.root / ".workspaces" / ".state")
    for place in (home / part for home in homes for part in ("new", "staging", "moves")):
        left = [entry for entry in place.glob("*") if not entry.name.endswith(".done")] if place.is_dir() else []
        yield from (f"{entry} was left behind" for entry in left)


def _in_git(project: Project) -> Iterator[str]:
    names = [workspace.name for workspace in project.status(detail="names").workspaces if workspace.backend == "worktree"]
    listed = _git(project.root, "worktree", "list", "--porcelain")
    if names and listed.count("worktree ") != len(names):
        yield f"git lists other worktrees than {names}: {listed}"
    if said := _git(project.root, "fsck", "--connectivity-only", "--no-dangling"):
        yield f"git fsck: {said}"


def _git(root: Path, *args: str) -> str:
    done = subprocess.run(["git", *args], cwd=root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"{done.returncode}: {done.stderr.strip()}"
