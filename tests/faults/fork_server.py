"""A process that has imported what the recipe needs, and forks a child for every command.

To import it takes seconds, which a trial would spend before it begins. Reads requests as lines of
JSON and answers each with one: ``{"start": [script or -m module, argument, ...], "log": path,
"environment": {name: value}, "memory": bytes or null}`` with the child's pid, ``{"wait": pid,
"seconds": s}`` with its exit code, or ``null`` if it still runs then. A child leads a session of
its own, may have so much memory more than it begins with, and is, from there on, the real script.
"""

import json
import os
import resource
import runpy
import signal
import sys
import time
from pathlib import Path

RECIPE = Path(__file__).parents[2] / "recipes" / "musdb18" / "DemucsUpsamplers"


def serve() -> None:
    """Answer requests until standard input ends."""
    answer({"ready": os.getpid()})
    for line in sys.stdin:
        request = json.loads(line)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                os.environ.update(request["environment"])
                if request["memory"] is not None:
                    allow(request["memory"])
                become(request["start"], request["log"])
                return
            while os.getsid(pid) != pid:  # so that whoever asked finds its processes
                time.sleep(0.001)
            answer(pid)
        else:
            answer(exit_code(request["wait"], request["seconds"]))


def answer(content) -> None:
    sys.stdout.write(json.dumps(content) + "\n")
    sys.stdout.flush()


def become(command: list[str], log: str) -> None:
    """Run a script of the recipe, or a module, as Python's command line does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    os.setsid()
    os.chdir(RECIPE)
    if command[0] == "-m":
        sys.argv = command[1:]
        sys.path[0] = str(RECIPE)
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        sys.path[0] = str(RECIPE)
        runpy.run_path(str(RECIPE / command[0]), run_name="__main__")


def allow(more: int) -> None:
    """Limit the address space to what is used now, and some more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def exit_code(pid: int, seconds: float) -> int | None:
    """Of a child that has ended, or ends within some seconds."""
    deadline = time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.002)


if __name__ == "__main__":
    import musdb  # noqa: F401
    import museval  # noqa: F401

    import asteroid_upsamplers.cli
    import asteroid_upsamplers.data
    import asteroid_upsamplers.evaluation
    import asteroid_upsamplers.report
    import asteroid_upsamplers.training  # noqa: F401

    serve()
