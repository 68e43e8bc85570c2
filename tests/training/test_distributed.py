"""However many processes share the work, and wherever they are, it is the same work."""

import os
import shutil
import signal
import socket
import subprocess

import pytest

from tests.training.recipe import (
    assert_same_training,
    curve,
    family,
    started,
    train,
    wait_until,
)

SHARED = ("--batch_size", 8, "--remix_group", 2)
"""A batch that two processes can share, each in two micro-batches."""


@pytest.fixture(scope="module")
def alone(songs, tmp_path_factory):
    """Four epochs in one process."""
    exp_dir = tmp_path_factory.mktemp("one") / "exp"
    train(songs, exp_dir, *SHARED, "--epochs", 4)
    return exp_dir


def end(*processes):
    """What they said; all of them must end well."""
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), errors
    return errors


def test_two_processes_train_as_one_also_after_sigterm(songs, alone, tmp_path):
    """The signal ends both; another order of segments, in contrast, gives other losses."""
    words = (*SHARED, "--epochs", 4, "--devices", 2, "--accumulate", 2)
    with started(songs, tmp_path / "exp", *words) as process:
        wait_until((tmp_path / "exp" / "checkpoints" / "last.ckpt").exists, process)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert errors.splitlines()[-1] == "terminated: run the same command again to go on"
    wait_until(lambda: not family(process))
    assert len(curve(tmp_path / "exp")) < 4
    end(started(songs, tmp_path / "exp", *words))
    assert_same_training(tmp_path / "exp", alone)
    train(songs, tmp_path / "other", *SHARED, "--epochs", 1, "--seed", 43)
    assert abs(curve(tmp_path / "other")[0][0] - curve(alone)[0][0]) > 1e-3


@pytest.mark.slow
def test_two_processes_end_where_nothing_is_finite(songs, tmp_path):
    """All of them, and one says so."""
    words = (*SHARED, "--epochs", 3, "--devices", 2, "--optimizer", "sgd", "--lr", 1e12)
    with started(songs, tmp_path / "exp", *words) as process:
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == 2
    (line,) = [line for line in errors.splitlines() if "error" in line.lower()]
    assert line.startswith("error: epoch 1: loss is ") and "Traceback" not in errors
    wait_until(lambda: not family(process))
    assert not list((tmp_path / "exp").rglob("*.ckpt"))


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_starts_a_killed_rank_again(songs, alone, tmp_path, rank):
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    again = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}  # as run.sh sets it
    words = (*SHARED, "--epochs", 4)
    with started(
        *(songs, tmp_path / "exp", *words),
        start=(*start, "--max_restarts", "1"),
        environment=again,
    ) as process:
        wait_until((tmp_path / "exp" / "checkpoints" / "last.ckpt").exists, process)
        os.kill(family(process)[rank], signal.SIGKILL)
        end(process)
    assert_same_training(tmp_path / "exp", alone)
    assert len(list((tmp_path / "exp" / "logs" / "csv").iterdir())) == 2  # it went on


@pytest.mark.slow
def test_two_machines_that_are_started_by_hand_train_as_one(songs, alone, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    words = (*SHARED, "--epochs", 4, "--num_nodes", 2, "--devices", 1)
    machines = [where | {"NODE_RANK": str(rank)} for rank in (0, 1)]
    end(*[started(songs, tmp_path / "exp", *words, environment=e) for e in machines])
    assert_same_training(tmp_path / "exp", alone)


@pytest.fixture
def two_machines():
    """Two network namespaces with a cable between them: name, network card and address."""
    machines = [
        (
            f"upsamplers{os.getpid()}{letter}",
            f"up{os.getpid() % 10**6}{letter}",
            f"10.77.0.{number}",
        )
        for number, letter in enumerate("ab", 1)
    ]

    def ip(*words, check=True):
        subprocess.run(["ip", *words], check=check, capture_output=True, text=True)

    if shutil.which("ip") is None:
        pytest.skip("iproute2 is not installed")
    try:
        for name, *_ in machines:
            ip("netns", "add", name)
        ip("link", "add", machines[0][1], "type", "veth", "peer", "name", machines[1][1])
        for name, card, address in machines:
            ip("link", "set", card, "netns", name)
            ip("-n", name, "addr", "add", f"{address}/24", "dev", card)
            ip("-n", name, "link", "set", card, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield machines
    except subprocess.CalledProcessError as error:
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.strip()}")
    finally:
        for name, *_ in machines:
            ip("netns", "del", name, check=False)


@pytest.mark.slow
def test_two_machines_train_as_one(songs, alone, tmp_path, two_machines):
    """They share a folder and a network, and meet at torchrun's rendezvous."""
    (_, _, first), _ = two_machines
    meeting = ["--nnodes", "2", "--nproc_per_node", "1", "--rdzv_backend", "c10d"]
    meeting += ["--rdzv_id", "test", "--rdzv_endpoint", f"{first}:29400"]
    processes = []
    for name, card, address in two_machines:
        inside = ("ip", "netns", "exec", name, "env", f"GLOO_SOCKET_IFNAME={card}")
        # torchrun tells where it is by the name of the machine, which is the same for both
        here = ("--rdzv_conf", f"is_host={address == first}", "--local_addr", address)
        start = ("-m", "torch.distributed.run", *meeting, *here)
        words = (songs, tmp_path / "exp", *SHARED, "--epochs", 4)
        processes.append(started(*words, start=start, inside=inside))
    end(*processes)
    assert_same_training(tmp_path / "exp", alone)
