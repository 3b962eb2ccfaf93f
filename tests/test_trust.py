"""A repository's own configuration names programs; they run when a person said so of exactly these, and not otherwise."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conformance.forking import program
from support import Repo, clone

from workspaces import Project
from workspaces.errors import NotAllowed, TargetMoved, UntrustedConfig
from workspaces.trust import Trusted, place


@pytest.fixture
def ledger(home: Path) -> Path:
    return place({"HOME": str(home)})


@pytest.fixture
def crypt(repo: Repo) -> Repo:
    """The repository with a filter as git-crypt sets one up."""
    repo.git("config", "filter.crypt.clean", "tr a-z n-za-m")
    repo.git("config", "filter.crypt.smudge", "tr a-z n-za-m")
    repo.git("config", "filter.crypt.required", "true")
    repo.write(".gitattributes", "*.key filter=crypt\n")
    repo.write("s.key", "secret\n")
    repo.commit("encrypted")
    return repo


def trusting(repo: Repo, ledger: Path) -> Project:
    project = Project.initialize(repo.path, trust=ledger)
    project.trust(project.programs().fingerprint)
    return project


def test_what_is_trusted_runs(crypt: Repo, ledger: Path) -> None:
    project = trusting(crypt, ledger)
    first = project.programs().programs[0]
    assert (first.kind, first.name, first.setting) == ("filter", "crypt", "clean")
    fix = clone(project, "fix")
    assert (fix.read("s.key"), fix.git("show", ":s.key")) == ("secret\n", "frperg")
    fix.write("s.key", "changed\n")
    assert project.merge("fix").status == "merged"
    assert (crypt.read("s.key"), crypt.git("show", "HEAD:s.key")) == ("changed\n", "punatrq")


def test_a_merge_driver_runs_too_and_hooks_never(repo: Repo, ledger: Path, tmp_path: Path) -> None:
    repo.write(".gitattributes", "notes.md merge=both\n")
    repo.commit("attributes")
    fix = clone(Project.initialize(repo.path), "fix")
    fix.write("notes.md", "theirs\n")
    repo.write("notes.md", "ours\n")
    repo.commit("ours")
    repo.git("config", "merge.both.driver", "cat %B >> %A")
    repo.git("config", "hook.evil.command", f"touch {tmp_path}/tripped")
    repo.git("config", "hook.evil.event", "post-index-change")
    repo.git("config", "core.fsmonitor", f"touch {tmp_path}/tripped")
    project = trusting(repo, ledger)
    assert project.merge("fix").status == "merged"
    assert repo.read("notes.md") == "ours\ntheirs\n"
    assert not (tmp_path / "tripped").exists()


@pytest.mark.parametrize(
    "change",
    [
        ("filter.crypt.clean", "touch tripped; cat"),
        ("filter.other.smudge", "touch tripped; cat"),
        ("merge.other.driver", "touch tripped"),
    ],
)
def test_what_changed_is_off_again(crypt: Repo, ledger: Path, change: tuple[str, str]) -> None:
    project = trusting(crypt, ledger)
    fix = clone(project, "fix")
    crypt.git("config", *change)
    assert (project.programs().trusted, project.programs().changed) == (False, True)
    assert [finding.check for finding in project.doctor().findings if not finding.ok] == ["trust"]
    fix.write("s.key", "changed\n")
    with pytest.raises(UntrustedConfig) as refused:
        project.merge("fix")
    assert "workspaces trust" in refused.value.hint
    assert not list(crypt.path.glob("**/tripped"))


def test_an_included_file_counts(crypt: Repo, ledger: Path) -> None:
    crypt.git("config", "include.path", "included")
    project = trusting(crypt, ledger)
    crypt.write(".git/included", '[filter "crypt"]\n\tclean = cat\n')
    assert not project.programs().trusted


def test_one_worktree_cannot_add_to_what_is_trusted(crypt: Repo, ledger: Path, tmp_path: Path) -> None:
    crypt.git("config", "extensions.worktreeConfig", "true")
    project = trusting(crypt, ledger)
    fix = clone(project, "fix")
    fix.git("config", "--worktree", "filter.crypt.clean", f"touch {tmp_path}/tripped; cat")
    fix.write("s.key", "changed\n")
    project.compare(["fix"])
    with pytest.raises(UntrustedConfig):
        project.merge("fix")
    assert not (tmp_path / "tripped").exists()


def test_a_clone_takes_what_is_trusted_of_one_worktree_and_no_other_program(repo: Repo, ledger: Path, tmp_path: Path) -> None:
    repo.git("config", "extensions.worktreeConfig", "true")
    rot13 = {"filter.my.crypt.clean": "tr a-z n-za-m", "filter.my.crypt.smudge": "tr 'a-z' \"n-za-m\"", "filter.my.crypt.required": "true"}
    evil = {"core.fsmonitor": f"touch {tmp_path}/tripped", "core.hooksPath": str(tmp_path), "alias.st": f"!touch {tmp_path}/tripped"}
    for key, value in (rot13 | evil).items():
        repo.git("config", "--worktree", key, value)
    repo.write(".gitattributes", "*.key filter=my.crypt\n")
    repo.write("s.key", "secret\n")
    for key in evil:
        repo.git("-c", "core.fsmonitor=false", "config", "--worktree", "--unset", key)
    repo.commit("encrypted")
    for key, value in evil.items():
        repo.git("config", "--worktree", key, value)
    untrusted = clone(Project.initialize(repo.path), "untrusted")
    assert untrusted.git("config", "--get-regexp", "filter|core.fsmonitor|hooks|alias", check=False) == ""
    project = trusting(repo, ledger)
    fix = clone(project, "fix")
    assert (fix.read("s.key"), fix.status()) == ("secret\n", [])
    assert {key: fix.git("config", "--worktree", key) for key in rot13} == rot13
    assert fix.git("config", "--get-regexp", "core.fsmonitor|hooks|alias", check=False) == ""
    fix.write("s.key", "changed\n")
    assert project.merge("fix").status == "merged"
    assert repo.read("s.key") == "changed\n"
    assert not (tmp_path / "tripped").exists()


def test_trust_is_given_to_what_was_shown(crypt: Repo, ledger: Path) -> None:
    project = Project.initialize(crypt.path, trust=ledger)
    shown = project.programs()
    crypt.git("config", "filter.crypt.clean", "cat")
    with pytest.raises(TargetMoved):
        project.trust(shown.fingerprint)
    assert not project.programs().trusted


def test_trust_is_taken_back(crypt: Repo, ledger: Path) -> None:
    project = trusting(crypt, ledger)
    assert not project.trust("").trusted
    assert "s.key" in project.clone(name="fix").warnings[0]


def test_trust_is_remembered_outside_of_the_project_and_for_its_owner_alone(crypt: Repo, ledger: Path) -> None:
    trusting(crypt, ledger)
    assert ledger.stat().st_mode & 0o777 == 0o600
    assert Project.open(crypt.path, trust=ledger).programs().trusted
    assert not Project.open(crypt.path).programs().trusted
    ledger.chmod(0o666)
    assert not Project.open(crypt.path, trust=ledger).programs().trusted
    inside = crypt.path / "config" / "trust.json"
    inside.parent.mkdir()
    inside.write_bytes(ledger.read_bytes())
    project = Project.open(crypt.path, trust=inside)
    assert not project.programs().trusted
    with pytest.raises(NotAllowed):
        project.trust(project.programs().fingerprint)


def test_whoever_trusts_at_once_undoes_nothing_of_what_others_said(ledger: Path, tmp_path: Path) -> None:
    """The file is one for all projects, and some may take trust back at that moment."""
    known = Trusted(ledger, tmp_path / "shop")
    homes = [[Path(f"/{who}/{number}") for number in range(20)] for who in range(4)]

    def change(mine: list[Path]) -> list[str]:
        for each in mine:
            known.remember(each, "seen")
            known.remember(each, "")
            known.remember(each, "seen again")
        return [known.fingerprint(each) for each in mine]

    with ThreadPoolExecutor(len(homes)) as people:
        assert list(people.map(change, homes)) == [["seen again"] * len(mine) for mine in homes]


def test_what_is_remembered_of_trust_is_durable_by_its_name_too(ledger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[int, bool]] = []

    def sync(descriptor: int) -> None:
        synced.append((os.fstat(descriptor).st_ino, ledger.exists()))

    monkeypatch.setattr(os, "fsync", sync)
    Trusted(ledger, tmp_path / "shop").remember(tmp_path, "seen")
    assert synced == [(ledger.stat().st_ino, False), (ledger.parent.stat().st_ino, True)]


def test_a_person_looks_and_decides_at_the_terminal(crypt: Repo, ledger: Path) -> None:
    crypt.git("config", "filter.evil.clean", "printf '\x1b]0;title\x07'")
    Project.initialize(crypt.path)
    looked = run(crypt, "trust")
    assert (looked.returncode, "\x1b" in looked.stdout + looked.stderr, "\\x1b]0;title" in looked.stdout) == (1, False, True)
    assert not ledger.exists()
    assert run(crypt, "trust", "--yes").returncode == 0
    shown: dict[str, object] = json.loads(run(crypt, "trust", "--json").stdout)
    assert shown["trusted"] is True
    assert run(crypt, "trust", "--revoke").returncode == 0
    assert run(crypt, "trust").returncode == 1


def run(repo: Repo, *args: str) -> subprocess.CompletedProcess[str]:
    command = [*program(), "-C", str(repo.path), *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=dict(os.environ))
