"""A process that carries out calls on a project: one a line from stdin, its answer a line on stdout. `python -m campaigns.worker ROOT`."""

from __future__ import annotations

import sys
from pathlib import Path

from workspaces import Project, WorkspacesError

from .calls import READ, Answer, Call


def answer(project: Project, call: Call) -> Answer:
    try:
        return Answer(result=call.on(project).wire())
    except WorkspacesError as error:
        return Answer(refused=error.code, said=error.message)


def main() -> None:
    project = Project.open(Path(sys.argv[1]))
    for line in sys.stdin:
        print(answer(project, READ.validate_json(line)).model_dump_json(), flush=True)


if __name__ == "__main__":
    main()
