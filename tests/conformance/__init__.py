"""What every backend promises, as tests through the verbs that users know. Published as `workspaces.conformance`.

    pytest --pyargs workspaces.conformance                                 every installed backend
    CONFORMANCE_BACKEND=plain pytest --pyargs workspaces.conformance       one of them

A project is a folder of files for a backend that makes one of any folder. One whose users do more than write files (git's commit) names a
function `record(folder: Path) -> None` in the entry-point group `workspaces.conformance`, under the backend's name: it makes what is in the
folder the project's own, as a user would. It is called before `initialize`, and whenever a test has changed `main` for good.
"""
