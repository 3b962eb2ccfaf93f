"""The face that people see in a terminal. Nothing here decides about workspaces."""
