"""Mechanism: the built-in backends. Found through the entry-point group `workspaces.backends`, never imported by name."""
