"""A snapshot is the tree that git makes of all that is there, whichever way it is found out: by what `git status` tells, or by the whole index."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import OLD_MODES, Instead, Repo, at, clone, hidden, with_old_modes

from workspaces import Project, WorkspacesError

Act = Callable[[Repo], object]
ROUNDS = 12


def added(repo: Repo) -> str:
    """Return the tree that git makes of all that is there."""
    index = Path(repo.git("rev-parse", "--absolute-git-dir")) / "index"
    other = index.with_name("index-of-test")
    shutil.copy2(index, other)
    environment = {**os.environ, "GIT_INDEX_FILE": str(other), "GIT_CONFIG_NOSYSTEM": "1"}
    for command in (["add", "-A"], ["write-tree"]):
        done = subprocess.run(["git", *command], cwd=repo.path, env=environment, capture_output=True, text=True, check=True)
    other.unlink()
    return done.stdout.strip()


def frozen(project: Project, repo: Repo, name: str) -> str:
    """Return the tree of a snapshot of a workspace."""
    point = project.checkpoint(name).restore_point.rpartition("@")[2]
    (ref,) = repo.git("for-each-ref", "--format=%(refname)", f"refs/workspaces/**/at/{point}").split()
    tree = repo.git("rev-parse", f"{ref}^{{tree}}")
    repo.git("update-ref", "-d", ref)
    return tree


@pytest.fixture
def looked_at(instead: Instead) -> None:
    """Fail when all that is there would be added to an index: what changed tells it all."""
    instead("*--no-pager*add*-A*) exit 1")


def folder_in_place_of_a_file(repo: Repo) -> None:
    (repo.path / "cart.py").unlink()
    repo.write("cart.py/inner.py", "inner\n")


def file_in_place_of_a_folder(repo: Repo) -> None:
    shutil.rmtree(repo.path / "auth")
    repo.write("auth", "file\n")


def link_in_place_of_a_folder(repo: Repo) -> None:
    shutil.rmtree(repo.path / "auth")
    (repo.path / "auth").symlink_to("..")


def staged_and_changed_again(repo: Repo) -> None:
    repo.write("cart.py", "staged\n")
    repo.git("add", "cart.py")
    repo.write("cart.py", "more\n")


def unstaged_but_there(repo: Repo) -> None:
    repo.git("rm", "-q", "--cached", "cart.py")


def staged_and_gone(repo: Repo) -> None:
    repo.write("new.py", "new\n")
    repo.git("add", "new.py")
    (repo.path / "new.py").unlink()


def all_gone(repo: Repo) -> None:
    for name in ("cart.py", "notes.md", ".gitignore", "auth/api.py"):
        (repo.path / name).unlink()


PLAIN: dict[str, Act] = {
    "nothing": lambda repo: None,
    "changed": lambda repo: repo.write("cart.py", "other\n"),
    "touched": lambda repo: os.utime(repo.path / "cart.py", (1, 1)),
    "new": lambda repo: repo.write("a/b/c/d.txt", "new\n"),
    "new beside": lambda repo: repo.write("auth.py", "sorted between auth and auth/\n"),
    "empty": lambda repo: repo.write("empty", ""),
    "names like git's": lambda repo: [repo.write(name, name) for name in (".github/ci.yml", ".gitlab", "a/.gitkeep", ".gitignore")],
    "bytes": lambda repo: repo.write("image.png", bytes(range(256)) * 40 + b"\r\n"),
    "ends of lines": lambda repo: repo.write("cart.py", "one\r\ntwo\n"),
    "program": lambda repo: (repo.path / "cart.py").chmod(0o755),
    "new program": lambda repo: repo.write("run.sh", "#!/bin/sh\n").chmod(0o700),
    "link": lambda repo: (repo.path / "link").symlink_to("/etc/passwd"),
    "link to nothing": lambda repo: (repo.path / "auth/link").symlink_to("nowhere"),
    "ignored": lambda repo: repo.write("build/out.o", "ignored\n"),
    "gone": lambda repo: (repo.path / "auth/api.py").unlink(),
    "all gone": all_gone,
    "odd names": lambda repo: [repo.write(name, name) for name in ("a\nb", 'q"uote', "tab\there", "ünïcode", " lead", "-n", "dir\n/x")],
    "no UTF-8": lambda repo: Path(os.fsdecode(os.fsencode(repo.path) + b"/\xff\xfe")).write_text("bytes\n"),
    "folder in place of a file": folder_in_place_of_a_file,
    "file in place of a folder": file_in_place_of_a_folder,
    "link in place of a folder": link_in_place_of_a_folder,
    "staged": lambda repo: (repo.write("cart.py", "staged\n"), repo.git("add", "-A")),
    "staged, and again": staged_and_changed_again,
    "staged, and gone": staged_and_gone,
    "unstaged, but there": unstaged_but_there,
    "removed": lambda repo: repo.git("rm", "-q", "cart.py"),
    "moved": lambda repo: repo.git("mv", "auth", "login"),
    "names told short": lambda repo: (repo.git("update-index", "--index-version", "4"), repo.write("cart.py", "other\n")),
    "attributes of other things": lambda repo: (repo.write(".gitattributes", "*.py diff=python\n"), repo.write("cart.py", "a\r\n")),
    "text without ends that change": lambda repo: (repo.write(".gitattributes", "* text=auto\n"), repo.write("cart.py", "a\n")),
}


def attributes(rule: str, text: str) -> Act:
    return lambda repo: (repo.write(".gitattributes", rule), repo.write("cart.py", text), repo.write("new/cart.py", text))


def of_itself(repo: Repo) -> None:
    inner = Repo.create(repo.path / "inner")
    inner.write("file", "inner\n")
    inner.commit("inner")


def ignored_attributes(repo: Repo) -> None:
    Path(repo.git("rev-parse", "--git-common-dir"), "info/exclude").write_text(".gitattributes\n")
    attributes("*.py text\n", "one\r\n")(repo)


def modes_that_do_not_count(repo: Repo) -> None:
    repo.git("config", "core.fileMode", "false")
    repo.write("run.sh", "#!/bin/sh\n").chmod(0o755)


ODD: dict[str, Act] = {
    "text": attributes("*.py text\n", "one\r\ntwo\r\n"),
    "text, found out": attributes("* text=auto\n", "one\r\ntwo\r\n"),
    "identity": attributes("*.py ident\n", "$Id: 1234 $\n"),
    "encoding": attributes("*.py working-tree-encoding=UTF-16LE\n", "ab"),
    "attributes that are ignored": ignored_attributes,
    "intended": lambda repo: (repo.write("new.py", "new\n"), repo.git("add", "-N", "new.py")),
    "modes that do not count": modes_that_do_not_count,
    "many": lambda repo: [repo.write(f"many/{number}", f"{number}\n") for number in range(700)],
    "large": lambda repo: repo.write("large", os.urandom(20 << 20)),
    "deep": lambda repo: repo.write("/".join("d" * 120) + "/file", "deep\n"),
    "in two files": lambda repo: (repo.git("update-index", "--split-index"), repo.write("cart.py", "other\n")),
}


@pytest.mark.parametrize("what", PLAIN)
@pytest.mark.usefixtures("looked_at")
def test_what_changed_tells_it_all(project: Project, repo: Repo, what: str) -> None:
    fix = clone(project, "fix")
    PLAIN[what](fix)
    before = fix.status()
    assert frozen(project, repo, "fix") == added(fix)
    assert fix.status() == before


@pytest.mark.parametrize("what", ODD)
def test_what_it_does_not_tell_is_found_as_before(project: Project, repo: Repo, what: str) -> None:
    fix = clone(project, "fix")
    ODD[what](fix)
    before = fix.status()
    assert frozen(project, repo, "fix") == added(fix)
    assert fix.status() == before


@pytest.fixture
def library(repo: Repo, tmp_path: Path) -> Repo:
    """Return what is a submodule of the project."""
    found = Repo.create(tmp_path / "library")
    found.write("lib.py", "1\n")
    found.commit("start")
    repo.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(found.path), "lib")
    repo.commit("with a submodule")
    return found


def with_library(project: Project) -> Repo:
    """Return a clone that has the submodule's files too."""
    fix = clone(project, "fix")
    fix.git("-c", "protocol.file.allow=always", "submodule", "update", "-q", "--init")
    return fix


@pytest.mark.parametrize("setting", ["", "all", "none"])
@pytest.mark.usefixtures("looked_at", "library")
def test_a_submodule_that_did_not_move_is_nothing_odd(project: Project, repo: Repo, setting: str) -> None:
    fix = with_library(project)
    if setting:
        fix.git("config", "submodule.lib.ignore", setting)
    fix.write("cart.py", "mine\n")
    fix.write("lib/lib.py", "what nobody sees from outside\n")
    assert frozen(project, repo, "fix") == added(fix)
    for each in (fix, repo):  # as it is when nobody fetched it, and as files of a checkout
        shutil.rmtree(each.path / "lib")
        (each.path / "lib").mkdir()
    assert frozen(project, repo, "fix") == added(fix)


@pytest.mark.parametrize("setting", ["", "all"])
@pytest.mark.usefixtures("library")
def test_a_submodule_that_moved_is_found_as_before(project: Project, repo: Repo, setting: str) -> None:
    fix = with_library(project)
    if setting:
        fix.git("config", "submodule.lib.ignore", setting)
    lib = Repo(fix.path / "lib")
    lib.write("lib.py", "2\n")
    head = lib.commit("moved")
    tree = frozen(project, repo, "fix")
    assert repo.git("rev-parse", f"{tree}:lib") == head
    if not setting:
        assert tree == added(fix)
        fix.git("add", "-A")
        assert frozen(project, repo, "fix") == tree


@pytest.mark.usefixtures("library")
def test_a_submodule_that_went_is_found_as_before(project: Project, repo: Repo) -> None:
    fix = with_library(project)
    shutil.rmtree(fix.path / "lib")
    assert frozen(project, repo, "fix") == added(fix)
    fix.write("lib", "a file in its place\n")
    assert frozen(project, repo, "fix") == added(fix)


def test_ends_of_lines_that_git_changes_are_told_by_the_configuration_too(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    for setting in ("true", "input"):
        repo.git("config", "core.autocrlf", setting)
        fix.write("new.py", f"one\r\n{setting}\r\n")
        assert frozen(project, repo, "fix") == added(fix)


@pytest.mark.parametrize("name", ["GIT~1", ".GIT", "a/.git ", ".git.", ".g\u200cit"])
def test_names_that_some_system_takes_for_git_are_refused_as_before(project: Project, repo: Repo, name: str) -> None:
    clone(project, "fix").write(f"{name}/config", "hostile\n")
    with pytest.raises(WorkspacesError):
        project.checkpoint("fix")
    assert not repo.git("for-each-ref", "refs/workspaces/**/at/*")


def test_ids_of_another_kind(tmp_path: Path) -> None:
    repo = Repo.create(tmp_path / "shop", "--object-format=sha256")
    repo.write("a/b.txt", "one\n")
    repo.commit("start")
    project = Project.initialize(repo.path)
    fix = clone(project, "fix")
    fix.write("a/b.txt", "two\n")
    fix.write("c/d/e.txt", "new\n")
    assert frozen(project, repo, "fix") == added(fix)


def test_two_repositories_of_the_same_trees(project: Project, repo: Repo, tmp_path: Path) -> None:
    """What is remembered of one is written to the other all the same."""
    fix = clone(project, "fix")
    fix.write("auth/new.py", "new\n")
    tree = frozen(project, repo, "fix")
    repo.git("clone", "-q", str(repo.path), str(tmp_path / "other"))
    other = Repo(tmp_path / "other")
    theirs = Project.initialize(other.path)
    clone(theirs, "fix").write("auth/new.py", "new\n")
    assert frozen(theirs, other, "fix") == tree
    assert theirs.merge("fix").status == "merged"
    assert other.git("fsck", "--strict") == ""


@pytest.mark.parametrize("seed", range(4))
def test_any_changes_one_after_the_other(project: Project, repo: Repo, seed: int) -> None:
    """By chance, in names that meet: files and folders take each other's places, and some of it is staged or committed on the way."""
    dice, fix = random.Random(seed), clone(project, "fix")
    for _ in range(ROUNDS):
        for _ in range(dice.randint(1, 6)):
            _change(fix.path / "/".join(dice.choices("abc", k=dice.randint(1, 3))), dice)
        if dice.random() < 0.4:
            fix.git("add", "-A", "--", dice.choice("abc."), check=False)
        if dice.random() < 0.2:
            fix.git("commit", "-q", "-m", "on the way", check=False)
        assert frozen(project, repo, "fix") == added(fix)


def _change(place: Path, dice: random.Random) -> None:
    for above in [*reversed(place.parents)][-3:]:
        if above.is_symlink() or above.is_file():
            above.unlink()
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    if (kind := dice.randint(0, 3)) == 0:
        place.symlink_to(dice.choice(("a", "/etc", "nowhere")))
    elif kind < 3:
        place.write_text(dice.choice("xyz"))
        place.chmod(dice.choice((0o644, 0o755)))


@pytest.mark.usefixtures("looked_at")
def test_main_is_looked_at_like_any_other(project: Project, repo: Repo) -> None:
    repo.write("cart.py", "mine\n")
    repo.write("new/file.py", "new\n")
    made = clone(project, "fix")
    assert (made.read("cart.py"), made.read("new/file.py"), made.status()) == ("mine\n", "new\n", [" M cart.py", "?? new/"])
    assert at(project.find("fix")).git("ls-files").split() == [".gitignore", "auth/api.py", "cart.py", "notes.md"]


def test_hidden_files_are_looked_behind(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    hidden(fix, "cart.py")
    fix.write("cart.py", "behind\n")
    assert repo.git("show", f"{frozen(project, repo, 'fix')}:cart.py") == "behind"


@pytest.mark.parametrize("odd", OLD_MODES)
def test_trees_with_modes_of_other_times_are_read_as_git_reads_them(project: Project, repo: Repo, odd: str) -> None:
    """A folder that was taken for a file would go with all that is in it."""
    with_old_modes(repo, odd)
    fix = clone(project, "fix")
    fix.write("auth/new.py", "new\n")
    assert frozen(project, fix, "fix") == added(fix)
    (seen,) = project.compare(["fix"], detail="files").workspaces
    assert (seen.files_changed, seen.deletions) == (1, 0)
