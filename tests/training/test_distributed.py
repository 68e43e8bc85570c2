"""However many processes share the work, and wherever they are, it is the same work."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from asteroid_upsamplers.training.curve import learning_curve
from tests.training.distributed import (
    ENVIRONMENT,
    PYTHON,
    TRAIN,
    assert_same_training,
    losses,
    torchrun,
    train,
    write_experiment,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    return write_experiment(tmp_path_factory.mktemp("distributed"))


@pytest.fixture(scope="module")
def alone(conf):
    """The experiment, trained by one process."""
    train(conf, conf.parent / "alone")
    return conf.parent / "alone"


@pytest.mark.parametrize(
    ("start", "options"),
    [
        (PYTHON, ["--devices", "2"]),
        (torchrun("--nproc_per_node", "2"), []),
        (torchrun("--nproc_per_node", "2"), ["--accumulate", "2", "--num_workers", "1"]),
    ],
    ids=["devices", "torchrun", "torchrun, in parts"],
)
def test_two_processes_train_as_one(conf, alone, tmp_path, start, options):
    train(conf, tmp_path / "exp", *options, start=start)
    assert_same_training(tmp_path / "exp", alone)


def test_the_losses_tell_batches_apart(conf, alone, tmp_path):
    """What the comparisons above rest on: another order of extracts gives other losses."""
    train(conf, tmp_path / "exp", "--seed", "43")
    assert abs(losses(tmp_path / "exp") - losses(alone)).max() > 1e-3


def test_fsdp_trains_and_goes_on(conf, alone, tmp_path):
    script = Path(__file__).with_name("fsdp_on_cpu.py")
    for epochs in ("2", "3"):
        train(
            conf,
            tmp_path / "exp",
            *("--strategy", "fsdp", "--epochs", epochs),
            start=torchrun("--nproc_per_node", "2"),
            script=script,
        )
    assert_same_training(tmp_path / "exp", alone)


@pytest.fixture
def two_machines():
    """Two network namespaces with a cable between them."""
    names = [f"upsamplers{os.getpid()}{letter}" for letter in "ab"]
    ends = [f"up{os.getpid() % 10**6}{letter}" for letter in "ab"]

    def ip(*words):
        subprocess.run(["ip", *words], check=True, capture_output=True, text=True)

    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for number, (name, end) in enumerate(zip(names, ends, strict=True), 1):
            ip("link", "set", end, "netns", name)
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
    except subprocess.CalledProcessError as error:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
    yield [
        (name, end, f"10.77.0.{number}")
        for number, (name, end) in enumerate(zip(names, ends, strict=True), 1)
    ]
    for name in names:
        subprocess.run(["ip", "netns", "del", name], check=True, capture_output=True)


def test_two_machines_train_as_one(conf, alone, tmp_path, two_machines):
    """They share a folder and a network, and meet at torchrun's rendezvous."""
    (_, _, address), _ = two_machines
    options = ["--nnodes", "2", "--nproc_per_node", "1", "--rdzv_backend", "c10d"]
    options += ["--rdzv_id", "test", "--rdzv_endpoint", f"{address}:29400"]
    command = ["--conf", str(conf), "--exp_dir", str(tmp_path / "exp")]
    started = []
    for name, end, own in two_machines:
        inside = ["ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={end}"]
        # torchrun tells where it is by the name of the machine, which is the same for both
        host = f"is_host={own == address}"
        start = torchrun(*options, "--rdzv_conf", host, "--local_addr", own)
        words = [*inside, *start, str(TRAIN), *command]
        log = (tmp_path / f"{name}.log").open("w+")
        started.append((subprocess.Popen(words, stderr=log, env=ENVIRONMENT), log))
    try:
        codes = [process.wait(timeout=300) for process, _ in started]
    finally:
        for process, log in started:
            process.kill()
            log.seek(0)
            print(log.read())
            log.close()
    assert codes == [0, 0]
    assert_same_training(tmp_path / "exp", alone)


def test_sigterm_ends_both_processes(conf, alone, tmp_path):
    """And the next run goes on where they were."""
    words = ["--conf", str(conf), "--exp_dir", str(tmp_path / "exp"), "--devices", "2"]
    with subprocess.Popen(
        [*PYTHON, str(TRAIN), *words],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    ) as process:
        wait_until((tmp_path / "exp" / "checkpoints" / "last.ckpt").exists)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors.splitlines()[-1] == "terminated: run the same command again to go on"
    wait_until(lambda: not is_alive(process.pid))
    assert len(learning_curve(tmp_path / "exp")) < 3
    train(conf, tmp_path / "exp", "--devices", "2")
    assert_same_training(tmp_path / "exp", alone)


def is_alive(group):
    """Whether a process group has processes."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until(condition, seconds=60):
    for _ in range(20 * seconds):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come true")
