"""How the loop is done by the command line, by a server that runs on, and by other projects, each on a checkout of its own.

Other projects (see `tools`) have their home beside their checkout. What is called is what their own guides say.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import repositories
from anyio.from_thread import BlockingPortal, start_blocking_portal
from mcp import Client, StdioServerParameters
from programs import run
from servers import OURS as PROGRAM
from sides import Contestant, Git
from tools import Tools, Unable

OURS, OURS_SERVED, GIT = "workspaces", "workspaces serve", "git"
TREEHOUSE, TREEHOUSE_SERVED = "treehouse 1.1.0", "treehouse-mcp 1.1.0"
NEKOCODE, SANDFS = "wt (agent-worktree 0.13.6)", "sandfs 0.8.0, in memory"


class Typed(Contestant):
    """Workspaces, by the command line: a process for each command."""

    def folder(self, name: str) -> Path:
        return self.checkout / ".workspaces" / name

    def clone(self, name: str) -> None:
        self._call("clone", "--name", name)

    def fan_out(self, names: Sequence[str]) -> None:
        self._call("clone", "--name", names[0].rpartition("-")[0], "--count", str(len(names)))

    def compare(self, name: str) -> None:
        self._call("compare", name)

    def merge(self, name: str) -> None:
        self._call("merge", name)

    def delete(self, name: str) -> None:
        self._call("delete", name)

    def _call(self, *words: str) -> None:
        run(PROGRAM[0], *words, folder=self.checkout)


class Door:
    """A server that runs on, and a client of it."""

    def __init__(self, held: ExitStack, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._portal: BlockingPortal = held.enter_context(start_blocking_portal())
        server = StdioServerParameters(command=command[0], args=[*command[1:]], cwd=folder, env={**environment})
        self._client = held.enter_context(self._portal.wrap_async_context_manager(Client(server)))

    def call(self, tool: str, **arguments: str | int | bool | list[str]) -> None:
        result = self._portal.call(partial(self._client.call_tool, tool, {**arguments}))
        if result.is_error:
            raise RuntimeError(f"{tool}: {result.content}")


class Served(Typed):
    """Workspaces, by a server that runs on."""

    def __init__(self, checkout: Path, door: Door) -> None:
        super().__init__(checkout)
        self._door = door

    def clone(self, name: str) -> None:
        self._door.call("clone", name=name)

    def fan_out(self, names: Sequence[str]) -> None:
        self._door.call("clone", name=names[0].rpartition("-")[0], count=len(names))

    def compare(self, name: str) -> None:
        self._door.call("compare", workspaces=[name])

    def merge(self, name: str) -> None:
        self._door.call("merge", source=name)

    def delete(self, name: str) -> None:
        self._door.call("delete", workspaces=[name])


class Peer(Git):
    """Somebody else's tool for worktrees. None has a call for many at once, so they are made as git's are, two at a time."""

    def __init__(self, checkout: Path, environment: Mapping[str, str]) -> None:
        super().__init__(checkout)
        self.environment = environment

    def _call(self, *command: str | Path, folder: Path | None = None) -> None:
        run(*command, folder=folder or self.checkout, environment=self.environment)


class Treehouse(Peer):
    """treehouse-worktree, by its command line."""

    def __init__(self, checkout: Path, environment: Mapping[str, str], programs: Path) -> None:
        super().__init__(checkout, environment)
        self._program = programs / "treehouse"
        self._call(self._program, "init")

    def folder(self, name: str) -> Path:
        return self.checkout.parent / "worktrees" / name

    def clone(self, name: str) -> None:
        self._call(self._program, "create", name)

    def compare(self, name: str) -> None:
        self._call(self._program, "status", name)

    def merge(self, name: str) -> None:
        self._call(self._program, "complete", name, "--merge", "--squash", "--message", name)

    def delete(self, name: str) -> None:
        self._call(self._program, "remove", name)


class TreehouseServed(Treehouse):
    """The same, by its server."""

    def __init__(self, checkout: Path, environment: Mapping[str, str], programs: Path, held: ExitStack) -> None:
        super().__init__(checkout, environment, programs)
        self._door = Door(held, [str(programs / "treehouse-mcp")], checkout, environment)

    def clone(self, name: str) -> None:
        self._door.call("treehouse_create", name=name)

    def fan_out(self, names: Sequence[str]) -> None:
        """Make one after another: the client waits for each answer."""
        for name in names:
            self.clone(name)

    def compare(self, name: str) -> None:
        self._door.call("treehouse_status", name=name)

    def merge(self, name: str) -> None:
        self._door.call("treehouse_complete", name=name, merge=True, squash=True, message=name)

    def delete(self, name: str) -> None:
        self._door.call("treehouse_remove", name=name)


class Nekocode(Peer):
    """agent-worktree, by its command line."""

    def __init__(self, checkout: Path, environment: Mapping[str, str], program: Path) -> None:
        super().__init__(checkout, environment)
        self._program = program

    def folder(self, name: str) -> Path:
        return next(Path(self.environment["HOME"]).glob(f".agent-worktree/workspaces/*/{name}"), Path("/nonexistent"))

    def clone(self, name: str) -> None:
        self._call(self._program, "new", name)

    def compare(self, name: str) -> None:
        self._call(self._program, "status", folder=self.folder(name))

    def merge(self, name: str) -> None:
        self._call(self._program, "merge", "--strategy", "squash", folder=self.folder(name))

    def delete(self, name: str) -> None:
        self._call(self._program, "rm", name)


_FORKS = """
import json, sys
import sandfs
kept = {}
def mounted():
    base = sandfs.Workspace()
    base.mount("/tree", sandfs.GitSource(sys.argv[1], rev="HEAD"))
    return base
def clone(*names):
    base = mounted()
    kept.update({name: base.fork() for name in names})
def edit(name, *files):
    for file in files:
        kept[name].write(file, kept[name].read(file) + f"# {name}\\n".encode())
def compare(name):
    return [(each.kind, each.path) for each in kept[name].changes()]
def holds(name):
    return name in kept
def delete(name):
    del kept[name]
for line in sys.stdin:
    verb, *words = json.loads(line)
    print(json.dumps(globals()[verb](*words)), flush=True)
"""


class Sandfs(Contestant):
    """sandfs, as a library in a process that runs on: an attempt is in its memory, and no folder on the disk."""

    def __init__(self, checkout: Path, python: Path, held: ExitStack) -> None:
        super().__init__(checkout)
        command = [str(python), "-c", _FORKS, str(checkout)]
        self._process = held.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
        held.callback(self._process.terminate)

    def folder(self, name: str) -> Path:
        raise Unable("an attempt is in memory")

    def holds(self, name: str) -> bool:
        return self._call("holds", name) == b"true\n"

    def clone(self, name: str) -> None:
        self._call("clone", name)

    def fan_out(self, names: Sequence[str]) -> None:
        self._call("clone", *names)

    def edit(self, name: str, files: Sequence[str]) -> None:
        self._call("edit", name, *(f"/tree/{file}" for file in files))

    def compare(self, name: str) -> None:
        self._call("compare", name)

    def merge(self, name: str) -> None:
        raise Unable("has no merge: what changed is copied out by hand")

    def delete(self, name: str) -> None:
        self._call("delete", name)

    def _call(self, *words: str) -> bytes:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(words).encode() + b"\n")
        self._process.stdin.flush()
        if answer := self._process.stdout.readline():
            return answer
        raise RuntimeError(f"{words[0]} failed")


# -- who takes part -----------------------------------------------------------------------------------------------------------------------

Made = Callable[[Path, Mapping[str, str]], Contestant]


def makers(tools: Tools, held: ExitStack) -> dict[str, Made]:
    """Return those who take part, each with what makes it on a checkout, with a home of its own."""
    return {
        OURS: lambda checkout, _: Typed(checkout),
        GIT: lambda checkout, _: Git(checkout),
        TREEHOUSE: lambda checkout, environment: Treehouse(checkout, environment, tools.treehouse),
        NEKOCODE: lambda checkout, environment: Nekocode(checkout, environment, tools.nekocode),
        OURS_SERVED: lambda checkout, _: Served(checkout, Door(held, PROGRAM, checkout, os.environ)),
        TREEHOUSE_SERVED: lambda checkout, environment: TreehouseServed(checkout, environment, tools.treehouse, held),
        SANDFS: lambda checkout, _: Sandfs(checkout, tools.sandfs, held),
    }


def made(maker: Made, origin: Path, place: Path) -> Contestant:
    """Return a contestant on a checkout that has no remote: some push what they merge."""
    (home := place / "home").mkdir(parents=True)
    checkout = repositories.checkout(origin, place / "checkout")
    repositories.run(checkout, "remote", "remove", "origin")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return maker(checkout, {**environment, "HOME": str(home)})
