"""Pairs of attempts: what compare says of many at once is what merging one into the other says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from workspaces import Project
from workspaces.backend import choose
from workspaces.model import Conflict, Meeting, Side

from .folders import CART, Folder, Main, clone

Seen = dict[tuple[str, str], list[tuple[str, str]]]


def attempts(project: Project) -> dict[str, Folder]:
    """Make attempts that meet in every way in which two can."""
    made = {
        name: clone(project, name)
        for name in ("top", "top-too", "end", "near", "gone", "moved", "new", "newer", "file", "tree", "mode", "link")
    }
    made["top"].edit(3, "one way")
    made["top-too"].edit(3, "one way")
    made["end"].edit(19, "the end")
    made["near"].edit(4, "beside it")
    made["gone"].remove("cart.py")
    made["moved"].move("cart.py", "shop/basket.py")
    made["new"].write("thing.py", "one = 1\n")
    made["newer"].write("thing.py", "two = 2\n")
    made["file"].write("place", "a file\n")
    made["tree"].write("place/inside.txt", "in a folder\n")
    made["mode"].write("tool.sh", "#!/bin/sh\necho other\n", mode=0o644)
    made["link"].link("notes.md", "cart.py")
    return made


def told(project: Project, names: list[str]) -> Seen:
    pairs = project.compare(names).pairs
    return {(pair.a, pair.b): [(each.path, each.kind) for each in pair.conflicts] for pair in pairs}


def tried(project: Project, names: list[str]) -> Seen:
    """Return the same, found by comparing every two by themselves."""
    seen: Seen = {}
    for a, b in combinations(names, 2):
        (only,) = project.compare([b], base=a).workspaces
        if only.conflicts:
            seen[f"{project.name}/{a}", f"{project.name}/{b}"] = [(each.path, each.kind) for each in only.conflicts]
    return seen


def sides(conflicts: Sequence[Conflict]) -> list[tuple[str, str, Side | None, Side | None, Side | None]]:
    return [(each.path, each.kind, each.base, each.ours, each.theirs) for each in conflicts]


def test_many_at_once_conflict_as_each_two_do(project: Project, main: Main, kind: str) -> None:
    names = list(attempts(project))
    found = told(project, names)
    made = [project.find(name) for name in names]
    with choose(main.path, kind).aside() as view:
        frozen = {each.name: view.snapshot(each, [each.origin]) for each in made}
        pairs = [*combinations(made, 2), *((b, a) for a, b in combinations(made[:4], 2)), (made[0], made[0]), (made[0], made[3])]
        meetings = [Meeting(ours=frozen[a.name], theirs=frozen[b.name], lineage=(b.origin,)) for a, b in pairs]
        clashes = view.clashes(meetings)
        merged = [view.merge(each.ours, each.theirs, each.lineage).conflicts for each in meetings]
        assert view.clashes([]) in ([], ())
    assert [sides(each) for each in clashes] == [sides(each) for each in merged]
    assert not any(conflict.hunks for each in clashes for conflict in each)
    conflicts = {(a.id, b.id): [(each.path, each.kind) for each in met] for (a, b), met in zip(pairs, clashes, strict=True) if met}
    assert found == {(a.id, b.id): conflicts[a.id, b.id] for a, b in combinations(made, 2) if (a.id, b.id) in conflicts}
    assert ("shop/top", "shop/top-too") not in found
    assert found["shop/top", "shop/near"] == [("cart.py", "content")]
    assert [kind for _, kind in found["shop/end", "shop/gone"]] == ["modify_delete"]
    assert [path for path, _ in found["shop/file", "shop/tree"]] == ["place"]


def test_attempts_that_began_at_different_times(project: Project, main: Main) -> None:
    clone(project, "early").edit(3, "early")
    main.edit(10, "meanwhile")
    main.record()
    clone(project, "late").edit(3, "late")
    clone(project, "later").edit(10, "later")
    deep = clone(project, "late-2", source="late")
    deep.edit(4, "deeper")
    names = ["early", "late", "later", "late-2"]
    found = told(project, names)
    assert found == tried(project, names)
    assert ("shop/early", "shop/late") in found


def test_rules_for_merging_count(project: Project, main: Main) -> None:
    main.write(".gitattributes", "cart.py merge=union\n")
    main.write("plain.txt", CART)
    main.record()
    for name in ("one", "two"):
        made = clone(project, name)
        made.edit(3, name)
        made.edit(3, name, "plain.txt")
    found = told(project, ["one", "two"])
    assert found == tried(project, ["one", "two"])
    assert ("shop/one", "shop/two") in found
