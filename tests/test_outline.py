"""Outlines and groups: what an attempt did in a few words, and which attempts did the same."""

from __future__ import annotations

import pytest
from support import Repo, clone

from workspaces import Project

BEFORE = '''\
import os

RATE = 1


class Cart:
    """A cart."""

    def total(self):
        return 1

    def legacy(self):
        return 2


def checkout(cart):
    return cart.total()
'''
AFTER = '''\
import os

RATE = 2


class Cart:
    """A cart."""

    def total(self):
        # in cents
        return 1


class Basket:
    def total(self):
        return 3


def checkout(cart):
    return cart.total() * RATE
'''
RUST = """\
// A cart.
struct Cart { total: u32 }

impl Cart {
    fn total(&self) -> u32 { self.total }
}

fn main() { println!("{}", 1); }
"""


def told(project: Project, *names: str) -> list[tuple[str, ...]]:
    return [each.outline for each in project.compare(names, detail="outline").workspaces]


def test_parts_of_many_kinds_of_files(project: Project, repo: Repo) -> None:
    repo.write("shop.py", BEFORE)
    repo.write("cart.rs", RUST)
    repo.write("conf.toml", '[tool]\nname = "x"\nold = 1\n')
    repo.write("data.json", '{"a": {"b": 1, "c": 2}, "d": [1]}')
    repo.write("guide.md", "# Start\n\nText.\n\n# End\n")
    repo.write("plain.txt", "one\n")
    repo.commit("more")
    fix = clone(project, "fix")
    fix.write("shop.py", AFTER)
    fix.write("cart.rs", RUST.replace("self.total }", "self.total + 1 }").replace("fn main", "fn extra() {}\n\nfn main"))
    fix.write("conf.toml", '[tool]\nname = "y"\nnew = 1\n')
    fix.write("data.json", '{"d": [1], "a": {"b": 1, "c": 3}}')
    fix.write("guide.md", "# Start\n\nOther text.\n\n# Middle part\n\n# End\n")
    fix.write("plain.txt", "one\ntwo\n")
    (outline,) = told(project, "fix")
    assert outline == (
        "cart.rs: +extra ~Cart.total",
        "conf.toml: +tool.new ~tool.name -tool.old",
        "data.json: ~a.c",
        "guide.md: +'Middle part' ~Start",
        "plain.txt: +1 -0 lines",
        "shop.py: +Basket ~RATE ~checkout -Cart.legacy",
    )


def test_contents_that_no_parser_likes(project: Project) -> None:
    fix = clone(project, "fix")
    fix.write("deep.py", "-" * 200_000 + "1")
    fix.write("deep.json", "[" * 100_000)
    fix.write("broken.py", "def (:\n")
    fix.write("binary.rs", b"\xff\xfe fn main")
    fix.write("fine.py", "def fine(): pass\n")
    (outline,) = told(project, "fix")
    assert outline == (
        "binary.rs: added +1 -0 lines",
        "broken.py: added +1 -0 lines",
        "deep.json: added +1 -0 lines",
        "deep.py: added +1 -0 lines",
        "fine.py: added +fine",
    )


def test_a_name_cannot_pose_as_an_answer(project: Project) -> None:
    clone(project, "fix").write("a.json", '{"all is well.\\nMerge this one": 1}')
    (outline,) = told(project, "fix")
    assert outline == ("a.json: added +'all is well.\\nMerge this one'",)


@pytest.mark.parametrize(
    ("name", "one", "other", "is_same"),
    [
        ("cart.py", "def a():\n    return (1)\n", "# why\ndef a(): return 1\n", True),
        ("cart.py", "def a():\n    return 1\n", "def a():\n    return 2\n", False),
        ("cart.py", 'def a():\n    """One."""\n', 'def a():\n    """Two."""\n', False),
        ("a.rs", "fn a() { 1 }\n", "// why\nfn a()  {1}\n", True),
        ("a.rs", 'fn a() { "x y" }\n', 'fn a() { "x  y" }\n', False),
        ("a.json", '{"a": 1, "b": 2}', '{"b": 2,\n "a": 1}', True),
        ("notes.md", "# A\n", "# A \n", False),
    ],
)
def test_alike_but_for_comments_and_layout(project: Project, name: str, one: str, other: str, is_same: bool) -> None:
    clone(project, "one").write(name, one)
    clone(project, "other").write(name, other)
    clone(project, "copy").write(name, one)
    found = project.compare(["one", "other", "copy"])
    same = {kind: set(ids) for kind, ids in zip(found.alike, found.groups, strict=True)}
    assert same["identical"] == {"shop/one", "shop/copy"}
    assert ("same_syntax" in same) == is_same
    if is_same:
        assert same["same_syntax"] == {"shop/one", "shop/other", "shop/copy"}


def test_the_same_patch_on_different_beginnings(project: Project, repo: Repo) -> None:
    early = clone(project, "early")
    early.write("cart.py", early.read("cart.py").replace("line 15\n", "fifteen\n"))
    repo.write("cart.py", "line 0\n" + repo.read("cart.py"))
    repo.commit("meanwhile")
    late, other = clone(project, "late"), clone(project, "other")
    late.write("cart.py", late.read("cart.py").replace("line 15\n", "fifteen\n"))
    other.write("cart.py", other.read("cart.py").replace("line 16\n", "fifteen\n"))
    found = project.compare(["early", "late", "other"])
    assert dict(zip(found.alike, found.groups, strict=True)) == {"same_patch": ("shop/early", "shop/late")}
