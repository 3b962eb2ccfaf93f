"""What a workspace or its surroundings hold is never executed, and never leads git elsewhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from support import Repo, clone, fingerprint, hidden

from workspaces import Project
from workspaces.errors import UntrustedConfig, WorkspacesError


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
    repo.write(".gitattributes", "* diff=evil merge=evil\n*.dat filter=evil\n")
    repo.write("a.dat", "data\n")
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


def test_a_filter_of_one_worktree_does_not_run(project: Project, repo: Repo, tripwire: Path) -> None:
    fix = clone(project, "fix")
    repo.git("config", "extensions.worktreeConfig", "true")
    fix.git("config", "--worktree", "filter.evil.clean", str(tripwire))
    fix.write(".gitattributes", "* filter=evil\n")
    fix.write("cart.py", "mine\n")
    project.compare(["fix"])
    project.status()
    assert not (tripwire.parent / "tripped").exists()


def test_a_filter_of_a_file_that_is_included_in_worktrees_alone_does_not_run(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    repo.write(".git/included", '[filter "evil"]\n\tclean = "sed s/mine/evil/"\n')
    repo.git("config", "includeIf.gitdir:**/worktrees/**.path", "included")
    fix.write(".gitattributes", "* filter=evil\n")
    fix.write("cart.py", "mine\n")
    assert "evil\n" not in project.compare(["fix"], detail="diff").diff.replace("filter=evil", "")
    with suppress(UntrustedConfig):
        project.merge("fix")
    assert repo.read("cart.py") != "evil\n"


def test_a_filter_of_an_included_file_does_not_run(project: Project, repo: Repo, tripwire: Path) -> None:
    fix = clone(project, "fix")
    included = repo.write(".git/included", "")
    repo.git("config", "include.path", "included")
    fix.write(".gitattributes", "* filter=evil\n")
    project.compare(["fix"])
    included.write_text(f'[filter "evil"]\n\tclean = {tripwire}\n')
    fix.write("cart.py", "mine\n")
    project.compare(["fix"])
    assert not (tripwire.parent / "tripped").exists()


@pytest.mark.parametrize("setting", ["", "submodule.lib.ignore"])
def test_a_filter_of_a_submodule_does_not_run(project: Project, repo: Repo, tmp_path: Path, tripwire: Path, setting: str) -> None:
    library = Repo.create(tmp_path / "library")
    library.write("a.txt", "a\n")
    library.commit("start")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library.path), "lib")
    if setting:
        repo.git("config", setting, "none")
    repo.commit("with a submodule")
    fix = clone(project, "fix")
    fix.git("-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init")
    inside = Repo(fix.path / "lib")
    inside.git("config", "filter.evil.clean", str(tripwire))
    inside.write(".gitattributes", "* filter=evil\n")
    # Of the same size, so that only reading the contents (through the filter) tells that it changed.
    inside.write("a.txt", "b\n")
    os.utime(fix.path / "lib" / "a.txt", (1, 1))
    loop(project, fix)
    project.clone("fix", name="of-the-clone")
    assert not (tmp_path / "tripped").exists()


def test_what_only_an_untrusted_filter_can_store_is_not_stored(project: Project, repo: Repo) -> None:
    """git-crypt and `lfs install --local` set up filters in the repository; without them, secrets would go into history in clear."""
    repo.git("config", "filter.crypt.clean", "base64")
    repo.git("config", "filter.crypt.smudge", "base64 -d")
    repo.write(".gitattributes", "*.key filter=crypt\n")
    repo.write("s.key", "SECRET\n")
    repo.commit("encrypted")
    made = project.clone(name="fix")
    assert "s.key" in made.warnings[0]
    fix = Repo(Path(made.workspaces[0].location))
    fix.write("s.key", "SECRET 2\n")
    fix.write("cart.py", "mine\n")
    before = fingerprint(repo)
    with pytest.raises(UntrustedConfig, match=r"s\.key"):
        project.merge("fix")
    assert fingerprint(repo) == before
    assert project.merge("fix", paths=["cart.py"]).status == "merged"


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
        {
            "GIT_TRACE": "{trap}/trace",
            "GIT_TRACE2_EVENT": "{trap}/trace2",
            "GIT_TRACE_PACKET": "{trap}/trace3",
            "GIT_TRACE_SETUP": "{trap}/trace4",
        },
        {"GIT_EXEC_PATH": "{trap}", "GIT_TEMPLATE_DIR": "{trap}", "GIT_ATTR_SOURCE": "HEAD", "GIT_GRAFT_FILE": "{trap}/x"},
        {"GIT_SSH_COMMAND": "{tripwire}", "GIT_PROXY_COMMAND": "{tripwire}", "GIT_PAGER": "{tripwire}", "GIT_EDITOR": "{tripwire}"},
        {"PAGER": "{tripwire}", "EDITOR": "{tripwire}", "VISUAL": "{tripwire}", "LESSOPEN": "|{tripwire} %s", "SSH_ASKPASS": "{tripwire}"},
        {"GIT_ALTERNATE_OBJECT_DIRECTORIES": "{trap}/.git/objects", "GIT_SHALLOW_FILE": "{trap}/x", "GIT_QUARANTINE_PATH": "{trap}"},
        {"GIT_GLOB_PATHSPECS": "1", "GIT_ICASE_PATHSPECS": "1", "GIT_INDEX_VERSION": "4", "GIT_REPLACE_REF_BASE": "refs/x/"},
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


@pytest.mark.parametrize("leak", ["GIT_PYTHON_GIT_EXECUTABLE", "GIT_TRACE", "GIT_TRACE2", "GIT_EXEC_PATH"])
def test_nor_does_the_first_git_of_a_process(project: Project, repo: Repo, tmp_path: Path, tripwire: Path, leak: str) -> None:
    value = tripwire if leak.endswith("EXECUTABLE") else tmp_path / "tripped"
    command = [
        sys.executable,
        "-c",
        "import sys; from pathlib import Path; from workspaces import Project; Project.open(Path(sys.argv[1])).status()",
    ]
    subprocess.run([*command, repo.path], env={**os.environ, leak: str(value)}, check=True)
    assert not (tmp_path / "tripped").exists()


@pytest.mark.parametrize(("name", "path"), [("GIT_CONFIG_GLOBAL", "near"), ("XDG_CONFIG_HOME", "near/git/config"), ("PATH", "near/git")])
def test_what_the_environment_names_from_where_it_is_is_not_looked_for_in_a_workspace(
    project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch, name: str, path: str
) -> None:
    fix = clone(project, "fix")
    fix.write(".gitattributes", "* filter=evil\n")
    fix.write("cart.py", "mine\n")
    fix.write(path, "#!/bin/sh\nexit 3\n" if name == "PATH" else '[filter "evil"]\n\tclean = sed s/mine/evil/\n').chmod(0o755)
    hidden(fix, "notes.md")
    monkeypatch.chdir(repo.path)
    monkeypatch.setenv(name, f"./near:{os.environ['PATH']}" if name == "PATH" else "near")
    assert "+mine" in project.compare(["fix"], detail="diff").diff


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
    assert repo.git("log", "-1", "--format=%B") == "--amend\n\n$(touch pwned)?"


def test_a_commit_that_looks_like_a_snapshot_is_a_commit(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "mine\n")
    forged = ["-c", "user.name=mcp-workspaces snapshot", "-c", "user.email=snapshot@workspaces.invalid"]
    fix.git(*forged, "commit", "-qam", f"snapshot\n\nhead {'1' * 40}")
    fix.git(*forged, "commit", "-q", "--allow-empty", "-m", "snapshot", "-m", "hello world")
    assert project.compare(["fix"]).workspaces[0].files_changed == 1
    assert project.merge("fix", message="snapshot\n\nof the day").status == "merged"
    assert project.compare([clone(project, "two").path.name]).workspaces[0].files_changed == 0


def test_a_folder_of_workspaces_that_becomes_a_link_is_not_followed(project: Project, repo: Repo, tmp_path: Path) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    shutil.move(repo.path / ".workspaces", tmp_path / "elsewhere")
    (repo.path / ".workspaces").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WorkspacesError):
        project.merge("main", "fix")
    with pytest.raises(WorkspacesError):
        project.delete(["fix"], discard_unmerged=True)
    assert (tmp_path / "elsewhere" / "fix" / "cart.py").read_text() == "mine\n"
