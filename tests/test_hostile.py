"""What a workspace or its surroundings hold is never executed, and never leads git elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import Repo, clone, fingerprint

from workspaces import Project


@pytest.fixture
def tripwire(tmp_path: Path) -> Path:
    """A script that leaves a trace when anybody runs it."""
    script = tmp_path / "tripwire.sh"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/tripped\ncat\n")
    script.chmod(0o755)
    return script


def loop(project: Project, fix: Repo) -> None:
    """Do everything once with a workspace."""
    fix.write("cart.py", "mine\n")
    project.compare(["fix"], detail="diff")
    project.status()
    project.checkpoint("fix")
    project.merge("fix")
    clone(project, "other", source="fix")
    fix.write("cart.py", "again\n")
    project.restore("fix")
    project.merge("main", "fix")
    project.delete(["other", "fix"], discard_unmerged=True)
    project.restore("fix")
    project.restore("main")


def test_drivers_and_hooks_of_the_repository_do_not_run(project: Project, repo: Repo, tripwire: Path) -> None:
    fix = clone(project, "fix")
    repo.write(".gitattributes", "* filter=evil diff=evil merge=evil\n")
    repo.commit("attributes")
    project.merge("main", "fix")
    for key in ("filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "diff.evil.textconv", "diff.evil.command"):
        repo.git("config", key, str(tripwire))
    repo.git("config", "filter.evil.required", "true")
    repo.git("config", "merge.evil.driver", f"{tripwire} %O %A %B")
    repo.git("config", "core.fsmonitor", str(tripwire))
    repo.git("config", "diff.external", str(tripwire))
    repo.git("config", "hook.evil.command", str(tripwire))
    repo.git("config", "hook.evil.event", "reference-transaction")
    hooks = repo.path / ".git" / "hooks"
    for name in ("post-checkout", "pre-commit", "post-commit", "reference-transaction", "post-index-change", "post-merge"):
        shutil.copy(tripwire, hooks / name)
    repo.git("config", "core.hooksPath", str(hooks))
    loop(project, fix)
    assert not (tripwire.parent / "tripped").exists()


def test_a_filter_that_appears_later_does_not_run_either(project: Project, repo: Repo, tripwire: Path) -> None:
    fix = clone(project, "fix")
    project.compare(["fix"])
    fix.write(".gitattributes", "* filter=evil\n")
    repo.git("config", "filter.evil.clean", str(tripwire))
    fix.write("cart.py", "mine\n")
    project.compare(["fix"])
    assert not (tripwire.parent / "tripped").exists()


def test_the_persons_own_filters_run(project: Project, repo: Repo, home: Path) -> None:
    with (home / ".gitconfig").open("a") as config:
        config.write('[filter "upper"]\n\tclean = tr a-z A-Z\n\tsmudge = tr A-Z a-z\n')
    repo.write(".gitattributes", "*.up filter=upper\n")
    repo.write("a.up", "text\n")
    repo.commit("filtered")
    fix = clone(project, "fix")
    assert (fix.read("a.up"), fix.git("show", ":a.up"), fix.status()) == ("text\n", "TEXT", [])
    fix.write("a.up", "more\n")
    project.merge("fix")
    assert (repo.read("a.up"), repo.git("show", "HEAD:a.up")) == ("more\n", "MORE")


@pytest.mark.parametrize("swap", ["pointer", "link", "folder", "missing"])
def test_a_swapped_git_file_leads_nowhere(project: Project, repo: Repo, tmp_path: Path, tripwire: Path, swap: str) -> None:
    fix = clone(project, "fix")
    trap = Repo.create(tmp_path / "trap")
    trap.write("x", "x\n")
    trap.commit("x")
    trap.git("config", "core.fsmonitor", str(tripwire))
    shutil.copy(tripwire, trap.path / ".git" / "hooks" / "post-checkout")
    pointer = fix.path / ".git"
    pointer.unlink()
    match swap:
        case "pointer":
            pointer.write_text(f"gitdir: {trap.path}/.git\n")
        case "link":
            pointer.symlink_to(trap.path / ".git")
        case "folder":
            shutil.copytree(trap.path / ".git", pointer)
        case _:
            pass
    loop(project, fix)
    assert not (tmp_path / "tripped").exists()
    assert Project.open(fix.path).root == project.root


@pytest.mark.parametrize(
    "leak",
    [
        {"GIT_DIR": "{trap}/.git"},
        {"GIT_WORK_TREE": "{trap}"},
        {"GIT_INDEX_FILE": "{trap}/index"},
        {"GIT_OBJECT_DIRECTORY": "{trap}/.git/objects"},
        {"GIT_COMMON_DIR": "{trap}/.git"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor", "GIT_CONFIG_VALUE_0": "{tripwire}"},
        {"GIT_CONFIG_COUNT": "99", "GIT_CONFIG_KEY_60": "core.fsmonitor", "GIT_CONFIG_VALUE_60": "{tripwire}"},
        {"GIT_CONFIG_PARAMETERS": "'core.fsmonitor'='{tripwire}'"},
        {"GIT_EXTERNAL_DIFF": "{tripwire}"},
        {"GIT_NAMESPACE": "elsewhere", "GIT_PREFIX": "auth/", "GIT_DEFAULT_HASH": "sha256"},
    ],
)
def test_git_variables_around_us_change_nothing(
    project: Project, repo: Repo, tmp_path: Path, tripwire: Path, monkeypatch: pytest.MonkeyPatch, leak: dict[str, str]
) -> None:
    trap = Repo.create(tmp_path / "trap")
    trap.write("x", "x\n")
    trap.commit("x")
    fix = clone(project, "fix")
    before = fingerprint(trap)
    with monkeypatch.context() as surroundings:
        for name, value in leak.items():
            surroundings.setenv(name, value.format(trap=trap.path, tripwire=tripwire))
        project = Project.initialize(repo.path)
        fix.write("cart.py", "mine\n")
        assert project.compare(["fix"]).workspaces[0].files_changed == 1
        assert project.merge("fix", delete_source=True).status == "merged"
        clone(project, "two")
        project.restore("main")
    assert fingerprint(trap) == before
    assert not (tmp_path / "tripped").exists()
    assert repo.status() == []


def test_carried_files_are_not_read_through_links(project: Project, repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.log").write_text("secret\n")
    (repo.path / "build").symlink_to(tmp_path / "outside")
    repo.write(".gitignore", "*.log\nbuild\n")
    repo.write(".worktreeinclude", "*.log\nbuild\n")
    fix = clone(project, "fix")
    assert (fix.path / "build").is_symlink()
    assert not (fix.path / "build" / "secret.log").is_file() or (fix.path / "build").readlink() == tmp_path / "outside"


def test_a_hostile_index_name_or_message_is_only_text(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("$(touch pwned)", "x\n")
    fix.write("; touch pwned", "x\n")
    project.merge("fix", message="--amend\n\n$(touch pwned)\x00\n")
    assert "pwned" not in [entry.name for entry in repo.path.iterdir()]
    assert repo.git("log", "-1", "--format=%B") == "--amend\n\n$(touch pwned)"
