#!/usr/bin/python3
"""Damaged files: a byte of an acknowledged record is changed, in the log and in each backend. The
server does not start on it, and says in which file and where, and what can be done. A torn tail of
the log, which a crash leaves, is no damage.

usage: damage_test.py [--backend NAME]...
"""

import argparse
import json
import re
import shutil
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import BACKENDS, Server, ServerDied, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

KEYS = 300


def value(number):
    # Not compressible to nothing, so that it stands in the files as it is.
    return b"value-%06d-" % number + bytes((number * 7 + i * 13) % 251 for i in range(200))


def write(server, first, last):
    client = Client(server.endpoint)
    for number in range(first, last):
        client.KV.Put(etcd.PutRequest(key=b"key-%06d" % number, value=value(number)))
    client.close()


def check(server, count):
    client = Client(server.endpoint)
    found = client.KV.Range(etcd.RangeRequest(key=b"key-", range_end=b"key0")).kvs
    assert [kv.value for kv in found] == [value(number) for number in range(count)], len(found)
    client.close()


def flip(folder, wanted):
    """Changes one bit in the first place where `wanted` stands; answers that file and offset."""
    for path in sorted(Path(folder).rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        at = data.find(wanted)
        if at >= 0:
            with open(path, "r+b") as file:
                file.seek(at + len(wanted) // 2)
                file.write(bytes([data[at + len(wanted) // 2] ^ 1]))
            return path, at
    return None, None


def refusal(server):
    """The error of a start that has to fail."""
    try:
        server.start()
    except ServerDied:
        last = json.loads(Path(server.log_path).read_text().splitlines()[-1])
        assert last["level"] == "fatal", last
        return last["error"]
    raise AssertionError("started on damaged files")


def damaged_log(backend):
    with Server(quorate_binary(), f"--backend={backend}") as server:
        write(server, 0, KEYS)
        server.kill()
        shutil.copytree(server.data_dir, server.data_dir + ".kept")
        path, at = flip(Path(server.data_dir, "member", "log"), value(KEYS // 2))
        assert path is not None
        error = refusal(server)
        offset = re.search(r"offset (\d+)", error)
        assert path.name in error and offset, error
        assert at - 1000 < int(offset[1]) <= at + 300, f"changed at {at}: {error}"
        assert len(error) > 60, error  # the way out
        # A tail that a crash tore off is cut without a word about damage.
        shutil.rmtree(server.data_dir)
        shutil.move(server.data_dir + ".kept", server.data_dir)
        path, _ = flip(Path(server.data_dir, "member", "log"), value(KEYS - 1))
        server.start()
        check(server, KEYS - 1)
        write(server, KEYS - 1, KEYS + 10)
        assert server.stop() == -signal.SIGTERM
        server.start()
        check(server, KEYS + 10)


def damaged_backend(backend):
    with Server(quorate_binary(), f"--backend={backend}") as server:
        write(server, 0, KEYS)
        assert server.stop() == -signal.SIGTERM  # all is in the backend
        path, _ = flip(Path(server.data_dir, "member", "backend"), value(KEYS // 2))
        assert path is not None, "the value stands in no file of the backend"
        error = refusal(server)
        print(f"  {error[:300]}")
        assert path.name in error, f"changed {path}: {error}"
        assert re.search(r"offset|page|block|record", error), error


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    for backend in parser.parse_args().backend or BACKENDS:
        damaged_log(backend)
        print(f"{backend}: a damaged log is named, a torn one repaired")
        damaged_backend(backend)
        print(f"{backend}: a damaged backend is named")
    return 0


if __name__ == "__main__":
    sys.exit(main())
