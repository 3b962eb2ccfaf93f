"""Long comparisons in pages: all that there is, each page no longer than it may be, and all pages of one state."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from typing import Any, get_args

import pytest
from support import Repo, at, clone, hidden

from workspaces import Project
from workspaces.access import Access
from workspaces.comparison import kept
from workspaces.errors import InvalidArgument
from workspaces.model import Comparison, Detail

MANY = 130
PAGED = [each for each in get_args(Detail) if each != "summary"]


def numbered(number: int) -> str:
    return f"f{number:03}.txt"


@pytest.fixture
def crowd(project: Project, repo: Repo) -> Project:
    """Two attempts that conflict in many files, in each of which main has moved on, too."""
    for number in range(MANY):
        repo.write(numbered(number), f"{number}\n")
    repo.commit("many")
    for made in project.clone(name="w", count=2).workspaces:
        for number in range(MANY):
            at(made).write(numbered(number), f"{number} {made.name}\n")
    return project


def pages(project: Project, names: list[str], **asked: Any) -> Iterator[Comparison]:
    page = project.compare(names, **asked)
    yield page
    while page.next_cursor:
        page = project.compare(names, cursor=page.next_cursor, **asked)
        yield page


def paths(found: list[Comparison], b: str = "shop/w-2") -> list[str]:
    return [each.path for page in found for pair in page.pairs if pair.b == b for each in pair.conflicts]


def size(page: Comparison) -> int:
    return len(json.dumps(page.wire(), ensure_ascii=False, separators=(",", ":")))


def test_every_conflict_of_a_pair_is_told_and_a_list_that_is_cut_says_so(crowd: Project) -> None:
    told = crowd.compare(["w-1", "w-2"])
    assert len(told.pairs[0].conflicts) == 20
    assert told.warnings == ("110 conflicts of pairs more, not listed: detail='conflicts' lists all.",)
    found = list(pages(crowd, ["w-1", "w-2"], detail="conflicts", max_chars=3000))
    assert paths(found) == [numbered(number) for number in range(MANY)]
    assert max(map(size, found)) <= 3000
    assert not any("not listed" in said for page in found for said in page.warnings)


def test_paths_choose_conflicts_one_by_one(crowd: Project) -> None:
    for chosen in (["f100.txt"], ["f005.txt"], ["./f005.txt", "f100.txt/"]):
        found = list(pages(crowd, ["w-1", "w-2"], detail="conflicts", paths=chosen))
        assert paths(found) == sorted(path.strip("./") for path in chosen)


def test_what_conflicts_with_the_parent_is_told_in_full_too(crowd: Project, repo: Repo) -> None:
    crowd.merge("w-1")
    told = crowd.compare(["w-2"])
    assert "It conflicts in f000.txt, f001.txt, f002.txt, f003.txt, f004.txt and 125 more." in told.summary
    found = list(pages(crowd, ["w-2"], detail="conflicts", max_chars=5000))
    assert paths(found) == [numbered(number) for number in range(MANY)]
    assert found[0].pairs[0].a == "shop/main" and found[0].pairs[0].conflicts[0].hunks
    assert max(map(size, found)) <= 5000


@pytest.mark.parametrize("detail", PAGED)
def test_a_page_is_no_longer_than_it_may_be(crowd: Project, detail: Detail) -> None:
    crowd.merge("w-1")
    alone = size(crowd.compare(["w-1", "w-2"], detail="files", paths=["none"]).model_copy(update={"pairs": ()}))
    for most in (500, 4000):
        first, *rest = islice(pages(crowd, ["w-1", "w-2"], detail=detail, max_chars=most), 4)
        if detail in ("files", "diff", "conflicts"):  # of the others, a row is told whole
            assert size(first) <= max(most, alone + 400)
            assert rest and all(size(page) <= max(most, 750 if detail == "conflicts" else 0) for page in rest)
        assert detail == "outline" or not any("workspaces" in page.wire() for page in rest)


def test_a_diff_is_paged_to_its_end_while_an_agent_goes_on(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("long.txt", "".join(f"line {number} \u00e9\n" for number in range(2000)))
    hidden(fix, "auth/api.py")
    whole = project.compare(["fix"], detail="diff", max_chars=100_000)
    assert not whole.truncated
    text, rounds = "", 0
    for page in pages(project, ["fix"], detail="diff", max_chars=5000):
        assert not rounds or page.warnings == ("Since the first page, fix changed: this is as it was then.",)
        text, rounds = text + page.diff, rounds + 1
        fix.write("long.txt", f"{rounds}\n")
    assert rounds > 5
    assert text == whole.diff


@pytest.mark.parametrize("detail", ["files", "conflicts"])
def test_a_list_is_paged_to_its_end_while_an_agent_goes_on(crowd: Project, detail: Detail) -> None:
    def told(found: Iterator[Comparison]) -> list[str]:
        return [path for page in found for path in ([each.path for each in page.files] or paths([page]))]

    look = partial(pages, crowd, ["w-1", "w-2"], detail=detail, max_chars=6000, paths=["."])
    before, goes_on = told(look()), look()
    first = [next(goes_on)]
    assert first[0].truncated
    at(crowd.find("w-2")).write("f000.txt", "else\n")
    crowd.merge("w-1")
    assert told(chain(first, goes_on)) == before


def test_no_page_tells_what_only_another_caller_may_see(crowd: Project, repo: Repo) -> None:
    """Who merged a path into main, and for which task, is told to who sees that workspace; on the pages after the first, too."""
    hidden_one = crowd.clone(name="hidden", task="a secret plan").workspaces[0]
    for number in range(MANY):
        at(hidden_one).write(numbered(number), f"{number} hidden\n")
    crowd.merge("hidden")
    eve = crowd.seen_by(Access(role="work", name="eve", granted=frozenset({crowd.find("w-1").uid})))
    asked: dict[str, Any] = {"detail": "conflicts", "max_chars": 2000}
    first = eve.compare(["w-1"], **asked)
    assert "secret" in crowd.compare(["w-1"], **asked).model_dump_json()
    for page in (first, eve.compare(["w-1"], cursor=first.next_cursor, **asked)):
        assert page.pairs and "secret" not in page.model_dump_json()


def test_a_cursor_to_what_is_not_kept_is_refused(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    fix = clone(project, "fix")
    for number in range(60):
        fix.write(numbered(number), f"{number}\n")
    cursor = project.compare(["fix"], detail="files", max_chars=800).next_cursor
    seal = cursor.partition(".")[0]
    for detail, wrong in (
        ("summary", cursor),
        ("summary", "garbage"),
        ("diff", cursor),
        ("files", "garbage"),
        *(("files", f"{seal}.{position}") for position in ("60", "9999", "9" * 80, "-1", "\u00b2", "")),
    ):
        with pytest.raises(InvalidArgument, match="cursor"):
            project.compare(["fix"], detail=detail, max_chars=800, cursor=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="cursor"):
        project.compare(["fix"], detail="files", max_chars=800, cursor=cursor, paths=["f000.txt"])
    fix.write("f000.txt", "changed\n")
    assert project.compare(["fix"], detail="files", max_chars=800, cursor=cursor).files
    beside: OrderedDict[str, kept.Told] = OrderedDict()
    monkeypatch.setattr(kept, "_kept", beside)  # as in another process
    with pytest.raises(InvalidArgument, match="not kept any more"):
        project.compare(["fix"], detail="files", max_chars=800, cursor=cursor)


@pytest.mark.parametrize("detail", ["files", "diff", "conflicts", "outline"])
def test_paths_mean_the_same_in_every_detail(project: Project, repo: Repo, detail: Detail) -> None:
    fix = clone(project, "fix")
    fix.write("auth/api.py", "mine\n")
    fix.write("cart.py", "mine\n")
    for path in ("auth/api.py", "cart.py"):
        repo.write(path, "theirs\n")
    repo.commit("on main")

    def told(*chosen: str) -> str:
        found = project.compare(["fix"], detail=detail, paths=chosen)
        said = {"files": found.files, "diff": found.diff, "conflicts": found.pairs}
        return str(said.get(detail) or [each.outline for each in found.workspaces])

    assert told("auth/") == told("./auth") == told("auth/api.py") == told("auth//api.py/") != told("cart.py")
    assert told(".") == told("./", "auth") == told()
    for path in ("../b", "auth/../cart.py", "/etc", str(fix.path / "cart.py"), ""):
        with pytest.raises(InvalidArgument):
            told(path)
        with pytest.raises(InvalidArgument):
            project.merge("fix", paths=[path], dry_run=True)
    found = project.compare(["fix"], detail=detail, paths=["nope", "*", "auth"])
    assert "Nothing was changed at nope, '*': a path is a file, or a folder with all in it, and no pattern." in found.warnings
