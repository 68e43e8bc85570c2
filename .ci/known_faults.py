#!/usr/bin/env python3
"""Run the scripts that show known faults, kept beside the checkout in ../shared/faults.

    python .ci/known_faults.py              # those that take under ten seconds each
    python .ci/known_faults.py --all
    python .ci/known_faults.py nan_weights options

They use some names that have moved since: the table says which, and a changed copy is run. Exit
status 1 if one shows a fault or ends early, or if the table no longer fits a script.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = ROOT.parent / "shared" / "faults"
LONGEST = 600
"""Seconds after which a script is ended."""

SLOW = {"decoded_length", "experiment_identity", "free_length", "going_on", "hidden_cause"}
SLOW |= {"mp3_seek", "options", "scratch_names", "second_node", "songs_left_out", "stale_data"}
SLOW |= {"strict_json"}
"""Those that take ten seconds or more, alone on one core."""

PROBE = ("artifacts.probe(", "asteroid_upsamplers.probe.probe(")
IMPORT = ("from asteroid_upsamplers import artifacts", "import asteroid_upsamplers.probe\n")
PROBE_MOVED = [PROBE, (IMPORT[0], IMPORT[1] + IMPORT[0])]
CHUNK_MOVED = [("--chunk 0.7 ", "")]
SEPARATE = """
def separate(*changes):
    command = [sys.executable, "-W", "ignore", "eval.py", "separate", str(d / "exp")]
    command += ["--musdb18_dir", str(d / "set"), "--wav_dir", str(d / "wav"), *map(str, changes)]
    return subprocess.run(
        command, cwd="recipes/musdb18/DemucsUpsamplers", capture_output=True, text=True
    )
"""
CHANGED = {
    "loudest_tone": PROBE_MOVED,
    "network_outputs": PROBE_MOVED,
    "probe_state": PROBE_MOVED,
    "unseen_layers": [*PROBE_MOVED, ("report['blame']", "report['attributed_to']")],
    "one_filter": [("call.as_filters()", "call.system()")],
    "going_on": [("--packed false ", ""), *CHUNK_MOVED],
    "nan_training": CHUNK_MOVED,
    "second_node": CHUNK_MOVED,
    # train.py no longer knows how songs are separated: eval.py does
    "experiment_identity": [
        *CHUNK_MOVED,
        ("\nwith tempfile", SEPARATE + "\nwith tempfile"),
        ('train("--shifts"', 'separate("--shifts"'),
        ('train("--overlap"', 'separate("--overlap"'),
    ],
}
"""By script: old words and what stands for them today."""


def main() -> int:
    """Run the scripts that are asked for; how many went wrong decides the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="scripts, without their endings")
    parser.add_argument("--all", action="store_true", help="the slow ones, too")
    arguments = parser.parse_args()
    found = {path.stem: path for path in sorted(SCRIPTS.glob("*")) if path.suffix in (".py", ".sh")}
    if not found:
        print(f"no scripts in {SCRIPTS}: nothing to run")
        return 0
    unknown = sorted({*arguments.names, *CHANGED, *SLOW} - set(found))
    if unknown:
        parser.error(f"{SCRIPTS} has no {', '.join(unknown)}")
    names = arguments.names or [name for name in found if arguments.all or name not in SLOW]
    wrong = [name for name in names if not run(found[name])]
    print(f"{len(wrong)} of {len(names)} scripts with faults: {', '.join(wrong) or 'none'}")
    return min(len(wrong), 1)


def run(path: Path) -> bool:
    """Run today's form of a script and print what it says; whether all of it is right."""
    text = path.read_text()
    for old, new in CHANGED.get(path.stem, []):
        if old not in text:
            print(f"FAULT {path.stem}: no longer has {old!r}: see {Path(__file__).name}")
            return False
        text = text.replace(old, new)
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
    }
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / path.name
        script.write_text(text)
        command = [sys.executable if path.suffix == ".py" else "bash", str(script)]
        print(f"== {path.stem}", flush=True)
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        try:
            ended = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LONGEST
            )
            status, said, errors = ended.returncode, ended.stdout, ended.stderr
        except subprocess.TimeoutExpired:
            status, said, errors = 1, "", f"not at its end after {LONGEST} s"
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    right = status == 0 and "OK" in said and "FAULT" not in said
    print(said, end="")
    if not right and "FAULT" not in said:
        print(f"FAULT {path.stem}: exit status {status}\n" + "\n".join(errors.splitlines()[-15:]))
    print(f"   {time.monotonic() - start:.0f} s, {used:.0f} s of CPU time", flush=True)
    return right


if __name__ == "__main__":
    sys.exit(main())
