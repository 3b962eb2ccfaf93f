"""Agreement with git on merges recorded from its own tests; skipped where the recordings are not."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TypedDict

import pytest
from support import Repo

from workspaces.backend import Backend, choose, find
from workspaces.errors import WorkspacesError
from workspaces.model import Snapshot, Workspace

ORACLE = Path(__file__).parents[2] / "shared" / "oracle" / "merge"


Case = TypedDict("Case", {"id": str, "ours": str, "theirs": str, "kind": str, "tree": str, "agree_2.39_2.55": bool})


@cache
def cases() -> list[Case]:
    file = ORACLE / "cases.json"
    return json.loads(file.read_text()) if file.exists() else []


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """One repository with the objects of all cases."""
    if not ORACLE.exists():
        pytest.skip(f"no recorded merges at {ORACLE}")
    repo = Repo.create(tmp_path_factory.mktemp("oracle") / "store")
    repo.git("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "commit", "-q", "--allow-empty", "-m", "start")
    for case in cases():
        bundle = ORACLE / "bundles" / f"{case['id']}.bundle"
        if bundle.exists():
            repo.git("-c", "core.fsync=none", "bundle", "unbundle", str(bundle))
    repo.git("repack", "-adkq")
    return repo


def test_every_recorded_merge(store: Repo) -> None:
    backend = find(store.path)
    backend.initialize()
    trees = _trees(store, [case[side] for case in cases() for side in ("ours", "theirs")])
    with backend.aside() as view:
        wrong = {case["id"]: why for case in cases() if (why := _disagreement(store, view, case, trees))}
    assert len(cases()) > 300
    assert wrong == {}


def _disagreement(store: Repo, view: Backend, case: Case, trees: Mapping[str, str]) -> str:
    """Return in what we differ from git, or nothing. What git refuses or dies of must be an error of ours."""
    ours, theirs = (Snapshot(id=case[side], contents=trees[case[side]], head=case[side]) for side in ("ours", "theirs"))
    try:
        merged = view.merge(ours, theirs)
    except WorkspacesError as error:
        return "" if case["kind"] not in ("clean", "conflict") else error.message
    paths = {conflict.path for conflict in merged.conflicts}
    if case["kind"] == "clean" and case["agree_2.39_2.55"]:
        return "" if merged.contents == case["tree"] and not paths else f"{merged.contents} {paths}"
    if case["kind"] == "conflict" and case["agree_2.39_2.55"]:
        return "" if paths == _conflicting(store, case) else f"{paths} instead of {_conflicting(store, case)}"
    return ""


def test_every_recorded_merge_of_folders(store: Repo, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """The same by folders: each commit is laid out as one, and its snapshot descends from those of its parents. All of them with --whole
    (`make published`), every other one without."""
    root = tmp_path / "project"
    root.mkdir()
    backend = choose(root, "directory")
    backend.initialize()
    # What is beyond a folder: a submodule is a commit of another repository, which no file can be.
    asked = cases() if pytestconfig.getoption("--whole") else cases()[::2]
    expressible = [case for case in asked if not _has_submodules(store, case)]
    with backend.aside() as view:
        folders = Folders(store, view, root)
        wrong = {case["id"]: why for case in expressible if (why := folders.disagreement(case))}
    assert len(expressible) > 0.8 * len(asked)
    assert wrong == {}


class Folders:
    """The commits of a repository as snapshots of folders."""

    def __init__(self, store: Repo, view: Backend, root: Path) -> None:
        self.store, self.view, self.root = store, view, root
        self._known: dict[str, Snapshot] = {}

    def disagreement(self, case: Case) -> str:
        ours, theirs = self.snapshot(case["ours"]), self.snapshot(case["theirs"])
        try:
            merged = self.view.merge(ours, theirs)
        except WorkspacesError as error:
            return "" if case["kind"] not in ("clean", "conflict") else error.message
        paths = {conflict.path for conflict in merged.conflicts}
        if case["kind"] == "clean" and case["agree_2.39_2.55"]:
            tree = self._tree_of(merged.contents, case["id"])
            return "" if tree == case["tree"] and not paths else f"{tree} {paths}"
        if case["kind"] == "conflict" and case["agree_2.39_2.55"]:
            expected = _conflicting(self.store, case)
            return "" if paths == expected else f"{paths} instead of {expected}"
        return ""

    def snapshot(self, commit: str) -> Snapshot:
        for name in self.store.git("rev-list", "--reverse", "--topo-order", "--parents", commit).splitlines():
            made, *parents = name.split()
            if made not in self._known:
                place = self._place(made)
                self._lay_out(made, Path(place.location))
                self._known[made] = self.view.snapshot(place, [self._known[parent].id for parent in parents])
        return self._known[commit]

    def _place(self, name: str) -> Workspace:
        location = self.root / ".workspaces" / name
        location.mkdir(parents=True, exist_ok=True)
        about = {"id": f"project/{name}", "name": name, "project": "project", "backend": "directory", "isolation": "", "state": "ready"}
        return Workspace.model_validate({**about, "uid": name, "location": str(location), "created": datetime.now(UTC)})

    def _lay_out(self, commit: str, folder: Path) -> None:
        entries = _entries(self.store, commit)
        for (mode, _, name), data in zip(entries, self._blobs([blob for _, blob, _ in entries]), strict=True):
            place = folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if mode == "120000":
                place.symlink_to(os.fsdecode(data))
            else:
                place.write_bytes(data)
                place.chmod(0o755 if mode == "100755" else 0o644)

    def _blobs(self, names: list[str]) -> Iterator[bytes]:
        asked = "".join(f"{name}\n" for name in names).encode()
        told = subprocess.run(["git", "cat-file", "--batch"], cwd=self.store.path, input=asked, capture_output=True, check=True).stdout
        at = 0
        for _ in names:
            start = told.index(b"\n", at) + 1
            size = int(told[at:start].split()[2])
            yield told[start : start + size]
            at = start + size + 1

    def _tree_of(self, contents: str, name: str) -> str:
        """Return git's name for what a folder made of a merge's result holds."""
        clone = self._place(f"result-{name}")
        Path(clone.location).rmdir()
        self.view.fork(Snapshot(id="", contents=contents), clone, self._place("source"))
        folder = Path(clone.location)
        files = sorted(path for path in folder.rglob("*") if path.is_symlink() or path.is_file())
        rows = [f"{_mode(file)} {blob}\t{file.relative_to(folder)}\0" for file, blob in zip(files, self._hashed(files), strict=True)]
        index = {**os.environ, "GIT_INDEX_FILE": str(self.root / f"index-{name}")}
        put = ["git", "update-index", "-z", "--index-info"]
        subprocess.run(put, cwd=self.store.path, env=index, input="".join(rows).encode(), check=True)
        made = subprocess.run(["git", "write-tree"], cwd=self.store.path, env=index, capture_output=True, check=True)
        return made.stdout.decode().strip()

    def _hashed(self, files: list[Path]) -> Iterator[str]:
        """Yield the names of what the files hold, all written by one git; and of each link, which says where it leads."""
        plain = "".join(f"{file}\n" for file in files if not file.is_symlink()).encode()
        put = ["git", "hash-object", "-w", "--no-filters", "--stdin-paths"]
        said = iter(subprocess.run(put, cwd=self.store.path, input=plain, capture_output=True, check=True).stdout.decode().split())
        for file in files:
            yield self._linked(file) if file.is_symlink() else next(said)

    def _linked(self, file: Path) -> str:
        put = ["git", "hash-object", "-w", "--stdin"]
        made = subprocess.run(put, cwd=self.store.path, input=os.fsencode(file.readlink()), capture_output=True, check=True)
        return made.stdout.decode().strip()


def _mode(file: Path) -> str:
    return "120000" if file.is_symlink() else "100755" if file.stat().st_mode & 0o100 else "100644"


@cache
def _entries(store: Repo, commit: str) -> list[tuple[str, str, str]]:
    """Return the mode, object and name of each file of a commit."""
    rows = (row.split("\t", 1) for row in store.git("ls-tree", "-r", "-z", commit).split("\0")[:-1])
    return [(about.split()[0], about.split()[2], name) for about, name in rows]


def _has_submodules(store: Repo, case: Case) -> bool:
    commits = store.git("rev-list", case["ours"], case["theirs"], check=False).split()
    return any(mode == "160000" for commit in commits for mode, _, _ in _entries(store, commit))


def _conflicting(store: Repo, case: Case) -> set[str]:
    """Return the paths on which git itself leaves more than one version, without the name of the side that it moved out of the way."""
    said = store.git("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", case["ours"], case["theirs"], check=False)
    return {name.removesuffix(f"~{case['ours']}").removesuffix(f"~{case['theirs']}") for name in said.split("\0")[1:] if name}


def _trees(repo: Repo, commits: list[str]) -> dict[str, str]:
    """Return the tree of each commit; nothing of one that is not there."""
    asked = "".join(f"{commit}^{{tree}}\n" for commit in commits)
    command = ["git", "cat-file", "--batch-check=%(objectname) %(objecttype)"]
    said = subprocess.run(command, cwd=repo.path, input=asked, capture_output=True, text=True, check=True).stdout.splitlines()
    return {commit: line.removesuffix(" tree") if line.endswith(" tree") else "" for commit, line in zip(commits, said, strict=True)}
