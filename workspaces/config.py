"""What a project's `workspaces.toml` says, and a person's own `workspaces.local.toml` beside it, which has the last word.

Both may have come with the repository, so nothing in here lets anything run, and no value makes a promise smaller than a day.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, field_validator

from workspaces.errors import InvalidArgument, as_ours, likely
from workspaces.model import Role, path_bytes, path_shown

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

FILES = ("workspaces.toml", "workspaces.local.toml")
_LARGEST = 1 << 20
_MEANT = re.compile(r"[][*?!#\\ ]")
"""What means something in a pattern, and in a path is itself."""
_KINDS = ("constrained-", "tuple[", "[key]", "literal[")
"""What pydantic adds to the name of a setting that may be of several kinds, or that is a name itself."""
_HEADER = re.compile(r"\s*\[+([^\[\]]+)\]+")

Word = Annotated[str, Field(min_length=1, max_length=100_000, pattern=r"^[^\x00]*$")]
Pattern = Annotated[str, Field(min_length=1, max_length=1000)]
Command = Word | Annotated[tuple[Word, ...], Field(min_length=1, max_length=1000)]
CheckName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Trash(_Table):
    """How long, and how much, deleted workspaces are kept until `gc` may remove them."""

    days: int = Field(default=14, ge=1, le=3660)
    max_gb: float = Field(default=0, ge=0, le=10**6, allow_inf_nan=False, description="0: as much as there is")


class Check(_Table):
    """A command that judges a workspace: it passes when it ends with 0. It runs when a person trusted it."""

    run: Command = Field(description="a line for /bin/sh, or a list of words")
    timeout_seconds: float = Field(default=600, gt=0, le=86400)
    protect: tuple[Pattern, ...] = Field(default=(), description="paths that are as in the base (gitignore syntax)")
    network: bool = Field(default=False, description="whether it may use the network, loopback included, where it can be kept from it")
    repeat: int = Field(default=1, ge=1, le=100, description="how often it is run; when not all end alike it is flaky")


class Checking(_Table):
    """How checks are run."""

    at_once: int = Field(default=0, ge=0, le=256, description="0: as many as there are cores")
    max_output_mb: float = Field(default=16, gt=0, le=4096, description="of each log; beyond it only the end is kept")


DRIVER = "driver:"


class Regenerated(_Table):
    """What makes a generated file anew from the merged contents. It runs when a person trusted it."""

    regenerate: Command


PathRule = Literal["union", "source", "target"] | Annotated[str, Field(pattern=r"^driver:[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] | Regenerated
"""How a path that conflicts is decided: by the lines of both, a side, a syntax-aware merge program on PATH, or a command."""


class Merging(_Table):
    """How merges are made."""

    require: tuple[CheckName, ...] = Field(default=(), description="checks that the merged contents must pass before main moves")
    paths: dict[Pattern, PathRule] = Field(
        default_factory=dict[str, PathRule], description="pattern (gitignore syntax; later ones win) → rule"
    )


class Cloning(_Table):
    """How clones are made."""

    spares: int = Field(default=16, ge=0, le=256, description="how many may lie prepared for calls to come, at most; 0: none")


class Limits(_Table):
    """What each caller with a token may have, at most."""

    workspaces: int = Field(default=256, ge=1, le=10**6, description="of its own, at a time")
    max_gb: float = Field(default=0, ge=0, le=10**6, allow_inf_nan=False, description="on disk, of its workspaces, when it clones; 0: any")
    checks: int = Field(default=16, ge=1, le=10**6, description="under way")
    calls_at_once: int = Field(default=32, ge=1, le=10**6)
    calls_per_second: float = Field(
        default=50, gt=0, le=10**6, allow_inf_nan=False, description="in the long run; twice as many in a burst"
    )
    request_kb: int = Field(default=1024, ge=1, le=4096, description="of one call's arguments")
    answer_kb: int = Field(default=340, ge=4, le=340)


class RoleLimits(Limits):
    """The same for each role, where it is other than for all."""

    read: dict[str, int | float] = Field(default_factory=dict[str, int | float])
    work: dict[str, int | float] = Field(default_factory=dict[str, int | float])
    merge: dict[str, int | float] = Field(default_factory=dict[str, int | float])
    administer: dict[str, int | float] = Field(default_factory=dict[str, int | float])

    @field_validator("read", "work", "merge", "administer")
    @classmethod
    def _of_a_role(cls, said: dict[str, int | float]) -> dict[str, int | float]:
        Limits.model_validate(said)
        return said

    def of(self, role: Role) -> Limits:
        """Return what counts for a role."""
        own = {"read": self.read, "work": self.work, "merge": self.merge, "administer": self.administer}[role]
        return Limits.model_validate({name: getattr(self, name) for name in Limits.model_fields} | own)


class Config(_Table):
    """All settings of a project."""

    durable: bool = Field(default=True, description="whether what is acknowledged survives a power cut")
    clone: Cloning = Cloning.model_construct()
    trash: Trash = Trash.model_construct()
    checks: dict[CheckName, Check] = Field(default_factory=dict[str, Check])
    check: Checking = Checking.model_construct()
    merge: Merging = Merging.model_construct()
    limits: RoleLimits = RoleLimits.model_construct()


USUAL = Config.model_construct()
"""What counts where nothing is set. What checks settings is not made ready for it: most projects have none, and every command would wait."""


def load(root: Path) -> Config:
    """Read the settings of the project at `root`. Raises `InvalidArgument` for a file that does not say what it should; links are not followed."""
    texts = {root / name: _text(root / name) for name in FILES}
    settings: dict[str, JsonValue] = {}
    for file, text in texts.items():
        settings = _over(settings, _parsed(file, text))
    try:
        return Config.model_validate(settings) if settings else USUAL
    except ValidationError as error:
        raise _refusal(error, texts) from None


def _refusal(error: ValidationError, texts: Mapping[Path, str]) -> InvalidArgument:
    """Say in which file and line the first wrong setting is, and what it should be."""
    first, *others = error.errors(include_url=False)
    told = [first, *(each for each in others if _words(each)[: len(_words(first))] == _words(first))]
    # Of what may be of several kinds, all are told of; what it is of the kind that was meant, if it is of any, says most.
    first = next((each for each in told if not each["type"].endswith("_type") or _words(each) != _words(first)), first)
    words = _words(first)
    where = next(
        (f"{file}, line {line}" for file in reversed([*texts]) if (line := _line(texts[file], words))), " or ".join(map(str, texts))
    )
    name, settings = path_shown(".".join(words)[:100]), [*_settings(Config, words)]
    if first["type"] == "extra_forbidden":
        said = f"there is no setting '{name}'.{likely(name, [*settings, *Config.model_fields])}"
    elif first["type"] == "missing":
        said = f"'{name}' is not set, and has to be."
    else:
        rule = (
            _RULES[first["type"]].format(**first.get("ctx", {})) if first["type"] in _RULES else first["msg"][:1].lower() + first["msg"][1:]
        )
        kinds = [_RULES[each["type"]] for each in told if each["type"].endswith("_type") and each["type"] in _RULES]
        rule = " or ".join([rule, *(kind.removeprefix("it must be ") for kind in kinds if kind != rule)]) if rule in kinds else rule
        said = f"{name} is {json.dumps(first['input'], default=str)[:60]}; {rule}."
    return InvalidArgument(f"{where}: {said} Nothing was done.", f"Settings: {', '.join(settings)}.")


def _words(error: ErrorDetails) -> list[str]:
    return [str(word) for word in error["loc"] if not str(word).startswith(_KINDS)]


_RULES = {
    "bool_parsing": "it must be true or false",
    "bool_type": "it must be true or false",
    "int_parsing": "it must be a whole number",
    "int_type": "it must be a whole number",
    "int_from_float": "it must be a whole number",
    "float_parsing": "it must be a number",
    "float_type": "it must be a number",
    "finite_number": "it must be a finite number",
    "greater_than_equal": "it must be {ge} or more",
    "less_than_equal": "it must be {le} or less",
    "string_type": "it must be text",
    "list_type": "it must be a list",
    "tuple_type": "it must be a list",
    "too_short": "it must hold at least {min_length}",
    "string_too_short": "it must hold at least {min_length} character",
    "model_type": "it must be a table of settings",
    "dict_type": "it must be a table of settings",
    "greater_than": "it must be more than {gt}",
    "string_pattern_mismatch": "it holds what it may not (a name has letters, digits, - and _, and begins with a letter or digit)",
}
"""What pydantic's kinds of errors mean to who wrote a setting."""


def _settings(model: type[BaseModel], words: Sequence[str] = (), above: str = "") -> Iterator[str]:
    """Yield the names of all settings, those of tables with the table's; of tables that the file names, with the name that it has there."""
    for name, field in model.model_fields.items():
        kind, key = field.annotation, ""
        if get_origin(kind) is dict and (each := get_args(kind)[1]) is Check:
            kind, key = each, f"{words[1] if words[:1] == [name] and len(words) > 1 else 'NAME'}."
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _settings(kind, words, f"{above}{name}.{key}")
        else:
            yield f"{above}{name}"


def _line(text: str, words: Sequence[str]) -> int:
    """Return the number of the line in which a setting, or else the table that it is in, is set; 0 when none does."""
    table: list[str] = []
    found = 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _plain(header[1])
        here = table if header else [*table, *_plain(line.partition("=")[0])] if "=" in line else []
        if here and here == [*words[: len(here)]] and (not found or len(here) == len(words)):
            found = number
            if len(here) == len(words):
                break
    return found


def _plain(dotted: str) -> list[str]:
    return [word.strip().strip("\"'") for word in dotted.split(".")]


def _over(old: dict[str, JsonValue], new: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return settings with others in their place, table by table. What comes later stands later: of path patterns, the last one counts."""
    kept = {name: value for name, value in old.items() if name not in new}
    for name, value in new.items():
        before = old.get(name)
        kept[name] = _over(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return kept


def deciding(config: Config, rules: Mapping[str, str]) -> Config:
    """Return the settings with rules for single paths, which have the last word. Raises `InvalidArgument` for one that means nothing."""
    if not rules:
        return config
    exact = {"/" + _MEANT.sub(r"\\\g<0>", os.fsdecode(path_bytes(path))): rule for path, rule in rules.items()}
    try:
        merging = Merging.model_validate({**config.merge.model_dump(), "paths": {**config.merge.paths, **exact}})
    except ValidationError:
        raise InvalidArgument("A path can be decided by source, target or union. Nothing was merged.", "Leave rules out.") from None
    return config.model_copy(update={"merge": merging})


def known(root: Path) -> Config:
    """Return the settings of a project, or the defaults where they cannot be read."""
    try:
        return load(root)
    except InvalidArgument:
        return USUAL


def _text(file: Path) -> str:
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be read: {error.strerror}. Nothing was done.", "It must be a file, and no link.") from None
    with as_ours(), os.fdopen(descriptor, "rb") as opened:
        read = opened.read(_LARGEST + 1)
    if len(read) > _LARGEST:
        raise InvalidArgument(f"{file} is larger than a megabyte. Nothing was done.", "Mend it, or move it away.")
    try:
        return read.decode()
    except UnicodeDecodeError:
        raise InvalidArgument(f"{file} is no TOML: it is not UTF-8. Nothing was done.", "Mend it, or move it away.") from None


def _parsed(file: Path, text: str) -> dict[str, JsonValue]:
    if not text:
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{file} is no TOML: {str(error)[:200]}. Nothing was done.", "Mend it, or move it away.") from None
