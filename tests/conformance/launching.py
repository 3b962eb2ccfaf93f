"""What `forking` starts for each process: it loads next to nothing, since that is paid for every time."""

from __future__ import annotations

import os
import signal
import socket
import sys

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def launch(door: str, words: list[str]) -> None:
    """Have a fork run these words with what this process has, and end as it does."""
    with socket.socket(socket.AF_UNIX) as there:
        there.connect(door)
        here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
        environment = (name + b"=" + value for name, value in os.environb.items())
        told = b"\0".join([b"%d" % len(words), *map(os.fsencode, words), *environment])
        socket.send_fds(there, [len(told).to_bytes(4)], [0, 1, 2, here])
        there.sendall(told)
        for number in _PASSED_ON:
            signal.signal(number, lambda number, _: there.sendall(bytes([number])))
        answer = there.recv(4, socket.MSG_WAITALL)
    if len(answer) < 4:
        sys.exit("The process to fork from is gone.")
    _end(int.from_bytes(answer, signed=True))


def _end(status: int) -> None:
    if status < 0:
        if status != -signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


if __name__ == "__main__":
    launch(sys.argv[1], sys.argv[2:])
