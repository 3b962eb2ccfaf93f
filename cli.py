"""The terminal: one call on the project per command. Answers go to stdout, narration to stderr; nothing here decides about workspaces."""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, ParamSpec

import typer
from typer.models import CommandInfo

from workspaces.terminal import choosing, comparing, drawing, failures, screen, sides, start, verdicts

if TYPE_CHECKING:
    from workspaces.clients.installing import Installer
    from workspaces.model import Comparison, Detail, MergeResult, Noun, Undone, Workspace
    from workspaces.project import Project
    from workspaces.tokens import Tokens

P = ParamSpec("P")
_CONFLICTS, _CHECK_FAILED = 4, 7
_UNBOUNDED = 10.0**9
_LARGEST = 2**63 - 1
"""The largest number of an operation that can be asked for."""
_ID = re.compile(r"[A-Za-z0-9_][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_LOOP = """Private copies of one git repository or folder for parallel work: clone, compare, merge, delete.

The loop: [bold]workspaces clone -n 3 --task "Fix the login race"[/], let one agent work in each, [bold]workspaces compare[/], \
[bold]workspaces merge NAME -d[/], [bold]workspaces delete --all[/]. Whatever was deleted or merged comes back with [bold]workspaces undo[/].

Exit status: 0 done, 1 failed, 2 usage, 3 not found, 4 conflicts, 5 refused to lose work, 6 busy, 7 check failed."""

app = typer.Typer(
    help=_LOOP, rich_markup_mode="rich", pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


def _names(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Complete the names of workspaces."""
    return _completed(context, incomplete, deleted=False)


def _all_names(context: typer.Context, incomplete: str) -> Iterable[str]:
    """Complete the names of workspaces, of deleted ones too."""
    return _completed(context, incomplete, deleted=True)


def _completed(context: typer.Context, incomplete: str, deleted: bool) -> Iterable[str]:
    _Chosen.project = context.find_root().params.get("project") or ""
    try:
        found = _project().status(detail="names", include_deleted=deleted).workspaces
    except Exception:
        return []
    return [name for name in dict.fromkeys(each.name for each in found) if name.startswith(incomplete)]


def _clients(incomplete: str) -> Iterable[str]:
    from workspaces.clients.known import CLIENTS

    return [each.key for each in CLIENTS if each.key.startswith(incomplete)]


def _placed(word: str) -> str:
    """Return the absolute path of a folder that is there, and any other word as it is: no name has a slash, and an id just one, amid names."""
    if ("/" not in word and word not in (".", "..")) or _ID.fullmatch(word):
        return word
    with suppress(OSError, ValueError):
        return os.path.abspath(word) if os.path.isdir(word) else word  # noqa: PTH100, PTH112 - links stay as they are, and it is for every word
    return word


def _all_placed(words: list[str] | None) -> list[str] | None:
    return words and [*map(_placed, words)]


Name = Annotated[str, typer.Argument(help="A workspace: its name, id (project/name) or folder.", autocompletion=_names, callback=_placed)]
Names = Annotated[list[str] | None, typer.Argument(help="Workspaces, by name, id or folder.", autocompletion=_names, callback=_all_placed)]
Key = Annotated[str, typer.Option("--request-key", help="Repeated with the same key, the call answers the same and does nothing again.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON, the same as the MCP tool returns.")]


# -- plumbing: the project, errors, progress ----------------------------------------------------------------------------------------------


class _Chosen:
    project = ""


def _project() -> Project:
    from workspaces.project import Project

    return Project.open(_folder(), actor=start.actor(), trust=_trust(), environment=os.environ)


def _folder(path: str = "") -> Path:
    """Return the project that the command is for; or a folder that is named, from where the command is."""
    from workspaces.errors import NoProject

    try:
        named = "" if path else os.environ.get("WORKSPACES_PROJECT") or os.environ.get("CLAUDE_PROJECT_DIR")
        return Path(_Chosen.project or named or ".", path).absolute()
    except FileNotFoundError:
        raise NoProject("The working directory is gone.", "Go to a folder that is there, or name one with --project.") from None


def _paths(given: Sequence[str] | None) -> list[str]:
    """Return paths in the form in which results name them, whatever bytes they have."""
    from workspaces.model import path_text

    return [path_text(os.fsencode(path)) if not path.startswith('"') else path for path in given or ()]


def _trust() -> Path:
    from workspaces.trust import place

    return place(os.environ)


def _told(command: Callable[P, None]) -> Callable[P, None]:
    """Let a command's errors end as a message for a person, or as JSON, with the exit status of the contract; never as a traceback."""

    @wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        with failures.told(bool(kwargs.get("json")), but=(typer.Exit, typer.Abort)):
            command(*args, **kwargs)

    return told


def _answer(result: Noun, json: bool) -> bool:
    """Print the result as JSON if that was asked for; say whether it was."""
    if json:
        from pydantic_core import to_json

        typer.echo(to_json(result.wire()).decode())
    return json


def _asked(question: str, letters: str) -> str:
    """Ask a person until the answer is one of the letters. The end of input means the last of them, which gives up."""
    while True:
        screen.say(question, "bold")
        typer.echo("> ", nl=False, err=True)
        answer = sys.stdin.readline()
        if not answer:
            return letters[-1]
        if answer.strip().lower()[:1] in [*letters]:
            return answer.strip().lower()[:1]


# -- commands -----------------------------------------------------------------------------------------------------------------------------


@app.callback(invoke_without_command=True)
def _start(
    context: typer.Context,
    project: Annotated[
        str,
        typer.Option(
            "--project", "-C", metavar="PATH", help="The repository to work on (default: WORKSPACES_PROJECT, CLAUDE_PROJECT_DIR, or here)."
        ),
    ] = "",
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if show_version:
        start.version()
        raise typer.Exit
    _Chosen.project = project
    if context.invoked_subcommand is None:
        list_()


@app.command()
@_told
def init(
    path: Annotated[str, typer.Argument(help="A git repository, or any other folder (default: as for all commands).")] = "",
    name: Annotated[str, typer.Option(help="Name of the project (default: its folder's).")] = "",
    backend: Annotated[str, typer.Option(help="worktree, directory, or an installed one (default: what fits the folder).")] = "auto",
    json: Json = False,
) -> None:
    """Make a git repository or a folder a project. Changes none of its files; doing it again changes nothing."""
    from workspaces.project import Project

    result = Project.initialize(_folder(path), backend, name, start.actor(), _trust()).described()
    if not _answer(result, json):
        screen.say(f"✓ {result.summary}", "green")
        screen.say("  next: workspaces clone -n 3 --task '…'")


@app.command()
@_told
def clone(
    source: Annotated[
        str, typer.Argument(help="What to copy: main, or another workspace.", autocompletion=_names, callback=_placed)
    ] = "main",
    count: Annotated[int, typer.Option("-n", "--count", help="How many.", min=1, max=256)] = 1,
    name: Annotated[str, typer.Option(help="Name; with -n name-1 … name-N (default: made from the task).")] = "",
    task: Annotated[str, typer.Option(help="What the work is for; becomes the commit's subject when merged.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="A free tag; may be repeated.")] = None,
    committed: Annotated[bool, typer.Option("--committed", help="Leave uncommitted and untracked files behind.")] = False,
    lease: Annotated[int, typer.Option(metavar="SECONDS", help="Abandoned when no call names it for so long; 0: never.", min=0)] = 0,
    request_key: Key = "",
    json: Json = False,
) -> None:
    """Make private copies of a workspace, uncommitted work included. Edit only in their folders."""
    from workspaces.project import Project

    began = time.monotonic()
    with screen.progress() as progress:
        project = Project.initialize(_folder(), actor=start.actor(), trust=_trust(), environment=os.environ, adopts=False)
        made = project.clone(source, count, name, task, label or [], not committed, progress, lease, request_key)
    if not _answer(made, json):
        width = max((len(each.name) for each in made.workspaces), default=0)
        for each in made.workspaces:
            screen.say(f"✓ {each.name:<{width}}  {screen.near(each.location)}", "green")
        for failed, reason in made.failed.items():
            screen.say(f"✗ {failed}  {reason}", "red")
        screen.warn(made.warnings)
        screen.say(f"  {time.monotonic() - began:.1f} s. next: workspaces compare")
    if made.failed:
        raise typer.Exit(1)


@app.command("list")
@_told
def list_(
    deleted: Annotated[bool, typer.Option("--deleted", help="Also those that restore can bring back.")] = False,
    json: Json = False,
) -> None:
    """Show the tree of workspaces. The same as workspaces alone."""
    _show_status(None, deleted, json, places=False)


@app.command()
@_told
def status(
    names: Names = None,
    deleted: Annotated[bool, typer.Option("--deleted", help="Also the deleted ones.")] = False,
    detail: Annotated[
        Literal["names", "summary", "full"], typer.Option(help="names: what is remembered; full: also what they take on the disk.")
    ] = "summary",
    json: Json = False,
) -> None:
    """Show workspaces: state, size of change, how far behind, where they are."""
    _show_status(names, deleted, json, True, detail)


def _show_status(
    names: Sequence[str] | None, deleted: bool, json: bool, places: bool, detail: Literal["names", "summary", "full"] = "summary"
) -> None:
    with screen.progress() as progress:
        result = _project().status(names or [], detail, deleted, progress)
    if not _answer(result, json):
        drawing.tree(result, places)
        screen.warn(result.warnings)


@app.command()
@_told
def compare(
    names: Names = None,
    base: Annotated[
        str,
        typer.Option(help="Compare with this workspace or restore point instead of the parent.", autocompletion=_names, callback=_placed),
    ] = "",
    outline: Annotated[
        bool, typer.Option("--outline", help="Show what each did in each file: functions, classes, sections, keys.")
    ] = False,
    files: Annotated[bool, typer.Option("--files", help="List the changed files too.")] = False,
    ranking: Annotated[
        bool, typer.Option("--ranking", help="Show which to take: by what checks said, then size, then agreement; and why.")
    ] = False,
    conflicts: Annotated[bool, typer.Option("--conflicts", help="List every path that conflicts, with the parent or another.")] = False,
    json: Json = False,
) -> None:
    """Show what workspaces (default: all) changed, whether they merge, and which conflict with each other."""
    from workspaces.model import Comparison
    from workspaces.wording import begin

    project = _project()
    if not names and len(there := project.status(detail="names").workspaces) == 1:
        none = Comparison(summary="No workspaces yet.", next=(begin(there[0].id),))
        return None if _answer(none, json) else screen.say("No workspaces yet. next: workspaces clone -n 3 --task '…'")
    with screen.progress() as progress:
        detail: Detail = "ranking" if ranking else "conflicts" if conflicts else "outline" if outline else "files" if files else "summary"
        result = project.compare(names or [], base, detail, max_chars=sys.maxsize, progress=progress)
    if not _answer(result.model_copy(update={"left_out": (), "table": ""}), json):
        choosing.ranking(result) if ranking else comparing.comparison(result, detail)
    return None


@app.command()
@_told
def diff(
    name: Name,
    other: Annotated[
        str,
        typer.Argument(help="Compare with this workspace or restore point instead of the parent.", autocompletion=_names, callback=_placed),
    ] = "",
    path: Annotated[list[str] | None, typer.Option("--path", "-p", help="Only this file or folder; may be repeated.")] = None,
    unified: Annotated[bool, typer.Option("--unified", "-u", help="One column, however wide the terminal is.")] = False,
    json: Json = False,
) -> None:
    """Show a workspace's change as a diff: since its base, or against another workspace."""
    first = _project().compare([name], other, "diff", _paths(path), max_chars=100_000)
    if not _answer(first, json):
        sides.show(_pages(first, name, other, _paths(path)), unified)


def _pages(first: Comparison, name: str, other: str, paths: Sequence[str]) -> Iterator[str]:
    """Yield the text of a diff, however long it is."""
    page = first
    yield page.diff
    while page.next_cursor:
        page = _project().compare([name], other, "diff", paths, page.next_cursor, max_chars=100_000)
        yield page.diff


@app.command()
@_told
def merge(
    source: Name,
    target: Annotated[str, typer.Argument(help="Where to (default: its parent).", autocompletion=_names, callback=_placed)] = "",
    on_conflict: Annotated[
        Literal["abort", "source", "target", "union", "markers"], typer.Option(help="What to do where both changed the same.")
    ] = "abort",
    history: Annotated[
        Literal["squash", "merge", "rebase", "none"],
        typer.Option(help="One commit, a merge commit, the source's own, or uncommitted changes."),
    ] = "squash",
    message: Annotated[str, typer.Option("-m", "--message", help="Commit message (default: the task).")] = "",
    path: Annotated[list[str] | None, typer.Option("--path", "-p", help="Only this file or folder; may be repeated.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would happen.")] = False,
    delete_source: Annotated[bool, typer.Option("-d", "--delete", help="Delete the source when merged (restorable).")] = False,
    if_target: Annotated[str, typer.Option(help="Snapshot that the target must still have.")] = "",
    also: Annotated[
        list[str] | None, typer.Option(help="Another source, merged on top; may be repeated.", autocompletion=_names, callback=_all_placed)
    ] = None,
    interactive: Annotated[bool, typer.Option("-i", "--interactive", help="Ask when in doubt; only on a terminal.")] = False,
    require: Annotated[list[str] | None, typer.Option(help="A check that the merged contents must pass; may be repeated.")] = None,
    request_key: Key = "",
    json: Json = False,
) -> None:
    """Bring a workspace's changes into its parent, or from the parent into it: all of them, or nothing."""
    from workspaces.asked import Asked

    project = _project()
    sources = [source, *also] if also else source
    asked = Asked(sources, target, on_conflict, history, message, _paths(path), dry_run, delete_source, if_target, require or [])

    def merging(asked: Asked) -> MergeResult:
        with screen.progress() as progress:
            return project.merge_as(asked, progress, request_key)

    asks = interactive and on_conflict == "abort" and not (json or dry_run or also) and sys.stdin.isatty() and sys.stderr.isatty()
    if asks:
        from workspaces.terminal import asking

        answered = asking.merge(project, asked, merging, _asked)
        if answered is None:
            screen.say("Nothing was merged.")
            raise typer.Exit(1)
        result = answered
    else:
        result = merging(asked)
    if not _answer(result, json):
        drawing.merge(result)
    if result.status == "conflicts":
        raise typer.Exit(_CONFLICTS)
    if result.status == "check_failed":
        raise typer.Exit(_CHECK_FAILED)


@app.command()
@_told
def check(
    names: Names = None,
    only: Annotated[list[str] | None, typer.Option("--check", "-k", metavar="CHECK", help="Only this one; may be repeated.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show live what runs, and what it prints.")] = False,
    diff: Annotated[bool, typer.Option("--diff", help="Show where the outputs of one check on two workspaces differ.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what was judged before; who then differs is flaky.")] = False,
    json: Json = False,
) -> None:
    """Run the checks of workspaces.toml on frozen copies of workspaces (default: all). What was judged before is remembered."""
    from workspaces.core import silent

    project = _project()
    wanted = names or [each.name for each in project.status(detail="names").workspaces if not each.is_main] or ["main"]
    with verdicts.live(watch) as look, screen.progress() as progress:
        result = project.check(
            wanted, only or [], True, _UNBOUNDED, "diff" if diff else "summary", again, progress if look is None else silent, look
        )
    if not _answer(result, json):
        verdicts.table(result)
    if any(each.verdict != "pass" for each in result.results if not each.control):
        raise typer.Exit(_CHECK_FAILED)


@app.command()
@_told
def delete(
    names: Names = None,
    all_: Annotated[bool, typer.Option("--all", help="All workspaces but main.")] = False,
    discard_unmerged: Annotated[bool, typer.Option("--discard-unmerged", help="Also those with work that is not merged.")] = False,
    children: Annotated[Literal["refuse", "delete", "reparent"], typer.Option(help="What happens to their clones.")] = "refuse",
    request_key: Key = "",
    json: Json = False,
) -> None:
    """Remove workspaces. What was there stays restorable; unmerged work is refused unless it may go."""
    from workspaces.errors import InvalidArgument

    project = _project()
    wanted = [each.name for each in reversed(project.status(detail="names").workspaces) if not each.is_main] if all_ else names or []
    if not wanted and not all_:
        raise InvalidArgument("No workspace was named. Nothing was deleted.", "Name workspaces, or use --all.")
    with screen.progress() as progress:
        result = project.delete(wanted, discard_unmerged, children, progress, request_key)
    if not _answer(result, json):
        screen.say(f"{'✓' if not result.kept else '!'} {result.summary}", "yellow" if result.kept else "green")
        for kept, why in result.kept.items():
            screen.say(f"  {kept}: {screen.spoken(why)}")
        screen.warn(result.warnings)
        if result.restorable_until:
            screen.say("  ↳ workspaces undo")
    if result.kept:
        raise typer.Exit(5)


@app.command()
@_told
def restore(
    name: Annotated[
        str,
        typer.Argument(
            help="A workspace: its name, id (project/name) or folder; a deleted one too.", autocompletion=_all_names, callback=_placed
        ),
    ],
    to: Annotated[str, typer.Argument(help="A restore point, name@N (default: the last one).")] = "",
    json: Json = False,
) -> None:
    """Undo the last merge into a workspace, go back to a restore point, or bring a deleted workspace back."""
    result = _project().restore(name, to)
    if not _answer(result, json):
        screen.say(f"✓ {result.summary}", "green")
        screen.warn(result.warnings)
        if result.restore_point:
            screen.say(f"  ↳ workspaces restore {name} {result.restore_point}")
        else:
            screen.say("  ↳ workspaces undo")


@app.command()
@_told
def checkpoint(name: Name, label: Annotated[str, typer.Option("-l", "--label", help="What to call it.")] = "", json: Json = False) -> None:
    """Keep a workspace as it is now as a restore point."""
    result = _project().checkpoint(name, label)
    if not _answer(result, json):
        screen.say(f"✓ {result.summary}", "green")
        screen.say(f"  ↳ workspaces restore {name} {result.restore_point}")


@app.command()
@_told
def lease(
    name: Name,
    seconds: Annotated[int, typer.Argument(help="How long after the last call that names it; 0 for ever.", min=0)],
    json: Json = False,
) -> None:
    """Take a workspace, an abandoned one too: it is yours until nobody named it for so long."""
    result = _project().lease(name, seconds)
    if not _answer(result, json):
        screen.say(
            f"✓ {result.name} is {result.owner or 'yours'}{f' until {result.lease_until:%d %b %H:%M} UTC' if result.lease_until else ', for ever'}.",
            "green",
        )


@app.command()
@_told
def undo(
    number: Annotated[
        int, typer.Argument(help="An operation, as log numbers them (default: the last that stands).", min=0, max=_LARGEST)
    ] = 0,
    json: Json = False,
) -> None:
    """Take back the last merge, delete, clone or restore; again for the one before. What others built on a merge stays."""
    _print_undone(_project().undo(number), json)


@app.command()
@_told
def redo(json: Json = False) -> None:
    """Do again what the last undo took back; again for the one before."""
    _print_undone(_project().redo(), json)


def _print_undone(result: Undone, json: bool) -> None:
    if not _answer(result, json):
        screen.say(f"✓ {result.summary}", "green")
        for step in result.next:
            screen.say(f"  ↳ {step}")


@app.command()
@_told
def log(
    limit: Annotated[int, typer.Option("-n", help="How many.", min=1, max=10**9)] = 30,
    calls: Annotated[bool, typer.Option("--calls", help="Every call on a server instead: who, what, and what came of it.")] = False,
    json: Json = False,
) -> None:
    """Show what was done, newest first."""
    project = _project()
    if calls:
        return None if _answer(asked := project.calls(limit), json) else drawing.calls(asked)
    if not _answer(result := project.log(limit), json):
        drawing.log(result)
    return None


@app.command()
@_told
def path(name: Name, json: Json = False) -> None:
    """Print a workspace's folder."""
    found = _project().find(name)
    if not _answer(found, json):
        typer.echo(found.location)


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_told
def run(
    name: Name,
    command: Annotated[list[str], typer.Argument(help="The command, after --.", metavar="-- CMD...")],
    confined: Annotated[
        bool, typer.Option("--confined", help="Keep it to its workspace: the rest is read-only or hidden, and there is no network.")
    ] = False,
    network: Annotated[bool, typer.Option("--network", help="Allow a confined command the network.")] = False,
    beside: Annotated[
        str,
        typer.Option(
            "--compare",
            metavar="OTHER",
            help="Run it on copies of the two, and show where the outputs differ.",
            autocompletion=_names,
            callback=_placed,
        ),
    ] = "",
) -> None:
    """Run a command in a workspace and end with its exit status."""
    from workspaces.errors import InvalidArgument, NotFound

    project = _project()
    found = project.find(name)
    command = command[command[0] == "--" :]
    if not command:
        raise InvalidArgument("No command was named. Nothing was run.", "workspaces run NAME -- COMMAND")
    if beside:
        result = project.beside([beside, name], command)
        verdicts.table(result)
        raise typer.Exit(int(bool(result.diff) or any(each.verdict != "pass" for each in result.results)))
    # A missing .git in there must not let git walk up and work on the project itself.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"WORKSPACE": found.id, "WORKSPACE_PATH": found.location, "PWD": found.location}
    environment |= {} if found.is_main else {"GIT_CEILING_DIRECTORIES": str(Path(found.location).parent)}
    try:
        os.chdir(found.location)
    except FileNotFoundError:
        raise NotFound(f"The folder {found.location} is gone. Nothing was run.", "workspaces doctor looks closer.") from None
    program = shutil.which(command[0], path=environment.get("PATH", os.defpath))
    if program is None:
        raise NotFound(f"No program {command[0]!r} was found. Nothing was run.", "Is it on PATH, and executable?")
    sys.stdout.flush()
    if confined:
        reach = environment | _with(Path(program).absolute(), found, environment)
        environment = project.confine(found.id, network, reach) | {"PATH": environment.get("PATH", os.defpath)}
    try:
        os.execve(program, command, environment)  # noqa: S606 - running it is what was asked for
    except OSError as error:
        # Confined, nothing of ours can be loaded any more that was not loaded before.
        sys.stderr.write(f"✗ {screen.safe(program)} could not be started: {error.strerror}.\n")
        raise typer.Exit(126) from None


def _with(program: Path, workspace: Workspace, environment: Mapping[str, str]) -> dict[str, str]:
    """Return a PATH on which a program that was named by its place is too, and what it is a link to, as a virtual environment's python is.

    One in the workspace is not looked into: who works there could have it lead anywhere.
    """
    places = () if program.is_relative_to(workspace.location) else (program.parent, program.resolve().parent)
    return {"PATH": os.pathsep.join([environment.get("PATH", os.defpath), *map(str, places)])}


@app.command()
@_told
def serve(
    http: Annotated[str, typer.Option(metavar="[HOST:]PORT", help="Speak Streamable HTTP at /mcp instead of stdio.")] = "",
    allow: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="A folder that may be touched; may be repeated (default: the project).")
    ] = None,
    workspace: Annotated[str, typer.Option(metavar="ID", help="Serve this workspace alone, with what is cloned from it.")] = "",
    issuer: Annotated[
        str, typer.Option(metavar="URL", help="Whose access tokens count over HTTP (OAuth 2.1), beside workspaces token.")
    ] = "",
    public_url: Annotated[str, typer.Option(metavar="URL", help="The address that HTTP clients use, where it is another.")] = "",
    stateless: Annotated[bool, typer.Option("--stateless", help="Keep no sessions: any server for the project answers any call.")] = False,
    agentcore: Annotated[
        str,
        typer.Option(
            metavar="platform|tokens",
            help="Serve as the runtime of AWS Bedrock AgentCore asks: 0.0.0.0:8000, stateless; its inbound authorization decides who calls, or our tokens.",
        ),
    ] = "",
    conformance: Annotated[bool, typer.Option("--conformance", hidden=True)] = False,
) -> None:
    """Run the MCP server, on stdio or HTTP. Clients start it as: workspaces serve"""
    from workspaces.server import app as server
    from workspaces.server.hosting import hosting

    where = hosting(http, stateless, agentcore)
    guard = server.guarded(where, issuer, public_url)
    with failures.ended_by_hand():
        server.serve(server.settings_from(_Chosen.project, allow or [], http, start.actor(), workspace, guard, where, conformance))


tokens = typer.Typer(help="Who may call over HTTP: make, list, revoke tokens, and grant workspaces.", no_args_is_help=True)
app.add_typer(tokens, name="token")


def _tokens() -> Tokens:
    from workspaces.tokens import Tokens, place

    return Tokens(place(os.environ))


@tokens.command("create")
@_told
def token_create(
    name: Annotated[str, typer.Argument(help="Whose it is; who has it owns what it makes.")],
    role: Annotated[
        Literal["read", "work", "merge", "administer"],
        typer.Option(help="read; work: clone, and merge into own workspaces; merge: into main too; administer: everybody's."),
    ] = "work",
    project: Annotated[
        list[str] | None, typer.Option("--in", metavar="PATH", help="A project that it is for; may be repeated (default: this one).")
    ] = None,
    workspace: Annotated[
        str, typer.Option(help="Bind it to this workspace and what is cloned from it.", autocompletion=_names, callback=_placed)
    ] = "",
    days: Annotated[float, typer.Option(help="When it ends; 0: never.")] = 90,
    json: Json = False,
) -> None:
    """Make a token, and print its secret: this once. A client sends it as the header Authorization: Bearer SECRET."""
    from workspaces.model import TokenMade
    from workspaces.project import Project

    projects = [Project.open(Path(path).absolute()) for path in project or ()] or [_project()]
    bound = projects[0].find(workspace) if workspace else None
    made, secret = _tokens().create(name, role, [str(each.root) for each in projects], days, bound)
    summary = f"Token {name} ({role}) is for {', '.join(made.projects)}{f', {bound.id} alone' if bound else ''}."
    if not _answer(TokenMade(summary=summary, tokens=(made.shown,), secret=secret), json):
        screen.say(f"✓ {summary}", "green")
        screen.say("  It is shown this once, and kept nowhere:")
        typer.echo(secret)


@tokens.command("list")
@_told
def token_list(json: Json = False) -> None:
    """List the tokens: not their secrets, which are kept nowhere."""
    from workspaces.model import TokenList

    found = _tokens().book().tokens
    if _answer(TokenList(summary=f"{len(found)} tokens.", tokens=tuple(each.shown for each in found)), json):
        return
    for each in found:
        ends = "for ever" if each.expires is None else f"{'ended' if each.is_over else 'until'} {each.expires:%d %b %Y %H:%M} UTC"
        typer.echo(f"{each.name}  {each.role}  {each.bound_id or ', '.join(each.projects)}  {ends}")


@tokens.command("revoke")
@_told
def token_revoke(name: Annotated[str, typer.Argument(help="Whose.")], json: Json = False) -> None:
    """Remove a token. Whoever has it is refused from now on."""
    from workspaces.model import TokenList

    gone = _tokens().revoke(name)
    if not _answer(TokenList(summary=f"Token {name} is revoked.", tokens=(gone.shown,)), json):
        screen.say(f"✓ {name} is revoked.", "green")


@tokens.command("grant")
@_told
def token_grant(
    name: Annotated[str, typer.Argument(help="A token's name; or whose workspaces `owner` has as oauth:SUBJECT@ISSUER.")],
    workspace: Annotated[str, typer.Argument(help="A workspace, or * for all.", autocompletion=_names, callback=_placed)],
    take_back: Annotated[bool, typer.Option("--take-back", help="It may no longer.")] = False,
    json: Json = False,
) -> None:
    """Let a token see a workspace that is not its own, and change it as far as its role goes."""
    from workspaces.access import ALL
    from workspaces.model import TokenList
    from workspaces.tokens import caller

    found = _tokens()
    who = name if name.startswith("oauth:") else caller(found.named(name).name)
    found.grant(who, workspace if workspace == ALL else _project().find(workspace).uid, take_back)
    summary = f"{workspace} is {'no longer ' if take_back else ''}granted to {name}."
    if not _answer(TokenList(summary=summary), json):
        screen.say(f"✓ {summary}", "green")


@app.command()
@_told
def gc(
    abandoned: Annotated[
        bool, typer.Option("--abandoned", help="First delete (restorable) those whose lease ended, if that loses nothing.")
    ] = False,
    discard_unmerged: Annotated[bool, typer.Option("--discard-unmerged", help="With --abandoned: also those with unmerged work.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove for good what was deleted and whose term is over; never what is younger than a day. Tells what would go, and asks."""
    from workspaces.errors import InvalidArgument

    project = _project()
    planned = None if yes and not dry_run else project.gc(abandoned, discard_unmerged, dry_run=True)
    if planned and not dry_run and (planned.freed or planned.deleted):
        if not json:
            drawing.collected(planned)
        if not sys.stdin.isatty():
            raise InvalidArgument("Nothing was removed: this cannot be undone.", "Run it again with --yes.")
        typer.confirm("Remove them?", abort=True, err=True)
    with screen.progress() as progress:
        result = planned if planned and dry_run else project.gc(abandoned, discard_unmerged, progress=progress)
    if not _answer(result, json):
        drawing.collected(result)
        if result.deleted and not dry_run:
            screen.say("  ↳ workspaces undo   (brings the abandoned ones back)")


@app.command()
@_told
def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Put right what can be, losing nothing.")] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what reads the whole repository, and the clients.")] = False,
    json: Json = False,
) -> None:
    """Look whether everything remembered is whole, and whether clients can start the server. Without --repair it changes nothing."""
    from workspaces.project import Project

    if repair and (mended := Project.mend_store(_folder())):
        screen.say(f"+ {mended}", "green")
    if quick:
        result = _project().doctor(repair, quick)
    else:
        from workspaces.clients import looking

        result = looking.beside(lambda: _project().doctor(repair, quick), _installer())
    if not _answer(result, json):
        for done in result.repaired:
            screen.say(f"+ {done}", "green")
        for finding in result.findings:
            screen.tell(f"{'✓' if finding.ok else '✗'} {finding.check}: {finding.message}", "green" if finding.ok else "red")
            if finding.repair:
                screen.tell(f"  {screen.spoken(finding.repair)}")
        screen.tell(result.summary)
    if not all(finding.ok for finding in result.findings):
        raise typer.Exit(1)


@app.command()
@_told
def trust(
    yes: Annotated[bool, typer.Option("--yes", help="Let exactly these programs run, without asking.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Let none run any more.")] = False,
    json: Json = False,
) -> None:
    """Show the programs that the project's own configuration names (git's filters and merge drivers, checks), and let them run if you say so.

    It holds for exactly what is shown: when anything about it changes, they are off again. Hooks and fsmonitor are never run.
    """
    project = _project()
    shown = project.programs()
    if revoke:
        shown = project.trust("")
    elif yes and shown.fingerprint:
        shown = project.trust(shown.fingerprint)
    if _answer(shown, json):
        return
    drawing.programs(shown)
    if shown.programs and not shown.trusted and not revoke and sys.stdin.isatty() and typer.confirm("Let exactly these run?", err=True):
        shown = project.trust(shown.fingerprint)
        screen.say(f"✓ {shown.summary}", "green")
    if shown.programs and not shown.trusted and not revoke:
        raise typer.Exit(1)


@app.command()
@_told
def install(
    client: Annotated[
        str, typer.Argument(help="claude-code, claude-desktop, codex, cursor, vscode, gemini, zed, goose.", autocompletion=_clients)
    ] = "",
    project: Annotated[bool, typer.Option("--project", help="Into the project's own configuration, which others may share.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Take it out again; nothing else changes.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Write this server into a client's configuration: shows the change, and asks. Without a client, shows which are here.

    With workspaces -C PATH install CLIENT, the server works on that project wherever the client starts it.
    """
    from workspaces.errors import InvalidArgument
    from workspaces.terminal import installs

    installer = _installer()
    scope: Literal["user", "project"] = "project" if project else "user"
    if not client:
        if undo:
            raise InvalidArgument("No client was named. Nothing was changed.", "workspaces install --undo CLIENT")
        looked = installer.look(scope)
        if not _answer(looked, json):
            installs.table(looked)
        return
    known = installer.known(client)
    planned = installer.uninstall(known, scope) if undo else installer.install(known, scope)
    changes = planned.said.action != "none" and not dry_run
    if not json:
        installs.plan(planned.said)
    if changes and not yes:
        if not sys.stdin.isatty():
            raise InvalidArgument("Nothing was changed: there is nobody to ask.", "Run it again with --yes, or --dry-run to look only.")
        typer.confirm("Write this?", abort=True, err=True)
    result = planned.said if dry_run else installer.carry_out(planned)
    if not _answer(result, json) and result.done:
        installs.done(result)


def _installer() -> Installer:
    """Return what installs into the clients of the person at this terminal."""
    from workspaces.clients.installing import Installer, root
    from workspaces.clients.known import Here

    return Installer(Here(os.environ, sys.platform, root(_folder())), _Chosen.project)


@app.command(hidden=True)
@_told
def hook() -> None:
    """Answer a hook of Claude Code: its JSON on stdin, the folder of a workspace on stdout."""
    from workspaces.clients import worktrees
    from workspaces.project import Project

    def opened(folder: Path) -> Project:
        return Project.initialize(folder, actor=start.actor(), trust=_trust(), environment=os.environ)

    said, told = worktrees.answer(sys.stdin.read(), opened, _folder())
    if said:
        typer.echo(said)
    screen.say(told)


def main(words: Sequence[str]) -> None:
    """Run what the words after the program's name ask for. When they name a command, only that one is made ready, which takes long."""
    named = start.parted(words)[1][:1]
    meant = [each for each in app.registered_commands if _called(each) in named]
    if meant:
        app.registered_commands, app.registered_groups = meant, []
    app([*words])


def _called(command: CommandInfo) -> str:
    return command.name or (command.callback.__name__ if command.callback else "")


if __name__ == "__main__":
    start.running(lambda: main(sys.argv[1:]))
