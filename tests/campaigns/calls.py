"""What agents ask for, as values. A call can be made on a `Project`, sent to a server as a tool's name and arguments, or typed as a command."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter

from workspaces import Project
from workspaces.model import Children, History, Noun, OnConflict


class Clone(Noun):
    verb: Literal["clone"] = "clone"
    source: str
    name: str

    def on(self, project: Project) -> Noun:
        return project.clone(self.source, name=self.name)

    def typed(self) -> list[str]:
        return [self.source, "--name", self.name]


class Compare(Noun):
    verb: Literal["compare"] = "compare"
    workspaces: tuple[str, ...]

    def on(self, project: Project) -> Noun:
        return project.compare(self.workspaces)

    def typed(self) -> list[str]:
        return [*self.workspaces]


class Merge(Noun):
    """A merge. Its `message` is found again in the log and in a repository's history."""

    verb: Literal["merge"] = "merge"
    source: str
    target: str
    message: str
    on_conflict: OnConflict = "abort"
    history: History = "squash"

    def on(self, project: Project) -> Noun:
        return project.merge(self.source, self.target, self.on_conflict, self.history, self.message)

    def typed(self) -> list[str]:
        return [self.source, self.target, "--on-conflict", self.on_conflict, "--history", self.history, "--message", self.message]


class Checkpoint(Noun):
    verb: Literal["checkpoint"] = "checkpoint"
    workspace: str

    def on(self, project: Project) -> Noun:
        return project.checkpoint(self.workspace)

    def typed(self) -> list[str]:
        return [self.workspace]


class Restore(Noun):
    """Back to a restore point, or out of the trash when none is named."""

    verb: Literal["restore"] = "restore"
    workspace: str
    to: str = ""

    def on(self, project: Project) -> Noun:
        return project.restore(self.workspace, self.to)

    def typed(self) -> list[str]:
        return [self.workspace, *([self.to] if self.to else [])]


class Delete(Noun):
    verb: Literal["delete"] = "delete"
    workspaces: tuple[str, ...]
    discard_unmerged: bool = True
    children: Children = "refuse"

    def on(self, project: Project) -> Noun:
        return project.delete(self.workspaces, self.discard_unmerged, self.children)

    def typed(self) -> list[str]:
        return [*self.workspaces, "--children", self.children, *(["--discard-unmerged"] if self.discard_unmerged else [])]


class Undo(Noun):
    """What the person at the terminal does; servers have no tool for it."""

    verb: Literal["undo"] = "undo"

    def on(self, project: Project) -> Noun:
        return project.undo()

    def typed(self) -> list[str]:
        return []


Call = Clone | Compare | Merge | Checkpoint | Restore | Delete | Undo
READ: TypeAdapter[Call] = TypeAdapter(Annotated[Call, Field(discriminator="verb")])
"""Reads a call back from JSON."""


class Answer(Noun):
    """What came back: a result, the code and words of a refusal, or neither when whoever was asked died before it answered."""

    result: dict[str, JsonValue] | None = None
    refused: str = ""
    said: str = ""
