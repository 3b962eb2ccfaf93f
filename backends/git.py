"""The only door to git: how it is started, with which environment and settings, and what its refusals mean.

Nothing in a repository is executed through this door: hooks, fsmonitor and drivers that the repository's own configuration defines are off.
Drivers of the system's and the user's configuration (LFS, for example) are that person's own choice and stay. Where the kernel has Landlock,
git and what it starts write only what the command is for, and reach no network.
"""

from __future__ import annotations

import math
import os
import re
import shlex
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO

from workspaces.errors import BackendFailed, Details, NoSpace, NotFetched, Vanished, as_ours, readable
from workspaces.model import Program, fingerprint, path_text
from workspaces.telemetry import span

from . import bounds, configuration, confinement, landlock, sheaf, tree
from .configuration import Setting
from .gitlocks import Ground, in_the_way, living, remove
from .place import WORKSPACES

if TYPE_CHECKING:
    from git.cmd import Git as Runner

_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.splitIndex": "false",
    "core.safecrlf": "false",
    "core.quotePath": "false",
    "core.bigFileThreshold": "32m",
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "core.fsyncMethod": "batch",
    "advice.addEmbeddedRepo": "false",
    "add.ignoreErrors": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "commit.gpgSign": "false",
    "protocol.allow": "never",
    "submodule.recurse": "false",
    "diff.external": "",
    "diff.ignoreSubmodules": "dirty",
    "diff.renameLimit": "1000",
    "merge.conflictStyle": "zdiff3",
    "merge.renameLimit": "7000",
    "rerere.enabled": "false",
    "log.showSignature": "false",
    "checkout.workers": "2",
}
_PASSING = {"core.fsync": "none", "core.compression": "0"}
"""Settings for objects that mostly vanish with a view. Big files go into packs there, as they are: most of them are compressed already."""
_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "/bin/false",
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_ALLOC_LIMIT": str(bounds.MEMORY),
}
_HARMLESS = {"GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_PAGER", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSH", "GIT_SSH_COMMAND"}
"""What people set for themselves and none of our commands looks at."""
_IDENTITY = {"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"}
_OWN = _IDENTITY | {"GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"}
"""By what people say who they are, and which configuration is theirs (git(1), ENVIRONMENT VARIABLES)."""
_FILES = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "XDG_CONFIG_HOME", "HOME")
"""What says where a person's files are."""
_GONE = re.compile(
    r"bad object|invalid object|unable to read|could not read|not a valid object|is missing|missing object|cannot be accessed|is unavailable"
)
"""How git says that it does not find an object, which a `git gc --prune=now` may have taken away (it is what no caller asked git about)."""
_PROMISED = re.compile(r"could not fetch \S+ from promisor remote|lazy fetching disabled")
"""How git says that it may not fetch an object that a partial clone has left where it came from."""
_UNREAD = re.compile(r"^warning: .*: (?:Too many open files.*|Input/output error|Cannot allocate memory)$", re.MULTILINE)
"""What git only warns of: it goes on without a folder, or a .gitignore, that it could not read at the moment, and says that all is well."""
LONGEST = 4096
"""Bytes that a line in a git directory can have: it is a path or a ref."""
_COARSE = 0.05
"""Seconds by which the clock of a file system may be behind."""
_FILLS_TREES = {"read-tree", "checkout-index", "merge-tree"}
"""What writes the work tree; a merge finds its drivers' files there."""
_MOVES_REFS = {"update-ref", "fast-import"}
"""What makes locks beside `config` and `hooks`, which only a rule on all of their folder allows. Neither starts a program of anybody's."""
_LOCKED = re.compile(r"'([^'\n]+\.lock)': File exists")
_FILTER_FAILED = re.compile(r"(?:clean|smudge|process) filter '?.*'? failed|external filter '.*' failed")
_DRIVER = re.compile(rb"^(filter|merge|hook)\.(.+)\.([^.]+)$", re.DOTALL)
_CHECKOUT = re.compile(rb"core\.(autocrlf|eol|symlinks|filemode|attributesfile|sparsecheckout)$")
_PLACED = re.compile(rb"includeif\.|extensions\.")
"""What lets a configuration say something else in another git directory (git-config(1), "Conditional includes", and git-worktree(1))."""
_LOCAL = (b"local", b"worktree")
_COMMANDS = ("clean", "smudge", "process")
"""The settings of a filter that name a program."""
OFF = "off"
"""How a filter that is off says that it is not required: a boolean of git's that nobody writes."""


def _runner() -> type[Runner]:
    """Return what runs git. It is loaded by the first who needs it; whoever comes meanwhile waits, since it changes the environment."""
    with _loading:
        return _imported()


@cache
def _imported() -> type[Runner]:
    """Import GitPython, which runs a git to see whether there is one, as the caller's environment says: it could name any program for that."""
    leaked = {name: os.environ.pop(name) for name in [*os.environ] if name.startswith("GIT_")}
    try:
        from git.cmd import Git as Runner

        return Runner
    finally:
        os.environ.update(leaked)


_loading = Lock()


@dataclass(frozen=True)
class Reply:
    """What git answered: exit status, standard output, standard error."""

    status: int
    out: bytes
    err: str


@dataclass(frozen=True)
class Git:
    """git, pinned to one repository: it never looks for another one, wherever it runs.

    `work_tree` and `index` default to those of a bare view: commands that need one say which. With `objects`, new objects go there and the
    repository's own are only read. What git starts has `scratch` for its temporary files.
    """

    git_dir: Path
    common_dir: Path
    work_tree: Path | None = None
    index: Path | None = None
    objects: Path | None = None
    scratch: Path | None = None
    sheaf: sheaf.Sheaf | None = None
    """Where objects are gathered that are written in this process, to be written together."""
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    filters: Mapping[str, str] = field(default_factory=dict[str, str])
    """The filters that run, by their key in the configuration."""
    checkout: Mapping[str, str] = field(default_factory=dict[str, str])
    """The settings that say how files are checked out (ends of lines, links, attributes, sparsely), by their key."""
    own: Sequence[Setting] = ()
    """The settings that this checkout has for itself alone."""
    person: str = ""
    """Who commits (`name <address>`), where the configuration says it in so many words."""
    alike: bool = False
    """Whether the configuration says the same wherever in the repository it is asked."""
    patience: float = bounds.PATIENCE
    """Seconds of processor that a command may use which only reads."""
    aside: bool = False
    """Whether all that is written lies in a view, so that any command may be stopped."""
    clock: bounds.Clock | None = None
    """What is told how much each command used."""

    def at(self, work_tree: Path | None = None, index: Path | None = None) -> Git:
        """Return the same door with another work tree or index."""
        return replace(self, work_tree=work_tree or self.work_tree, index=index or self.index)

    def run(self, *args: str | bytes, stdin: bytes | int = b"", literal: bool = True) -> bytes:
        """Run git on bytes, or an open file, and return its output. Raises `BackendFailed` (or what the refusal means) for any other exit status than 0."""
        reply = self.ask(*args, stdin=stdin, literal=literal)
        if reply.status != 0:
            raise refusal(args, reply)
        return reply.out

    def line(self, *args: str | bytes, stdin: bytes = b"") -> str:
        """Run git and return its one line of output."""
        return self.run(*args, stdin=stdin).decode().strip()

    def fields(self, *args: str | bytes, stdin: bytes = b"", literal: bool = True) -> list[bytes]:
        """Run git with `-z` output and return the fields."""
        return self.run(*args, stdin=stdin, literal=literal).split(b"\0")[:-1]

    def ask(self, *args: str | bytes, stdin: bytes | int = b"", literal: bool = True) -> Reply:
        """Run git and return whatever it answers. Raises `Limit` when it takes more than `bounds` allows, and what it is told where the answer
        cannot be believed, since git could not read all that it is about."""
        started = time.time()
        heard = self._heard(args, stdin, literal, bounds.OUTPUT)
        if heard.status < 0:
            self._drop_locks(started)
        if heard.excess:
            raise bounds.too_much(os.fsdecode(args[0]), heard.excess, self.work_tree if self.index else None, self.patience)
        reply = Reply(heard.status, heard.out, os.fsdecode(heard.err))
        if _UNREAD.search(reply.err):
            raise refusal(args, reply)
        return reply

    def _heard(self, args: Sequence[str | bytes], stdin: bytes | int, literal: bool, output: int) -> bounds.Heard:
        """Run git confined and within bounds, from a thread of its own."""
        runner = _runner()
        environment = self._environment(literal, self._narrowed(args))
        command = _command(args, environment)
        with as_ours(), tempfile.TemporaryFile() as file:
            if isinstance(stdin, bytes):
                file.write(stdin)
                file.seek(0)
            given = file if isinstance(stdin, bytes) else stdin
            seconds = self.patience if self.aside or bounds.may_be_killed(os.fsdecode(args[0])) else math.inf
            with span(f"git {os.fsdecode(args[0])}", calls_out=True, process__executable__name="git") as told:
                heard = confinement.confined(
                    self._rules(args), lambda: self._attended(runner, command, given, environment, seconds, output)
                )
                told.note(process__exit__code=heard.status)
                if heard.excess or heard.status not in (0, 1):  # exit 1 is an answer: no
                    told.fail(heard.excess or str(heard.status))
        if self.clock:
            self.clock.spend(heard.seconds)
        return heard

    def _attended(
        self,
        runner: type[Runner],
        command: Sequence[str],
        stdin: BinaryIO | int,
        environment: Mapping[str, str],
        seconds: float,
        output: int,
    ) -> bounds.Heard:
        started = runner(self._folder).execute(
            command,
            istream=stdin,
            env=environment,
            as_process=True,
            # The only inheritable descriptors of this process are the locks that it holds, which an orphan of ours must keep.
            close_fds=False,
            # A group of its own can be stopped as a whole, and has no terminal that it could ask for anything.
            start_new_session=True,
        )
        # GitPython ends what it started as soon as nobody holds `started`, and its own wait() raises for every refusal.
        child = bounds.Child(started.pid, started.stdout, started.stderr, started.__getattr__("wait"))
        return bounds.attend(child, seconds, output)

    def told(self, *args: str | bytes, stdin: bytes = b"", literal: bool = True) -> Reply:
        """Run git where exit 1, or an object that is not there, says no. Any other refusal says nothing of it, and is raised."""
        reply = self.ask(*args, stdin=stdin, literal=literal)
        if reply.status not in (0, 1) and "Not a valid" not in reply.err:
            raise refusal(args, reply)
        return reply

    def left_locks(self) -> Iterator[Path]:
        """Yield where a git that is killed leaves locks in everybody's way: on the index, and on the head and its branch."""
        yield Path(f"{self.index or self.git_dir / 'index'}.lock")
        yield self.git_dir / "HEAD.lock"
        with suppress(OSError, UnicodeDecodeError):
            kind, _, branch = tree.start_of(self.git_dir / "HEAD", LONGEST).decode().strip().partition("ref: ")
            if branch.startswith("refs/") and not kind and ".." not in Path(branch).parts:  # what a workspace wrote may name any file
                yield self.common_dir / f"{branch}.lock"

    def sync_refs(self, *refs: Path) -> None:
        """Make the names durable of refs that git just wrote, below the folder that all refs are in, or in a git directory.

        git syncs a ref's file and then renames it, which is not always part of what the next sync of any file writes out. A folder is gone when a
        gc packs what was in it.
        """
        own = self.common_dir / "refs"
        folders = (folder for ref in refs for folder in (ref.parent, *(above for above in ref.parents if own in above.parents)))
        for folder in dict.fromkeys(folders):
            with suppress(*tree.ABSENT):
                tree.sync(folder)

    @property
    def ground(self) -> Ground:
        """What a git must be at work on to make the locks of this checkout."""
        return Ground(self.git_dir, self.common_dir, self.work_tree)

    def _drop_locks(self, since: float) -> None:
        """Remove the locks that are nobody's any more, since the git that made them was killed by a signal. Those that another git may have made
        meanwhile stay."""
        for lock in (*self.left_locks(), self.common_dir / "packed-refs.lock"):
            with suppress(FileNotFoundError):
                if lock.stat().st_mtime > since - _COARSE and not living(lock, self.ground):
                    remove(lock)

    def head_of(self, *args: str | bytes, limit: int) -> bytes:
        """Run git and return the first `limit` bytes of its output, however much there is."""
        heard = self._heard(args, b"", True, limit)
        if heard.excess in ("time", "memory"):
            raise bounds.too_much(os.fsdecode(args[0]), heard.excess, self.work_tree if self.index else None, self.patience)
        return heard.out

    def _rules(self, args: Sequence[str | bytes]) -> confinement.Rules:
        """Return what a command may write: its objects and index, the things of its own checkout, and what else it is there to change.

        Configuration, hooks and the rest of what a repository shares can only be told apart where no file beside them is written: so the
        main checkout's index is written as a copy (`checkout.own_index`), and refs by commands that start nothing.
        """
        places = self._places
        places += [self.work_tree] if args[0] in _FILLS_TREES and self.work_tree else []
        places += [self.common_dir, self.common_dir / "refs", self.common_dir / "logs"] if args[0] in _MOVES_REFS else []
        return confinement.Rules(write=list(map(str, places)))

    @property
    def _places(self) -> list[Path]:
        """Return what every command may write."""
        places = [Path(os.devnull), self.objects or self.common_dir / "objects", self.common_dir / "lfs"]
        places += [self.scratch] if self.scratch else []
        places += [self.index.parent] if self.index else []
        places += [self.git_dir] if self.git_dir != self.common_dir else []
        return places

    def _narrowed(self, args: Sequence[str | bytes]) -> dict[str, str]:
        """Return settings by which filters get less than a command that fills the main checkout: in that lies all that the others have."""
        tree = self.work_tree
        holds_others = tree is not None and (tree in self.common_dir.parents or (tree / WORKSPACES).exists())
        if args[0] not in _FILLS_TREES or not holds_others or not confinement.is_there():
            return {}
        launcher = shlex.join([sys.executable, "-I", "-S", str(landlock.__file__), *map(str, self._places), "--", "sh", "-c"])
        # git puts the quoted path in the place of %f, which is no place inside of quotes.
        return {key: f"{launcher} {shlex.quote(_with_argument(line))} sh %f" for key, line in self.filters.items() if line}

    @property
    def _folder(self) -> str:
        return str(self.work_tree or self.git_dir)

    def _environment(self, literal: bool, also: Mapping[str, str]) -> dict[str, str]:
        durability = {"core.fsync": "none" if tree.is_relaxed(self.common_dir) else "all"}
        settings = {**_SETTINGS, **(_PASSING if self.objects else durability), **self.settings, **also}
        environment = {**_ENVIRONMENT, **_placed(), "GIT_DIR": str(self.git_dir), "GIT_COMMON_DIR": str(self.common_dir)}
        if not literal:
            del environment["GIT_LITERAL_PATHSPECS"]
        if self.work_tree:
            environment |= {"GIT_WORK_TREE": str(self.work_tree), "GIT_CEILING_DIRECTORIES": str(self.work_tree.parent)}
        if self.scratch:
            environment["TMPDIR"] = str(self.scratch)
        if self.index:
            environment["GIT_INDEX_FILE"] = str(self.index)
        if self.objects:
            environment |= {
                "GIT_OBJECT_DIRECTORY": str(self.objects),
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(self.common_dir / "objects"),
            }
        environment["GIT_CONFIG_COUNT"] = str(len(settings))
        for number, (key, value) in enumerate(settings.items()):
            environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        return environment

    def disarmed(self, trusted: str = "") -> Git:
        """Return the door with every driver and hook off that the repository's own configuration defines; but for filters and merge drivers
        when their fingerprint is the trusted one.

        An empty filter passes contents through; a merge driver is replaced by git's own text merge, since an empty one would fail the merge.
        From git 2.54 on hooks can come from the configuration, where `core.hooksPath` does not reach them: these are off in any case.
        Trusted commands are given to git as they were looked at, so that a change that comes after the look does not count.
        """
        told = self._told()
        rows = _drivers(told)
        off: dict[str, str] = {}
        for _, kind, name, _, _ in (row for row in rows if row[1] == "hook" or row[0] in _LOCAL):
            off |= _off(kind, f"{kind}.{name}")
        own = [row for row in rows if row[0] in _LOCAL and row[1] != "hook"]
        if trusted and fingerprint(_programs(own)) == trusted:
            off = {key: value for key, value in off.items() if key.startswith("hook.")}
            off |= {f"{kind}.{name}.{setting}": command for _, kind, name, setting, command in own}
        commands = {f"filter.{name}.{setting}": line for _, kind, name, setting, line in rows if kind == "filter" and setting in _COMMANDS}
        if "filter.lfs.clean" in commands:
            # LFS keeps what it cleans in there, and may not make the folder itself.
            (self.common_dir / "lfs").mkdir(exist_ok=True)
        filters = {key: off.get(key, line) for key, line in commands.items()}
        checkout = {key.decode(): os.fsdecode(value or b"true") for _, key, value in told if _CHECKOUT.match(key)}
        alone = tuple(each for each in told if each.scope == b"worktree")
        running = {key: line for key, line in filters.items() if line}
        alike = not any(_PLACED.match(key) for _, key, _ in told)
        person = "" if _IDENTITY & os.environ.keys() else configuration.person(told)
        return replace(self, settings=off, filters=running, checkout=checkout, own=alone, person=person, alike=alike)

    def programs(self) -> tuple[Program, ...]:
        """Return the filters and merge drivers that the repository's own configuration defines, included files and this checkout's part too."""
        return _programs([row for row in _drivers(self._told()) if row[0] in _LOCAL and row[1] != "hook"])

    def _told(self) -> list[Setting]:
        """Return all settings that matter to what is checked out."""
        return configuration.told(self._said, self.git_dir, self.common_dir)

    def _said(self, *args: str) -> bytes:
        """Return what git says to a question, or else complains of."""
        reply = self.ask(*args) if "--system" in args else self.told(*args)
        return reply.out or os.fsencode(reply.err)

    # -- objects

    def blobs(self, ids: Iterable[str], limit: int) -> dict[str, bytes]:
        """Return the contents of those blobs that are at most `limit` bytes long."""
        asked = list(dict.fromkeys(ids))
        if not asked:
            return {}
        sizes = self.run("cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)", stdin="\n".join(asked).encode() + b"\n")
        small = [row[0] for row in (line.split() for line in sizes.decode().splitlines()) if row[1] == "blob" and int(row[2]) <= limit]
        if not small:
            return {}
        out, found, at = self.run("cat-file", "--batch", stdin="\n".join(small).encode() + b"\n"), dict[str, bytes](), 0
        for name in small:
            start = out.index(b"\n", at) + 1
            size = int(out[at:start].split()[2])
            found[name], at = out[start : start + size], start + size + 1
        return found

    def blob(self, contents: bytes) -> str:
        return self.line("hash-object", "-w", "--stdin", stdin=contents)

    def write_aside(self, kind: str, contents: bytes, width: int) -> str:
        """Write an object where new ones go that mostly vanish, as git stores it (gitformat-loose(5)), or into the sheaf, and return its id, of so many
        digits."""
        if self.sheaf:
            return self.sheaf.add(kind, contents, width)
        name = sheaf.named(kind, contents, width)
        place = (self.objects or self.common_dir / "objects") / name[:2] / name[2:]
        draft = place.with_name(f"tmp_{os.urandom(6).hex()}")
        with as_ours():
            place.parent.mkdir(exist_ok=True)
            draft.write_bytes(zlib.compress(f"{kind} {len(contents)}\0".encode() + contents, 1))
            draft.rename(place)
        return name

    def read_loose(self, kind: str, name: str, limit: int) -> bytes:
        """Return what an object of this kind holds that is in a file of its own, where new ones go or in the repository (gitformat-loose(5)); nothing
        where it is not to be seen there, or takes more than `limit` bytes."""
        for folder in filter(None, (self.objects, self.common_dir / "objects")):
            with suppress(OSError, zlib.error):
                raw = zlib.decompressobj().decompress(tree.start_of(folder / name[:2] / name[2:], limit), limit)
                head, _, contents = raw.partition(b"\0")
                if head == f"{kind} {len(contents)}".encode():
                    return contents
        return b""

    def tree(self, base: str, entries: Sequence[tuple[str, str, bytes]], scratch: Path) -> str:
        """Write `base` with `(mode, id, path)` entries put in; mode `0` takes the path out, with all below it."""
        index = scratch / f"index-{os.urandom(6).hex()}"
        try:
            return self.at(index=index)._put(base, entries)
        finally:
            index.unlink(missing_ok=True)

    def _put(self, base: str, entries: Sequence[tuple[str, str, bytes]]) -> str:
        self.run("read-tree", base)
        gone = [path for mode, _, path in entries if mode == "0"]
        if gone:
            self.run(
                "rm", "-r", "-q", "--cached", "--ignore-unmatch", "--pathspec-from-file=-", "--pathspec-file-nul", stdin=b"\0".join(gone)
            )
        there = b"".join(f"{mode} {name}\t".encode() + path + b"\0" for mode, name, path in entries if mode != "0")
        self.run("update-index", "--replace", "-z", "--index-info", stdin=there)
        return self.line("write-tree")


def _drivers(told: Iterable[Setting]) -> list[tuple[bytes, str, str, str, str]]:
    """Return scope, kind, name, setting and value of all that defines a driver or a hook."""
    found: list[tuple[bytes, str, str, str, str]] = []
    for scope, key, value in told:
        if driver := _DRIVER.match(key):
            kind, name, setting = map(os.fsdecode, driver.groups())
            found.append((scope, kind, name, setting, os.fsdecode(value)))
    return found


def _off(kind: str, driver: str) -> dict[str, str]:
    """Return the settings with which a driver does nothing."""
    if kind == "filter":
        return {f"{driver}.clean": "", f"{driver}.smudge": "", f"{driver}.process": "", f"{driver}.required": OFF}
    if kind == "merge":
        return {f"{driver}.driver": "git merge-file --marker-size=%L %A %O %B"}
    return {f"{driver}.enabled": "false"}


def _programs(rows: Sequence[tuple[bytes, str, str, str, str]]) -> tuple[Program, ...]:
    return tuple(
        Program.model_validate({"kind": kind, "name": _text(name), "setting": setting, "command": _text(command)})
        for _, kind, name, setting, command in rows
    )


def _text(raw: str) -> str:
    """Return what a configuration says as text without loss."""
    return path_text(os.fsencode(raw))


def _command(args: Sequence[str | bytes], environment: Mapping[str, str]) -> list[str]:
    """Return the command line, preceded by `env -u` for what git would obey in the caller's environment: GitPython can add, not drop."""
    kept = _HARMLESS | {name for name in _OWN if os.environ.get(name)}
    leaked = [name for name in os.environ if name.startswith("GIT_") and name not in environment and name not in kept]
    dropped = ["env", *(word for name in leaked for word in ("-u", name))] if leaked else []
    return [*dropped, "git", "--no-pager", *(os.fsdecode(arg) for arg in args)]


def _placed() -> dict[str, str]:
    """Return the environment's places as they are from here, where it names any from where it is: git runs in a workspace, where an agent could have put
    anything of that name."""
    said = {name: [place] for name in _FILES if (place := os.environ.get(name))}
    said["PATH"] = os.environ.get("PATH", os.defpath).split(os.pathsep)
    near = {name: places for name, places in said.items() if not all(map(os.path.isabs, places))}
    return {name: os.pathsep.join(map(os.path.abspath, places)) for name, places in near.items()}


def _with_argument(line: str) -> str:
    """Return a filter's command line as one for a shell whose first argument is the path."""
    return re.sub("%[%f]", lambda sign: '"$1"' if sign[0] == "%f" else "%", line)


def _quoted(path: Path) -> str:
    """Return a path for a list that colons separate, C-quoted as git(1) reads it there."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def refusal(args: Sequence[str | bytes], reply: Reply) -> Exception:
    """Say in our words what git refused, as far as it can be told from its message."""
    said = readable(" ".join(reply.err.strip().splitlines()[:4])) or f"exit status {reply.status}"
    details: Details = {"command": os.fsdecode(args[0]), "status": reply.status}
    if any(sign in reply.err for sign in ("No space left on device", "Disk quota exceeded", "File too large")):
        return NoSpace(f"The disk is full: {said}", "Free some space and call again.", **details)
    if lock := _LOCKED.search(reply.err):
        return in_the_way(Path(lock[1]))
    hint = "workspaces doctor looks closer."
    if _PROMISED.search(reply.err):
        return NotFetched(
            f"The repository is a partial clone, and lacks objects that git {os.fsdecode(args[0])} needs here: {said}. Nothing was changed.",
            "Fetch all that it lacks, then call again: git fetch --refetch --no-filter",
            **details,
        )
    if _GONE.search(reply.err):
        return Vanished(f"git {os.fsdecode(args[0])} failed: {said}", f"Call again. If that says the same, {hint}", **details)
    if _FILTER_FAILED.search(reply.err) and confinement.held():
        hint = (
            "Filters run without network here, and write nothing but the files of their repository: bring what they need first "
            "(git lfs fetch --all, for example)."
        )
    return BackendFailed(f"git {os.fsdecode(args[0])} failed: {said}", hint, **details)
