"""Comparing: what each attempt changed, what merges, and which cannot be had together."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest
from support import Instead, Repo, at, clone, fingerprint, hidden

from workspaces import Project
from workspaces.core import Core
from workspaces.errors import Busy, InvalidArgument, NotFound, WorkspaceGone
from workspaces.model import Detail


def test_one_workspace_against_its_base(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", fix.read("cart.py") + "one\ntwo\n")
    fix.write("new.py", "new\n")
    (fix.path / "notes.md").unlink()
    found = project.compare(["fix"], detail="files")
    (seen,) = found.workspaces
    assert (seen.files_changed, seen.insertions, seen.deletions, seen.merge) == (3, 3, 1, "clean")
    assert [(change.path, change.status) for change in found.files] == [
        ("cart.py", "modified"),
        ("new.py", "added"),
        ("notes.md", "deleted"),
    ]
    assert "fix changed 3 files +3 -1. It merges cleanly." in found.summary


def test_carried_work_is_not_the_clones_change(project: Project, repo: Repo) -> None:
    repo.write("cart.py", "dirty\n")
    repo.write("untracked.py", "new\n")
    fix = clone(project, "fix")
    assert project.compare(["fix"]).workspaces[0].files_changed == 0
    fix.write("notes.md", "# Other\n")
    (seen,) = project.compare(["fix"], detail="files").workspaces
    assert (seen.files_changed, seen.merge) == (1, "clean")


def test_commits_count_like_uncommitted_work(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", "committed\n")
    fix.commit("mine")
    fix.write("notes.md", "uncommitted\n")
    assert project.compare(["fix"]).workspaces[0].files_changed == 2


def test_what_the_parent_did_is_not_the_clones_change(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("notes.md", "mine\n")
    repo.write("cart.py", "theirs\n")
    repo.commit("on main")
    fix.git("add", "-A")
    fix.git("commit", "-q", "-m", "mine")
    fix.git("merge", "-q", "trunk")
    found = project.compare(["fix"], detail="files")
    assert [change.path for change in found.files] == ["notes.md"]


def test_how_far_the_parent_moved_is_told(project: Project, repo: Repo) -> None:
    clone(project, "fix")
    for number in range(3):
        repo.write("cart.py", f"{number}\n")
        repo.commit(f"{number}")
    assert project.compare(["fix"]).workspaces[0].behind == 3
    assert {w.name: w.behind for w in project.status().workspaces} == {"main": 0, "fix": 3}


def test_several_with_their_conflicts_and_what_goes_together(project: Project) -> None:
    for name, path, text in [("a", "cart.py", "A\n"), ("b", "cart.py", "B\n"), ("c", "notes.md", "C\n"), ("d", "cart.py", "A\n")]:
        clone(project, name).write(path, text)
    found = project.compare(["a", "b", "c", "d"])
    assert {(pair.a, pair.b) for pair in found.pairs} == {("shop/a", "shop/b"), ("shop/b", "shop/d")}
    assert found.pairs[0].conflicts[0].path == "cart.py"
    assert found.groups == (("shop/a", "shop/d"),)
    assert set(found.compatible) == {"shop/a", "shop/c", "shop/d"}
    assert found.workspaces[0].group == found.workspaces[3].group == 1
    assert found.base == project.status().workspaces[0].base


def test_a_file_where_another_makes_a_folder_conflicts(project: Project) -> None:
    clone(project, "file").write("thing", "a file\n")
    clone(project, "folder").write("thing/inside.txt", "in a folder\n")
    (pair,) = project.compare(["file", "folder"]).pairs
    assert (pair.conflicts[0].path, pair.conflicts[0].kind) == ("thing", "file_directory")


def test_an_edit_meets_a_rename_by_another(project: Project) -> None:
    clone(project, "mover").git("mv", "cart.py", "basket.py")
    edit = clone(project, "editor")
    edit.write("cart.py", edit.read("cart.py").replace("line 3\n", "line three\n"))
    assert project.compare(["mover", "editor"]).pairs == ()


def test_one_against_another(project: Project) -> None:
    clone(project, "a").write("cart.py", "A\n")
    clone(project, "b").write("cart.py", "B\n")
    found = project.compare(["a"], base="b", detail="diff")
    assert found.workspaces[0].merge == "conflicts"
    assert "-B\n+A\n" in found.diff


def test_against_a_restore_point(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("notes.md", "one\n")
    point = project.checkpoint("fix").restore_point
    fix.write("notes.md", "two\n")
    assert "-one\n+two\n" in project.compare(["fix"], base=point, detail="diff").diff
    with pytest.raises(NotFound, match="restore point"):
        project.compare(["fix"], base="fix@99")


def test_main_shows_what_is_uncommitted(project: Project, repo: Repo) -> None:
    repo.write("cart.py", "dirty\n")
    assert project.compare(["main"]).workspaces[0].files_changed == 1


def test_nothing_is_called_merged_that_was_not(project: Project, repo: Repo) -> None:
    repo.write("cart.py", "changed\n")
    assert project.compare(["main"]).summary == "main changed 1 file +1 -20, which is not committed."
    repo.git("checkout", "-q", "cart.py")
    clone(project, "fresh")
    clone(project, "mine").write("notes.md", "mine\n")
    project.checkpoint("mine")
    at(project.find("mine")).write("notes.md", "# Notes\n")
    assert project.compare(["fresh"], base="mine@1").summary == "fresh differs from mine@1 by 1 file +1 -1."
    assert project.compare(["mine"], base="shop/mine@1").summary == "mine differs from mine@1 by 1 file +1 -1."
    at(project.find("mine")).write("notes.md", "mine\n")
    said = project.compare(["fresh"], base="mine").summary
    assert said == "fresh differs from mine by 1 file +1 -1. A merge into mine would bring nothing."
    assert "no two" not in project.compare(["fresh", "mine"], base="main").summary
    repo.write("notes.md", "mine\n")
    repo.commit("the same")
    assert project.compare(["mine"]).summary == "mine changed 1 file +1 -1. main has all of it already."


def test_pages_join_to_the_whole_and_never_shift(project: Project) -> None:
    fix = clone(project, "fix")
    for number in range(120):
        fix.write(f"many/file-{number:03}.txt", f"{number}\n")
    for detail in ("files", "diff"):
        whole = project.compare(["fix"], detail=detail, max_chars=100_000)
        page = project.compare(["fix"], detail=detail, max_chars=3000)
        files, text, rounds = list(page.files), page.diff, 0
        while page.next_cursor:
            page = project.compare(["fix"], detail=detail, max_chars=3000, cursor=page.next_cursor)
            files, text, rounds = [*files, *page.files], text + page.diff, rounds + 1
        assert rounds > 1
        assert (tuple(files), text) == (whole.files, whole.diff)


def test_a_next_page_works_nothing_out_again_unless_something_moved(project: Project, repo: Repo) -> None:
    for name in ("a", "b"):
        fix = clone(project, name)
        for number in range(9):
            fix.write(f"many/file-{number:03}.txt", f"{name} {number}\n")
    said: list[str] = []
    look = partial(project.compare, ["a", "b"], max_chars=500, progress=lambda done, total, message: said.append(message))
    details: tuple[Detail, ...] = ("files", "outline", "diff")
    for detail in details:
        cursor = look(detail=detail).next_cursor
        said.clear()
        quick = look(detail=detail, cursor=cursor)
        assert said == ["froze a", "froze b"]
        repo.write("notes.md", f"{detail}\n")
        repo.commit("on main")
        fresh = look(detail=detail, cursor=cursor)
        assert said
        assert (fresh.files, fresh.diff) == (quick.files, quick.diff)
        assert [each.outline for each in fresh.workspaces] == [each.outline for each in quick.workspaces]
        assert fresh.workspaces[0].behind == quick.workspaces[0].behind + 1


def test_paths_choose_what_is_shown(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("auth/api.py", "x\n")
    fix.write("auth/more/deep.py", "x\n")
    fix.write("cart.py", "x\n")
    assert [change.path for change in project.compare(["fix"], detail="files", paths=["auth"]).files] == [
        "auth/api.py",
        "auth/more/deep.py",
    ]
    assert "cart.py" not in project.compare(["fix"], detail="diff", paths=["auth/"]).diff


def test_looking_writes_nothing(project: Project, repo: Repo) -> None:
    for name in ("a", "b"):
        clone(project, name).write("cart.py", f"{name}\n")
    before, objects = fingerprint(repo), repo.git("count-objects", "-v")
    project.compare(["a", "b"], detail="diff")
    project.status()
    assert repo.git("count-objects", "-v") == objects
    assert fingerprint(repo) == before
    assert list((repo.path / ".git" / "workspaces" / "tmp").iterdir()) == []


def test_names_that_are_not_utf8_and_names_that_look_like_options(project: Project) -> None:
    fix = clone(project, "fix")
    (fix.path / b"caf\xe9.txt".decode(errors="surrogateescape")).write_text("x\n")
    fix.write("new\nline\x1b[31m.txt", "x\n")
    fix.write("--output=pwned", "x\n")
    found = project.compare(["fix"], detail="files")
    assert {change.path for change in found.files} == {'"caf\\351.txt"', "new\nline\x1b[31m.txt", "--output=pwned"}
    assert found.model_dump_json()
    assert "caf" in project.compare(["fix"], detail="diff", paths=['"caf\\351.txt"']).diff
    merged = project.merge("fix", paths=['"caf\\351.txt"'])
    assert [change.path for change in merged.files] == ['"caf\\351.txt"']


@pytest.mark.parametrize("name", [b"new.py", b"new \xff"])
def test_a_file_in_a_folder_that_the_other_made_a_file_meets_it_whatever_its_name(project: Project, name: bytes) -> None:
    one, two = clone(project, "one"), clone(project, "two")
    Path(os.fsdecode(os.fsencode(one.path / "auth") + b"/" + name)).write_text("new\n")
    (two.path / "auth" / "api.py").unlink()
    (two.path / "auth").rmdir()
    two.write("auth", "a file\n")
    (pair,) = project.compare(["one", "two"]).pairs
    assert {pair.a, pair.b} == {"shop/one", "shop/two"}
    assert project.merge("one", "two", dry_run=True).status == "conflicts"


def test_a_folder_that_is_asked_for_has_all_files_in_it_whatever_their_names(project: Project) -> None:
    fix = clone(project, "fix")
    for name in (b"new.py", b"new \xff"):
        Path(os.fsdecode(os.fsencode(fix.path / "auth") + b"/" + name)).write_text("new\n")
    files = project.compare(["fix"], detail="files", paths=["auth"]).files
    assert [each.path for each in files] == ['"auth/new \\377"', "auth/new.py"]


def test_a_quoted_number_that_is_no_byte_stands_for_itself(project: Project) -> None:
    clone(project, "fix").write("caf\\777", "mine\n")
    assert [each.path for each in project.compare(["fix"], detail="files", paths=['"caf\\777"']).files] == ["caf\\777"]


@pytest.mark.parametrize("path", ["\ud800", "a\0b"])
def test_a_path_that_no_file_can_have_is_refused(project: Project, path: str) -> None:
    clone(project, "fix").write("cart.py", "mine\n")
    for detail in get_args(Detail):
        with pytest.raises(InvalidArgument, match="No file can be called"):
            project.compare(["fix"], detail=detail, paths=[path])
    with pytest.raises(InvalidArgument, match="No file can be called"):
        project.merge("fix", paths=[path])


def test_a_rename_is_one_change(project: Project) -> None:
    clone(project, "fix").git("mv", "cart.py", "basket.py")
    (change,) = project.compare(["fix"], detail="files").files
    assert (change.status, change.old_path, change.path) == ("renamed", "cart.py", "basket.py")


def test_a_binary_file_has_no_line_counts(project: Project) -> None:
    clone(project, "fix").write("logo.png", b"\x89PNG\0\0\0")
    (change,) = project.compare(["fix"], detail="files").files
    assert (change.binary, change.insertions) == (True, 0)


def test_arguments_out_of_range(project: Project) -> None:
    with pytest.raises(NotFound, match="no workspace to compare"):
        project.compare([])
    for names, size in (([str(number) for number in range(300)], 20_000), (["main"], 1)):
        with pytest.raises(InvalidArgument):
            project.compare(names, max_chars=size)


def test_a_comparison_whose_objects_are_pruned_under_it_looks_again(project: Project, repo: Repo) -> None:
    folders = [clone(project, name) for name in ("one", "two")]
    for number, folder in enumerate(folders):
        folder.write("cart.py", folder.read("cart.py").replace(f"line {5 + 10 * number}\n", f"changed {number}\n"))
        hidden(folder, "auth/api.py")
        repo.git("hash-object", "-w", str(folder.path / "cart.py"))  # the comparison finds them there, and nothing refers to them
    pruned: list[str] = []

    def prune(done: int, total: int, message: str) -> None:
        if message.startswith("looked at two"):
            pruned.append(repo.git("prune", "--expire=now"))

    assert [each.merge for each in project.compare(["one", "two"], progress=prune).workspaces] == ["clean", "clean"]
    assert len(pruned) == 2


def test_what_finds_its_objects_gone_again_may_be_asked_again(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("new.txt", "new\n")
    fix.git("add", "new.txt")
    hidden(fix, "cart.py")
    staged = fix.git("rev-parse", ":new.txt")
    blob = repo.path / ".git" / "objects" / staged[:2] / staged[2:]
    held = blob.read_bytes()
    blob.unlink()
    for ask in (lambda: project.compare(["fix"]), lambda: project.clone("fix", name="second")):
        with pytest.raises(Busy, match="taken away") as busy:
            ask()
        assert busy.value.retryable and "doctor" in busy.value.hint
    assert [each.name for each in project.status().workspaces] == ["main", "fix"]
    blob.write_bytes(held)
    assert project.compare(["fix"]).workspaces[0].merge == "clean"
    assert clone(project, "second", "fix").read("new.txt") == "new\n"


def test_many_attempts_are_a_table_first(project: Project) -> None:
    names = [made.name for made in project.clone(count=17, name="try").workspaces]
    assert "workspaces" in project.compare(names[:16]).wire()
    for number, name in enumerate(names):
        location = Path(project.find(name).location)
        (location / "cart.py").write_text(f"{number // 2}\n")
    found = project.compare(names)
    told = found.wire()
    assert len(found.workspaces) == 17
    assert not {"workspaces", "pairs", "groups", "alike", "compatible"} & told.keys()
    table = str(told["table"]).splitlines()
    assert table[:3] == ["name|clashes|group|order|all: files=1 +lines=1 -lines=20", "try-1|15|=1|1", "try-2|15|=1|2"]
    assert len(str(told)) < 17 * 20 + 600
    outlined = project.compare(names, detail="outline").wire()
    assert "  cart.py: +1 -20 lines" in str(outlined["table"])
    page, pairs = project.compare(names, detail="conflicts", max_chars=12_000), 0
    while page.next_cursor:
        pairs += len(page.pairs)
        page = project.compare(names, detail="conflicts", max_chars=12_000, cursor=page.next_cursor)
    assert pairs + len(page.pairs) == len(found.pairs) == 128
    for name in names:
        Path(project.find(name).location, "own.txt").write_text(f"{name}\n")
    ranked = project.compare(names, detail="ranking").wire()
    assert "ranking" not in ranked
    assert str(ranked["table"]).splitlines()[:2] == ["names|all: place=1 files=2 +lines=2 -lines=20", "try-1"]


def test_what_merges_together_does_so_in_that_order(project: Project) -> None:
    for name, lines in (("top", (3,)), ("end", (18,)), ("both", (3, 18)), ("middle", (10,))):
        made = clone(project, name)
        text = made.read("cart.py").splitlines(keepends=True)
        for line in lines:
            text[line - 1] = f"{name}\n"
        made.write("cart.py", "".join(text))
    together = project.compare(["both", "top", "end", "middle"]).compatible
    assert together == ("shop/top", "shop/end", "shop/middle")
    assert [project.merge(name).status for name in together] == ["merged"] * 3


def test_locks_and_generated_files_have_one_line(project: Project, repo: Repo) -> None:
    repo.write(".gitattributes", "made/* linguist-generated=true\nkept.lock diff\n")
    repo.commit("rules")
    fix = clone(project, "fix")
    for path in ("poetry.lock", "web/package-lock.json", "app.min.js", "made/api.py", "kept.lock", "real.py"):
        fix.write(path, "secret\n" * 50)
    fix.write("logo.png", b"\0\1")
    diff = project.compare(["fix"], detail="diff").diff
    for path in ("poetry.lock", "web/package-lock.json", "app.min.js", "made/api.py", "logo.png"):
        assert f"diff --git a/{path} b/{path} (binary, lock or generated: not shown)\n" in diff
    assert diff.count("+secret\n") == 100


def test_a_git_that_says_nothing_of_two_trees_has_not_found_them_equal(project: Project, repo: Repo, instead: Instead) -> None:
    """`diff-tree --stdin` says nothing of a tree that it does not find, and ends well."""
    for name in ("fix", "other"):
        clone(project, name).write("cart.py", f"{name}\n")
    instead("*diff-tree*--stdin*) cat > /dev/null; exit 0")
    (seen,) = project.compare(["fix"]).workspaces
    assert (seen.files_changed, seen.merge) == (1, "clean"), "each is looked at by itself, then"
    with pytest.raises(Busy, match="bad object"):
        project.compare(["fix", "other"])


def test_a_workspace_that_is_deleted_before_it_is_looked_at_is_told_as_that(
    project: Project, repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("fix", "other"):
        clone(project, name).write("cart.py", f"{name}\n")
    beside = Project.open(repo.path)
    looking, gone = Core.looking, list[str]()

    def late(core: Core, *args: Any) -> Any:
        if not gone:
            gone.extend(beside.delete(["fix"], discard_unmerged=True).deleted)
        return looking(core, *args)

    monkeypatch.setattr(Core, "looking", late)
    with pytest.raises((NotFound, WorkspaceGone), match="fix"):
        project.compare(["fix", "other"])
    assert [each.id for each in project.compare(["other"]).workspaces] == ["shop/other"]


def test_a_workspace_that_is_deleted_while_git_looks_at_it_is_told_as_that(
    project: Project, repo: Repo, tmp_path: Path, instead: Instead
) -> None:
    repo.write("auth/own.py", str(tmp_path))  # trees that were read before are remembered
    repo.commit("own")
    clone(project, "fix").write("auth/api.py", "mine\n")
    scratch = repo.path / ".git" / "workspaces" / "tmp"
    instead('*"-z --batch") touch "$TMPDIR/at"; until [ -e "$TMPDIR/go" ]; do sleep 0.02; done')
    with ThreadPoolExecutor(1) as pool:
        seen = pool.submit(project.compare, ["fix"])
        while not (scratch / "at").exists():
            assert not seen.done()
        (registered,) = (repo.path / ".git" / "worktrees").glob("fix*")
        registered.rename(tmp_path / "gone")
        (scratch / "go").touch()
    with pytest.raises(WorkspaceGone, match="git no longer knows shop/fix"):
        seen.result()
