"""Agreement with git on merges recorded from its own tests; skipped where the recordings are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import pytest
from support import Repo

from workspaces.backend import Backend, find
from workspaces.errors import WorkspacesError
from workspaces.model import Snapshot

ORACLE = Path(__file__).parents[2] / "shared" / "oracle" / "merge"


Case = TypedDict("Case", {"id": str, "ours": str, "theirs": str, "kind": str, "tree": str, "agree_2.39_2.55": bool})


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
            repo.git("fetch", "-q", str(bundle), f"+refs/cap/*:refs/cap/{case['id']}/*")
    return repo


def test_every_recorded_merge(store: Repo) -> None:
    backend = find(store.path)
    backend.initialize()
    with backend.aside() as view:
        wrong = {case["id"]: why for case in cases() if (why := _disagreement(store, view, case))}
    assert len(cases()) > 300
    assert wrong == {}


def _disagreement(store: Repo, view: Backend, case: Case) -> str:
    """Return in what we differ from git, or nothing. What git refuses or dies of must be an error of ours."""
    ours, theirs = (Snapshot(id=case[side], contents=_tree(store, case[side]), head=case[side]) for side in ("ours", "theirs"))
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


def _conflicting(store: Repo, case: Case) -> set[str]:
    """Return the paths on which git itself leaves more than one version, without the name of the side that it moved out of the way."""
    said = store.git("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", case["ours"], case["theirs"], check=False)
    return {name.removesuffix(f"~{case['ours']}").removesuffix(f"~{case['theirs']}") for name in said.split("\0")[1:] if name}


def _tree(repo: Repo, commit: str) -> str:
    return repo.git("rev-parse", "--verify", "-q", f"{commit}^{{tree}}", check=False)
