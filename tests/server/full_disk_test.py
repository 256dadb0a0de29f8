#!/usr/bin/python3
"""A disk that runs full or cannot be written: the server says which file and why, stops before anything acknowledged is
lost, and after space was made it starts with every acknowledged write.

Each backend runs out of space in three ways: the log's disk, the backend's disk (the log is on
another), and a disk that is full before the first start. A disk that became read-only is named before
anything is served. The disks are small tmpfs mounts; who is
not root gets them in a user namespace of its own. Where there is neither, the suite is skipped.

usage: full_disk_test.py [--backend NAME]...
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from servers import BACKENDS, Server, ServerDied, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

DISK_BYTES = 24 << 20
# More than what was written, however long the window took it when the backend's disk was full.
LARGER_BYTES = 256 << 20
VALUE_BYTES = 48 << 10
WRITERS = 4
REASON = "No space left on device"
IN_NAMESPACE = "QUORATE_TEST_IN_NAMESPACE"


class SmallDisk:
    def __init__(self):
        self.root = tempfile.mkdtemp(prefix="quorate-disk-")

    def __enter__(self):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", self.root],
                       check=True, capture_output=True)
        return self

    def __exit__(self, *unused):
        subprocess.run(["umount", self.root], check=True)
        os.rmdir(self.root)

    def remount(self, options):
        # All named: what the system says of the mount does not hold in a user namespace.
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"remount,{options}", "none", self.root],
                       check=True)

    def fill(self):
        with open(Path(self.root, "ballast"), "wb", buffering=0) as more:
            try:
                while more.write(bytes(4096)) > 0:
                    pass
            except OSError:
                pass

    def make_room(self):
        self.remount(f"size={LARGER_BYTES}")


def value_of(number, sequence):
    return random.Random(f"{number}/{sequence}").randbytes(VALUE_BYTES)  # does not compress


def write_until_refused(server):
    """Acknowledged writes of each writer, who all go on until the server is gone."""
    acknowledged = [0] * WRITERS

    def write(number):
        client = Client(server.endpoint)
        try:
            while True:
                sequence = acknowledged[number]
                client.KV.Put(etcd.PutRequest(key=b"%d/%06d" % (number, sequence),
                                              value=value_of(number, sequence)))
                acknowledged[number] += 1
        except grpc.RpcError:
            pass
        finally:
            client.close()

    writers = [threading.Thread(target=write, args=(number,)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    return acknowledged


def check(server, acknowledged):
    client = Client(server.endpoint)
    for number, count in enumerate(acknowledged):
        for sequence in range(count):
            found = client.KV.Range(etcd.RangeRequest(key=b"%d/%06d" % (number, sequence))).kvs
            assert len(found) == 1 and found[0].value == value_of(number, sequence), (
                f"writer {number}: acknowledged write {sequence} of {count} is lost")
    client.KV.Put(etcd.PutRequest(key=b"after", value=b"1"))
    client.close()


def check_last_words(server, reason=REASON):
    lines = [json.loads(line) for line in Path(server.log_path).read_text().splitlines()]
    last = lines[-1]
    assert last["level"] == "fatal" and reason in last["error"], last
    assert server.data_dir in last["error"] or server.wal_dir in last["error"], last


def make(backend, disk, what):
    elsewhere = tempfile.mkdtemp(prefix="quorate-elsewhere-")
    server = Server(quorate_binary(), f"--backend={backend}", "--log-segment-bytes=4MiB",
                    "--snapshot-count=100", "--snapshot-catchup-entries=50")
    server.elsewhere = elsewhere
    server.data_dir = os.path.join(disk.root, "data")
    server.wal_dir = os.path.join(disk.root, "data", "member", "log")
    if what == "log":
        server.data_dir, server.wal_dir = (os.path.join(elsewhere, "data"),
                                           os.path.join(disk.root, "wal"))
        server.flags.append(f"--wal-dir={server.wal_dir}")
        # The backend is synced late, so that the log is not cut.
        server.flags = [flag.replace("=100", "=1000000") for flag in server.flags]
    elif what == "backend":
        server.wal_dir = os.path.join(elsewhere, "wal")
        server.flags.append(f"--wal-dir={server.wal_dir}")
    return server


def runs_full(backend, what):
    with SmallDisk() as disk:
        server = make(backend, disk, what)
        try:
            server.start()
            acknowledged = write_until_refused(server)
            status = server.stop(signal.SIGCONT)  # only waits: it is ending by itself
            assert status == 1, f"exit status {status}:\n{server.log_tail()}"
            check_last_words(server)
            assert sum(acknowledged) > 0
            disk.make_room()
            server.start()
            check(server, acknowledged)
            assert server.stop() == -signal.SIGTERM
            server.start()
            check(server, acknowledged)
            print(f"{backend}: {what} ran full after {sum(acknowledged)} writes: as expected")
        except (AssertionError, grpc.RpcError):
            print(server.log_tail())
            raise
        finally:
            server.close()
            shutil.rmtree(server.elsewhere)


def expect_refusal(server, reason):
    try:
        server.start()
    except ServerDied:
        check_last_words(server, reason)
        return
    raise AssertionError(f"started in spite of: {reason}")


def read_only(backend):
    with SmallDisk() as disk:
        server = make(backend, disk, "all")
        try:
            disk.remount("ro")
            expect_refusal(server, "Read-only file system")
            disk.remount("rw")
            server.start()
            check(server, [0] * WRITERS)
            assert server.stop() == -signal.SIGTERM
            disk.remount("ro")
            expect_refusal(server, "Read-only file system")
            disk.remount("rw")
            server.start()
            check(server, [0] * WRITERS)
            print(f"{backend}: read-only disk: as expected")
        finally:
            server.close()
            shutil.rmtree(server.elsewhere)


def full_from_the_start(backend):
    with SmallDisk() as disk:
        disk.fill()
        server = make(backend, disk, "all")
        try:
            expect_refusal(server, REASON)
            disk.make_room()
            server.start()
            check(server, [0] * WRITERS)
            assert server.stop() == -signal.SIGTERM
            print(f"{backend}: full from the start: as expected")
        finally:
            server.close()
            shutil.rmtree(server.elsewhere)


def can_mount():
    try:
        with SmallDisk():
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    arguments = parser.parse_args()
    if not can_mount():
        if IN_NAMESPACE in os.environ or shutil.which("unshare") is None:
            print("SKIPPED: neither root nor user namespaces: no small disk can be mounted here")
            return 77
        os.environ[IN_NAMESPACE] = "1"
        done = subprocess.run(["unshare", "--map-root-user", "--mount", sys.executable, "-B",
                               *sys.argv], check=False)
        if done.returncode == 1 and not Path("/proc/self/ns/user").exists():
            print("SKIPPED: no user namespaces here")
            return 77
        return done.returncode
    for backend in arguments.backend or BACKENDS:
        runs_full(backend, "log")
        runs_full(backend, "backend")
        full_from_the_start(backend)
        read_only(backend)
    return 0


if __name__ == "__main__":
    sys.exit(main())
