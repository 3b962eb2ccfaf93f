"""What is remembered, in one SQLite file on which every process agrees, and beside it a ledger from which that file can be made again; and what is
known of each workspace once more, for when both are lost."""

from __future__ import annotations

from workspaces.store.connections import held
from workspaces.store.remembered import MergeRow, ProjectRow, Request, Store
from workspaces.store.tables import SCHEMA_VERSION

__all__ = ["SCHEMA_VERSION", "MergeRow", "ProjectRow", "Request", "Store", "held"]
