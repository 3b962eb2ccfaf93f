"""history="rebase": the source's own commits, made again on top of the target."""

from __future__ import annotations

import pytest
from support import Repo, clone, fingerprint

from workspaces import Project
from workspaces.errors import InvalidArgument, TargetDirty, Unsupported

ANN = ("-c", "user.name=Änn Otter", "-c", "user.email=ann@otter.example")


def _commit(repo: Repo, message: str, date: str = "1600000000 +0530") -> str:
    repo.git("add", "-A")
    repo.git(*ANN, "commit", "-q", "--allow-empty", "--date", date, "-m", message)
    return repo.head


def test_authors_dates_and_messages_are_kept(project: Project, repo: Repo) -> None:
    start = repo.head
    fix = clone(project, "fix")
    fix.write("one.txt", "1\n")
    _commit(fix, "One\n\nWith a body,\n  as it is.")
    fix.write("two.txt", "2\n")
    _commit(fix, "Two", "1500000000 -0800")
    repo.write("notes.md", "moved on\n")
    repo.commit("ours")
    result = project.merge("fix", history="rebase")
    assert (result.status, result.commit) == ("merged", repo.head)
    assert repo.git("rev-list", "--count", "--merges", f"{start}..HEAD") == "0"
    assert repo.git("log", "-2", "--format=%an|%ae|%ad|%s", "--date=raw").splitlines() == [
        "Änn Otter|ann@otter.example|1500000000 -0800|Two",
        "Änn Otter|ann@otter.example|1600000000 +0530|One",
    ]
    assert repo.git("log", "-1", "--skip=1", "--format=%B") == "One\n\nWith a body,\n  as it is."
    assert (repo.read("one.txt"), repo.read("two.txt"), repo.read("notes.md")) == ("1\n", "2\n", "moved on\n")
    assert repo.status() == []
    assert project.merge("fix", history="rebase").status == "up_to_date"


def test_it_is_what_git_rebase_makes(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    for number, line in enumerate((3, 9, 15)):
        fix.write("cart.py", fix.read("cart.py").replace(f"line {line}\n", f"fix {number}\n"))
        _commit(fix, f"Fix {number}")
    repo.write("notes.md", "moved on\n")
    onto = repo.commit("ours")
    fix.git("rebase", "-q", onto)
    expected = fix.git("log", "--format=%an %ad %s %T", f"{onto}..HEAD")
    fix.git("reset", "-q", "--hard", "ORIG_HEAD")
    project.merge("fix", history="rebase")
    assert repo.git("log", "--format=%an %ad %s %T", f"{onto}..HEAD") == expected


def test_where_nothing_moved_the_commits_stay_themselves(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("one.txt", "1\n")
    mine = _commit(fix, "One")
    assert project.merge("fix", history="rebase").commit == mine
    assert repo.head == mine


def test_uncommitted_work_comes_last_with_the_message(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("one.txt", "1\n")
    _commit(fix, "One")
    fix.write("two.txt", "2\n")
    assert project.merge("fix", history="rebase", message="The rest").status == "merged"
    assert repo.git("log", "-2", "--format=%s").splitlines() == ["The rest", "One"]
    assert repo.git("show", "--format=", "--name-only", "HEAD") == "two.txt"


def test_empty_commits_are_dropped(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    _commit(fix, "Nothing")
    fix.write("one.txt", "1\n")
    _commit(fix, "One")
    repo.write("one.txt", "1\n")
    repo.commit("the same")
    fix.write("two.txt", "2\n")
    _commit(fix, "Two")
    before = repo.head
    project.merge("fix", history="rebase")
    assert repo.git("log", "--format=%s", f"{before}..HEAD") == "Two"


def test_it_stops_at_the_commit_that_conflicts(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("one.txt", "1\n")
    _commit(fix, "One")
    fix.write("cart.py", "theirs\n")
    culprit = _commit(fix, "Break it")
    fix.write("cart.py", "repo\n")
    _commit(fix, "Mend it")
    repo.write("cart.py", "ours\n")
    repo.commit("ours")
    before = fingerprint(repo)
    result = project.merge("fix", history="rebase")
    assert result.status == "conflicts"
    assert result.stopped_at == f"{culprit[:12]} (Break it)"
    assert culprit[:12] in result.summary
    assert [conflict.path for conflict in result.conflicts] == ["cart.py"]
    assert fingerprint(repo) == before
    assert project.merge("fix", history="rebase", on_conflict="source").status == "merged"
    assert repo.read("cart.py") == "repo\n"


def test_what_was_carried_along_never_enters_history(project: Project, repo: Repo) -> None:
    repo.write("cart.py", repo.read("cart.py").replace("line 2\n", "half done\n"))
    repo.write("draft.txt", "draft\n")
    start = repo.head
    fix = clone(project, "fix")
    fix.write("one.txt", "1\n")
    fix.write("cart.py", fix.read("cart.py").replace("line 15\n", "fixed\n"))
    _commit(fix, "One, and all that lay about")
    fix.write("two.txt", "2\n")
    with pytest.raises(TargetDirty):
        project.merge("fix", history="rebase")
    repo.git("stash", "-q", "-u")
    assert project.merge("fix", history="rebase").status == "merged"
    shown = repo.git("log", "-p", f"{start}..HEAD")
    assert "half done" not in shown and "draft" not in shown
    assert repo.git("diff", "--name-only", start, "HEAD").splitlines() == ["cart.py", "one.txt", "two.txt"]
    assert "fixed\n" in repo.read("cart.py")
    repo.git("stash", "pop", "-q")
    assert (repo.read("draft.txt"), "half done\n" in repo.read("cart.py")) == ("draft\n", True)


def test_what_was_merged_before_is_not_brought_again(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("cart.py", fix.read("cart.py").replace("line 3\n", "first\n"))
    project.merge("fix")
    fix.write("cart.py", fix.read("cart.py").replace("line 4\n", "second\n"))
    _commit(fix, "Both")
    before = repo.head
    assert project.merge("fix", history="rebase").status == "merged"
    assert repo.git("diff", "--shortstat", before, "HEAD").strip() == "1 file changed, 1 insertion(+), 1 deletion(-)"
    assert repo.read("cart.py") == fix.read("cart.py")


def test_after_being_brought_up_to_date(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("one.txt", "1\n")
    _commit(fix, "One")
    repo.write("notes.md", "moved on\n")
    repo.commit("ours")
    assert project.merge("main", "fix").status == "merged"
    repo.write("notes.md", "and on\n")
    onto = repo.commit("ours again")
    assert project.merge("fix", history="rebase").status == "merged"
    assert repo.git("log", "--format=%s", f"{onto}..HEAD") == "One"
    assert repo.read("notes.md") == "and on\n"


def test_merge_commits_are_refused_plainly(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    start = fix.head
    fix.write("one.txt", "1\n")
    side = _commit(fix, "One")
    fix.git("reset", "-q", "--hard", start)
    fix.write("two.txt", "2\n")
    _commit(fix, "Two")
    fix.git(*ANN, "merge", "-q", "--no-ff", "-m", "Join", side)
    before = fingerprint(repo)
    with pytest.raises(Unsupported, match="Join"):
        project.merge("fix", history="rebase")
    assert fingerprint(repo) == before


def test_only_some_paths(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("a/one.txt", "1\n")
    fix.write("b.txt", "1\n")
    _commit(fix, "Both")
    fix.write("b.txt", "2\n")
    _commit(fix, "Elsewhere")
    fix.write("a/two.txt", "2\n")
    _commit(fix, "Here")
    before = repo.head
    project.merge("fix", history="rebase", paths=["a"])
    assert repo.git("log", "--format=%s", f"{before}..HEAD").splitlines() == ["Here", "Both"]
    assert repo.git("diff", "--name-only", before, "HEAD").splitlines() == ["a/one.txt", "a/two.txt"]


def test_the_uncommitted_work_of_a_target_stays_uncommitted(project: Project, repo: Repo) -> None:
    fix, two = clone(project, "fix"), clone(project, "two")
    fix.write("one.txt", "1\n")
    _commit(fix, "One")
    two.write("mine.txt", "mine\n")
    assert project.merge("fix", "two", history="rebase").status == "merged"
    assert two.git("log", "-1", "--format=%s") == "One"
    assert two.status() == ["?? mine.txt"]


def test_it_is_undone_whole(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    for name in ("one", "two"):
        fix.write(f"{name}.txt", "x\n")
        _commit(fix, name)
    repo.write("notes.md", "moved on\n")
    before = repo.commit("ours")
    project.merge("fix", history="rebase")
    project.undo()
    assert (repo.head, repo.status()) == (before, [])
    project.redo()
    assert repo.read("two.txt") == "x\n"


def test_markers_are_not_left_in_the_middle(project: Project, repo: Repo) -> None:
    clone(project, "fix").write("one.txt", "1\n")
    with pytest.raises(InvalidArgument):
        project.merge("main", "fix", history="rebase", on_conflict="markers")


def test_messages_in_other_encodings_are_kept(project: Project, repo: Repo) -> None:
    fix = clone(project, "fix")
    fix.write("one.txt", "1\n")
    fix.git("add", "-A")
    file = repo.path.parent / "message"
    file.write_bytes("Grüße\n".encode("latin-1"))
    fix.git("-c", "i18n.commitEncoding=ISO-8859-1", "commit", "-q", "-F", str(file))
    repo.write("notes.md", "moved on\n")
    repo.commit("ours")
    project.merge("fix", history="rebase")
    assert repo.git("log", "-1", "--format=%s") == "Grüße"
