"""What does it look like when sixteen agents work on one repository at once?

    python examples/fan_out.py [--repo PATH]

Each agent takes a private workspace and edits in it; a coordinator then keeps what is best. All of it happens in a throw-away copy of the
repository, and in the way that any agent would go: one server process on Streamable HTTP, and for each agent a client of its own.
Whatever the server said is checked in the end with plain git and plain files.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from threading import Thread
from time import perf_counter
from typing import TypeVar

import anyio
import httpx2
from mcp import Client, MCPError
from mcp.types import TextContent
from rich.console import Console
from rich.live import Live
from rich.table import Column, Table
from rich.text import Text

from workspaces.model import Cloned, Comparison, Deleted, MergeResult, Noun, Restored

Files = Mapping[str, bytes | None]
"""What is, or is to be, at each path; None for nothing."""

Result = TypeVar("Result", bound=Noun)

COLOURS = {"editing": "yellow", "compared": "cyan", "merged": "green", "conflicts": "red", "deleted": "dim", "restored": "magenta"}


class Failed(Exception):
    """The show cannot go on; the message says why."""


@dataclass(frozen=True)
class Agent:
    """A stand-in for a coding agent. Where a real one would think, this one knows: its work is to bring `edit` about."""

    name: str
    task: str
    edit: Files


@dataclass(frozen=True)
class Choice:
    """The agents that the coordinator settled on, by name. `second` goes with the winner, `rival` does not."""

    winner: str
    second: str
    rival: str


def perform(repo: Path, board: Board) -> bool:
    """Run it all on a copy of a repository, and return whether all is then as it should be. Nothing is left behind."""
    with copied(repo) as copy:
        *files, mine = text_files(copy, 12)
        write(copy, {mine: ended(copy / mine, "Not committed yet."), "untracked.txt": b"Not even added.\n"})
        agents, carried, start = crew(copy, files), uncommitted(copy), git(copy, "rev-parse", "HEAD").strip()
        board.say(f"Copied {repo}. Uncommitted in the copy: {', '.join(carried)}")
        with served(copy) as url, board.live():
            board.say(f"Serving the copy on {url}")
            anyio.run(fan_out, url, agents, carried, board)
            choice, back = anyio.run(coordinate, url, agents, board)
        checks = verify(copy, start, carried, {agent.name: agent.edit for agent in agents}, choice, back)
        board.sum_up(checks)
        return all(checks.values())


async def call(client: Client, tool: str, answer: type[Result], /, **arguments: object) -> Result:
    """Call a tool and return its answer. A conflict is an answer; a refusal is not."""
    result = await client.call_tool(tool, arguments)
    if result.is_error:
        raise Failed(f"{tool}: {' '.join(part.text for part in result.content if isinstance(part, TextContent))}")
    return answer.model_validate(result.structured_content)


async def fan_out(url: str, agents: Sequence[Agent], carried: Files, board: Board) -> None:
    """Let all agents work at once. Their clones begin at the same moment, when the last of them is connected."""
    start = asyncio.Barrier(len(agents))
    async with anyio.create_task_group() as tasks:
        for agent in agents:
            tasks.start_soon(work, url, agent, carried, start, board)


async def work(url: str, agent: Agent, carried: Files, start: asyncio.Barrier, board: Board) -> None:
    """Do what an agent does: take a workspace, edit there with any tool, look at the outcome. There is no need to commit."""
    board.show(agent.name, "connecting", agent.task)
    async with Client(url) as client:
        await start.wait()
        with board.timed("16 clones at once") as seconds:
            cloned = await call(client, "clone", Cloned, name=agent.name, task=agent.task)
        board.show(agent.name, "cloned", f"in {seconds() * 1000:.0f} ms")
        location = Path(cloned.workspaces[0].location)
        if not holds(location, carried):
            raise Failed(f"{location} came without the uncommitted work of main.")
        board.show(agent.name, "editing", ", ".join(agent.edit))
        write(location, agent.edit)
        with board.timed("16 agents compare their own"):
            mine = (await call(client, "compare", Comparison, workspaces=[agent.name])).workspaces[0]
        board.show(agent.name, "compared", f"{mine.files_changed} changed, +{mine.insertions} -{mine.deletions}, {mine.merge}")


async def coordinate(url: str, agents: Sequence[Agent], board: Board) -> tuple[Choice, Path]:
    """Merge two that go together, see a third refused, delete the rest, bring one back. Return the choice, and where that one is."""
    names = [agent.name for agent in agents]
    async with Client(url) as client:
        with board.timed("compare all 16"):
            seen = await call(client, "compare", Comparison, workspaces=names)
        board.say(f"compare: {seen.summary} {len(seen.compatible)} go together.")
        choice = choose(seen)
        for name in (choice.winner, choice.second, choice.rival):
            await merge(client, name, board)
        await delete(client, [name for name in names if name not in (choice.winner, choice.second)], board)
        return choice, await restore(client, choice.rival, board)


def choose(seen: Comparison) -> Choice:
    """Choose on evidence: of those that go together the most contested, which settles most, and one that two agents agree on."""
    rivals = {name: [pair.b if pair.a == name else pair.a for pair in seen.pairs if name in (pair.a, pair.b)] for name in seen.compatible}
    winner = max(rivals, key=lambda name: len(rivals[name]), default="")
    agreed = [name for group in seen.groups for name in group if name in rivals and name != winner]
    if not agreed or not rivals[winner]:
        raise Failed(f"Some agents are rivals and two are of one mind, but compare does not say so: {seen.summary}")
    return Choice(*(name.rpartition("/")[2] for name in (winner, agreed[0], rivals[winner][0])))


async def merge(client: Client, name: str, board: Board) -> None:
    """Merge a workspace into main, and show what came of it. A conflict is a value, and changes nothing."""
    with board.timed("merge 2, refuse 1"):
        result = await call(client, "merge", MergeResult, source=name, delete_source=True)
    board.show(name, result.status, f"commit {result.commit[:9]}" if result.commit else "main is unchanged")
    board.say(f"merge: {result.summary}")
    for conflict in result.conflicts:
        for hunk in conflict.hunks:
            board.say(f"  {conflict.path}:{hunk.start} {conflict.kind}: main has {hunk.ours.strip()!r}, it has {hunk.theirs.strip()!r}")


async def delete(client: Client, names: list[str], board: Board) -> None:
    """Delete workspaces, whatever is in them. For some days each can be brought back."""
    with board.timed(f"delete {len(names)}"):
        result = await call(client, "delete", Deleted, workspaces=names, discard_unmerged=True)
    board.say(f"delete: {result.summary}")
    for name in names:
        board.show(name, "deleted")


async def restore(client: Client, name: str, board: Board) -> Path:
    """Bring a deleted workspace back, and return where it is."""
    with board.timed("restore 1"):
        result = await call(client, "restore", Restored, workspace=name)
    board.show(name, "restored", "as it was")
    board.say(f"restore: {result.summary}")
    return Path(result.workspace.location)


def verify(copy: Path, start: str, carried: Files, edits: Mapping[str, Files], choice: Choice, back: Path) -> dict[str, bool]:
    """Say what should be true now, and whether it is, by plain git and plain files."""
    commits = git(copy, "rev-list", f"{start}..HEAD").splitlines()
    listed = git(copy, "worktree", "list", "--porcelain").splitlines()
    trees = {Path(line.removeprefix("worktree ")).resolve() for line in listed if line.startswith("worktree ")}
    return {
        f"main has the work of {choice.winner}": holds(copy, edits[choice.winner]),
        f"main has the work of {choice.second}, and two commits more than before": holds(copy, edits[choice.second]) and len(commits) == 2,
        f"uncommitted in main, byte for byte as before: {', '.join(carried)}": uncommitted(copy) == carried,
        f"{choice.rival} is back, with its edit and what it came with": holds(back, {**carried, **edits[choice.rival]}),
        f"git worktree list: main and {choice.rival}, and none to prune": trees == {copy, back.resolve()} and "prunable" not in str(listed),
        "git fsck: nothing missing, nothing broken": not git(copy, "fsck", "--connectivity-only", "--no-dangling"),
    }


@contextmanager
def copied(repo: Path) -> Generator[Path]:
    """Copy a repository's history to a temporary folder, with an identity of its own. The repository itself is only read."""
    with TemporaryDirectory(prefix="workspaces-demo-") as folder:
        copy = Path(folder).resolve() / repo.name
        identity = ("-c", "user.name=Demo", "-c", "user.email=demo@example.invalid")
        git(repo, "clone", "--quiet", "--no-hardlinks", *identity, "--", str(repo), str(copy))
        yield copy


@contextmanager
def served(project: Path) -> Generator[str]:
    """Run the server as a process of its own, on a free port, and yield its address. In the end it is told to stop, and waited for."""
    command = [str(Path(sys.executable).with_name("workspaces")), "--project", str(project), "serve", "--http", "127.0.0.1:0"]
    # In a session of its own it does not hear of Ctrl-C, so the agents hang up first.
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield address(server)
    finally:
        server.terminate()
        server.wait()


def address(server: subprocess.Popen[str]) -> str:
    """Wait until the server says where it is, and return that. Whatever else it says is passed on."""
    for line in server.stderr or ():
        if line.startswith("Serving on "):
            Thread(target=shutil.copyfileobj, args=(server.stderr, sys.stderr), daemon=True).start()
            return line.split()[-1]
        print(line, end="", file=sys.stderr)
    raise Failed("The server did not start.")


def text_files(copy: Path, count: int) -> list[str]:
    """Return so many files that git merges line by line. What the repository lacks is made, and committed to the copy."""
    tracked = git(copy, "ls-files", "-z", "--", ":(attr:!merge !filter)").split("\0")
    found = list(islice((path for path in tracked if is_suitable(copy, path)), count))
    made = {f"demo/page-{number}.md": f"# Page {number}\n\nWords.\n".encode() for number in range(len(found), count)}
    if made:
        write(copy, made)
        git(copy, "add", "--force", "--", *made)
        git(copy, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message", "Pages for the agents")
    return [*found, *made]


def is_suitable(copy: Path, path: str) -> bool:
    """Return whether a path can be printed, is not hidden (and so perhaps somebody's configuration), and has some text."""
    if not path.isprintable() or any(part.startswith(".") for part in PurePosixPath(path).parts):
        return False
    if (copy / path).is_symlink() or (copy / path).stat().st_size > 1_000_000:
        return False
    return b"\0" not in (read(copy / path) or b"\0")


def crew(copy: Path, files: Sequence[str]) -> list[Agent]:
    """Return sixteen agents for eleven files, whose work meets in every way: rivals, twins, one that renames, one that deletes, loners."""
    contested, common, renamed, dropped, *own = files
    new_name = str(PurePosixPath(renamed).with_name(f"renamed-{PurePosixPath(renamed).name}"))
    edits: list[tuple[str, Files]] = [
        *((f"Rewrite the top of {contested}, idea {idea}", {contested: topped(copy / contested, f"Idea {idea}")}) for idea in range(1, 6)),
        *((f"Complete {common}", {common: ended(copy / common, "The end.")}) for _ in range(2)),
        (f"Rename {renamed}", {renamed: None, new_name: read(copy / renamed)}),
        (f"Delete {dropped}", {dropped: None}),
        *((f"Complete {path}", {path: ended(copy / path, "Done.")}) for path in own),
    ]
    return [Agent(f"agent-{number:02}", task, edit) for number, (task, edit) in enumerate(edits, 1)]


def topped(path: Path, line: str) -> bytes:
    text = path.read_bytes()
    return text.replace(text.splitlines()[0], line.encode(), 1)


def ended(path: Path, line: str) -> bytes:
    text = path.read_bytes()
    end = b"\r\n" if b"\r\n" in text else b"\n"
    return text + (b"" if text.endswith(b"\n") else end) + line.encode() + end


def read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def write(root: Path, files: Files) -> None:
    for path, content in files.items():
        if content is None:
            (root / path).unlink()
        else:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(content)


def holds(root: Path, files: Files) -> bool:
    """Return whether the files are there, but for line ends: a repository can ask git to change those on the way."""
    return all(lines(read(root / path)) == lines(content) for path, content in files.items())


def lines(content: bytes | None) -> list[bytes] | None:
    return None if content is None else content.splitlines()


def uncommitted(copy: Path) -> Files:
    """Return what is modified or untracked, and not ignored."""
    paths = git(copy, "ls-files", "-z", "--modified", "--others", "--exclude-standard").split("\0")
    return {path: read(copy / path) for path in paths if path}


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], check=False, capture_output=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise Failed(f"git {arguments[0]} failed in {folder}: {os.fsdecode(done.stderr).strip()}")
    return os.fsdecode(done.stdout)


class Board:
    """What each agent is doing: a live table on a terminal, a line for each event elsewhere. And how long everything took."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._is_live = console.is_terminal and not console.is_dumb_terminal
        self._begun = perf_counter()
        self._rows: dict[str, tuple[str, str]] = {}
        self._spans: dict[str, tuple[float, float]] = {}

    def live(self) -> AbstractContextManager[object]:
        return Live(get_renderable=self._table, console=self._console, refresh_per_second=15) if self._is_live else nullcontext()

    def show(self, name: str, state: str, detail: str = "") -> None:
        self._rows[name] = (state, detail)
        if not self._is_live:
            self.say(f"{name}  {state:<10}  {detail}".rstrip())

    def say(self, text: str) -> None:
        self._console.print(f"{perf_counter() - self._begun:6.2f} s  {text}", soft_wrap=True)

    @contextmanager
    def timed(self, phase: str) -> Generator[Callable[[], float]]:
        """Time a phase: from the first start to the last end of all who are in it. Yield what tells the seconds since this start."""
        begun = perf_counter()
        yield lambda: perf_counter() - begun
        first, _ = self._spans.get(phase, (begun, begun))
        self._spans[phase] = (min(first, begun), perf_counter())

    def sum_up(self, checks: Mapping[str, bool]) -> None:
        """Print how long each phase took, and what was found to be true."""
        times = Table("phase", Column("seconds", justify="right"), box=None, pad_edge=False)
        for phase, (begun, ended) in self._spans.items():
            times.add_row(phase, f"{ended - begun:.2f}")
        times.add_row("total", f"{perf_counter() - self._begun:.2f}", style="bold")
        self._console.print("", times, "", sep="\n")
        for check, is_true in checks.items():
            self._console.print(Text("ok     " if is_true else "FALSE  ", "green" if is_true else "bold red") + check, soft_wrap=True)

    def _table(self) -> Table:
        table = Table("agent", "state", Column("detail", no_wrap=True), box=None, pad_edge=False)
        for name, (state, detail) in self._rows.items():
            table.add_row(name, Text(state, COLOURS.get(state, "")), detail)
        return table


class Screen(Console):
    def on_broken_pipe(self) -> None:
        """Go on in silence when nobody reads any more: the default, to exit, is no way to leave a task."""
        with suppress(SystemExit):
            super().on_broken_pipe()


def main() -> int:
    parser = argparse.ArgumentParser(description="Sixteen agents at once, on a copy of a repository.")
    parser.add_argument("--repo", type=Path, default=Path(__file__).parent, help="any git repository (default: this project's)")
    asked = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    board, status = Board(Screen(force_terminal=sys.stdout.isatty(), markup=False, emoji=False, highlight=False)), 1
    try:
        settle()
        status = 0 if perform(Path(git(asked.repo, "rev-parse", "--show-toplevel").rstrip("\n")), board) else 1
    except* KeyboardInterrupt:
        status = 130
    except* (Failed, MCPError, httpx2.HTTPError) as failures:
        print("\n".join(dict.fromkeys(messages(failures))), file=sys.stderr)
    return status


def interrupt(_number: int, _frame: object) -> None:
    """End as on Ctrl-C, which asyncio knows how to pass on to its tasks."""
    signal.raise_signal(signal.SIGINT)


def settle() -> None:
    """Forget what would lead git (in a hook, GIT_DIR) or the clients (a proxy) elsewhere than to the copy; nothing is to outlive this program."""
    for name in git(Path(), "rev-parse", "--local-env-vars").split():
        os.environ.pop(name, None)
    os.environ["no_proxy"] = "127.0.0.1"
    os.environ["WORKSPACES_SPARES"] = "0"  # what prepares clones for later would still be at it when the copy is removed


def messages(failures: BaseExceptionGroup[Exception]) -> Iterator[str]:
    for failure in failures.exceptions:
        yield from messages(failure) if isinstance(failure, BaseExceptionGroup) else [str(failure)]


if __name__ == "__main__":
    sys.exit(main())
