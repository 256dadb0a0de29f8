#!/usr/bin/python3
"""What an operator does to a running server: defragmentation while clients work, quota and NOSPACE and
the way out, a downgrade of the cluster, limits of requests, logs that are rotated.

usage: maintenance_test.py [--backend NAME]... [CASE]...
"""

import argparse
import ctypes.util
import http.client
import json
import re
import struct
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
import grpc  # noqa: E402
from cluster import Cluster, wait_for  # noqa: E402
from servers import BACKENDS, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402


def refusal(call, request):
    try:
        call(request, timeout=60)
    except grpc.RpcError as error:
        return error.code(), error.details()
    raise AssertionError(f"not refused: {str(request)[:200]}")


def defragment_beside_clients(backend):
    """Reads and writes go on while it runs, nothing is lost, and the space of what was compacted is
    given back."""
    value = bytes(range(256)) * 16
    with Server(quorate_binary(), f"--backend={backend}") as server:
        client = Client(server.endpoint)
        for number in range(3000):
            client.KV.Put(etcd.PutRequest(key=b"%d" % (number % 50), value=value))
        before = client.Maintenance.HashKV(etcd.HashKVRequest())
        revision = before.header.revision
        full = wait_for(  # when all is in the backend
            lambda: (size := client.Maintenance.Status(etcd.StatusRequest()).dbSize) > 8e6 and size,
            "12 MB in the backend")
        client.KV.Compact(etcd.CompactionRequest(revision=revision, physical=True))
        during, rounds = [], 0
        running, stop, failures = threading.Event(), threading.Event(), []

        def write():
            own = Client(server.endpoint)
            number = 0
            try:
                while not stop.is_set():
                    number += 1
                    inside = running.is_set()
                    own.KV.Put(etcd.PutRequest(key=b"during", value=b"%d" % number))
                    got = own.KV.Range(etcd.RangeRequest(key=b"during")).kvs[0].value
                    assert got == b"%d" % number, got
                    if inside and running.is_set():  # began and ended within one defragmentation
                        during.append(number)
            except (grpc.RpcError, AssertionError) as error:
                failures.append(error)
            own.close()

        writer = threading.Thread(target=write)
        writer.start()
        while not failures and (rounds < 3 or (len(during) < 20 and rounds < 2000)):
            running.set()
            client.Maintenance.Defragment(etcd.DefragmentRequest(), timeout=120)
            running.clear()
            rounds += 1
        stop.set()
        writer.join()
        assert not failures, failures
        assert len(during) >= 20, f"{len(during)} writes and reads during {rounds} rounds"
        size = client.Maintenance.Status(etcd.StatusRequest()).dbSize
        assert size < full / 2, f"{full} bytes before, {size} after"
        kvs = client.KV.Range(etcd.RangeRequest(key=b"0", range_end=b":")).kvs
        assert len(kvs) == 50 and all(kv.value == value for kv in kvs)
        client.close()
        print(f"  {len(during)} writes and reads within {rounds} rounds, {full} -> {size} bytes")


def quota(backend):
    """A quota of 13 pages, as etcd's own tests have it."""
    with Server(quorate_binary(), f"--backend={backend}", "--quota-backend-bytes=53248") as server:
        client = Client(server.endpoint)
        member = client.Maintenance.Status(etcd.StatusRequest()).header.member_id
        client.KV.Put(etcd.PutRequest(key=b"small", value=b"1"))
        code = None
        for number in range(60):
            try:
                client.KV.Put(etcd.PutRequest(key=b"big", value=b"%04d" % number * 1024))
            except grpc.RpcError as error:
                code = error.code(), error.details()
                break
        assert code == (grpc.StatusCode.RESOURCE_EXHAUSTED,
                        "etcdserver: mvcc: database space exceeded"), code

        def raised():
            listed = client.Maintenance.Alarm(etcd.AlarmRequest()).alarms
            return [(alarm.memberID, alarm.alarm) for alarm in listed]

        assert wait_for(raised, "NOSPACE alarm") == [(member, etcd.NOSPACE)]
        put = etcd.PutRequest(key=b"a", value=b"1")
        txn = etcd.TxnRequest(failure=[etcd.RequestOp(request_put=put)])
        for call, request in ((client.KV.Put, put), (client.KV.Txn, txn),
                              (client.Lease.LeaseGrant, etcd.LeaseGrantRequest(TTL=100))):
            assert refusal(call, request)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert client.KV.Range(etcd.RangeRequest(key=b"small")).count == 1
        client.KV.Txn(etcd.TxnRequest(success=[etcd.RequestOp(
            request_range=etcd.RangeRequest(key=b"small"))]))
        revision = client.KV.DeleteRange(etcd.DeleteRangeRequest(key=b"big")).header.revision
        client.KV.Compact(etcd.CompactionRequest(revision=revision, physical=True))
        client.Maintenance.Defragment(etcd.DefragmentRequest())
        status = client.Maintenance.Status(etcd.StatusRequest())
        assert status.dbSize < 53248, status
        assert status.dbSizeQuota == 53248
        client.Maintenance.Alarm(etcd.AlarmRequest(
            action=etcd.AlarmRequest.DEACTIVATE, memberID=member, alarm=etcd.NOSPACE))
        client.KV.Put(put)
        client.close()


def downgrade(backend):
    with Cluster(3, "--downgrade-check-time=100ms", backend=backend) as cluster:
        leader = cluster.leader()
        client = cluster.client(cluster.followers()[0])

        def ask(action, version=""):
            return client.Maintenance.Downgrade(etcd.DowngradeRequest(
                action=action, version=version), timeout=60)

        wait_for(lambda: '"cluster-version":"3.7"' in leader.log_tail(1 << 30), "version 3.7")
        asked = etcd.DowngradeRequest
        for version in ("3.6", "3.6.0", "3.6.9"):
            answer = ask(asked.VALIDATE, version)
            assert answer.version == "3.7" and answer.header.member_id, answer
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        for version, words in (("3.5", "invalid downgrade target version"),
                               ("3.7", "invalid downgrade target version"),
                               ("3.8.0", "invalid downgrade target version"),
                               ("x", "wrong downgrade target version format"),
                               ("", "wrong downgrade target version format")):
            for action in (asked.VALIDATE, asked.ENABLE):
                assert refusal(client.Maintenance.Downgrade, asked(
                    action=action, version=version)) == (invalid, "etcdserver: " + words)
        assert refusal(client.Maintenance.Downgrade, asked(action=9)) == (
            grpc.StatusCode.UNKNOWN, "etcdserver: unknown method")
        assert ask(asked.CANCEL).version == "3.7"  # there is none: no error
        ask(asked.ENABLE, "3.6")

        def at(version, enabled):
            return lambda: all(
                (s.storageVersion, s.downgradeInfo.enabled) == (version, enabled)
                for s in (cluster.status(m) for m in cluster.running()) if s)

        wait_for(at("3.6.0", True), "storage version 3.6.0 on all")
        assert {part.version for part in client.Maintenance.Snapshot(etcd.SnapshotRequest())} == {"3.6.0"}
        # The first step is done: one more is asked of 3.6 now, and only one at a time.
        assert refusal(client.Maintenance.Downgrade, asked(
            action=asked.ENABLE, version="3.5")) == (
                grpc.StatusCode.FAILED_PRECONDITION,
                "etcdserver: cluster has a downgrade job in progress")
        assert ask(asked.CANCEL).version == "3.6"
        wait_for(at("3.7.0", False), "storage version 3.7.0 on all")


def limits(backend):
    with Server(quorate_binary(), f"--backend={backend}", "--max-request-bytes=2000",
                "--max-txn-ops=2", "--unsafe-no-fsync", "--watch-progress-notify-interval=100ms",
                "--warning-unary-request-duration=1ns") as server:
        client = Client(server.endpoint)
        assert refusal(client.KV.Put, etcd.PutRequest(key=b"a", value=b"x" * 2000)) == (
            grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: request is too large")
        put = etcd.RequestOp(request_put=etcd.PutRequest(key=b"a", value=b"1"))
        assert refusal(client.KV.Txn, etcd.TxnRequest(success=[put] * 3)) == (
            grpc.StatusCode.INVALID_ARGUMENT, "etcdserver: too many operations in txn request")
        client.KV.Put(etcd.PutRequest(key=b"a", value=b"x" * 1900))
        assert "acknowledged writes WILL be lost" in server.log_tail(1 << 30)
        # The line follows the answer.
        wait_for(lambda: '"msg":"request stats"' in server.log_tail(1 << 30), "the slow request's line")
        stop = threading.Event()

        def requests():
            yield etcd.WatchRequest(create_request=etcd.WatchCreateRequest(
                key=b"quiet", progress_notify=True))
            stop.wait()

        answers = client.Watch.Watch(requests())
        assert next(answers).created
        assert not next(answers).events  # progress, though nothing happens
        stop.set()
        answers.cancel()
        client.close()


def rotated_logs(backend):
    with tempfile.TemporaryDirectory(prefix="quorate-test-") as folder:
        rotation = json.dumps({"maxsize": 1, "maxbackups": 2})
        with Server(quorate_binary(), f"--backend={backend}", "--log-level=debug",
                    f"--log-outputs=stderr,{folder}/server.log", "--enable-log-rotation",
                    "--warning-unary-request-duration=1ns",
                    f"--log-rotation-config-json={rotation}") as server:
            client = Client(server.endpoint)

            def backups():
                return sorted(Path(folder).glob("server-*.log"))

            def filled():
                for _ in range(200):
                    client.KV.Put.future(etcd.PutRequest(key=b"a", value=b"1")).result()
                return len(backups()) >= 1

            wait_for(filled, "log that was full")
            client.close()
        for path in [*backups(), Path(folder, "server.log")]:
            for line in path.read_text(encoding="utf-8").splitlines():
                assert json.loads(line)["msg"], line
            assert path.stat().st_size <= 1 << 20, path


def heap_profile(backend):
    """gperftools' text format: what is in use grows with the keys, whatever allocator holds them."""
    for allocator in ("arena", "malloc"):
        with Server(quorate_binary(), f"--backend={backend}", "--enable-pprof",
                    f"--allocator={allocator}") as server:
            def heap(in_use=re.compile(
                    rb"heap profile: (\d+): (\d+) \[(\d+): (\d+)\] @ heap_v2/524288\n")):
                with urllib.request.urlopen(server.url + "/debug/pprof/heap", timeout=60) as answer:
                    profile = answer.read()
                return int(in_use.match(profile)[2]), profile

            before, _ = heap()
            client = Client(server.endpoint)
            for i in range(40):
                client.KV.Put(etcd.PutRequest(key=b"%d" % i, value=b"1" * 1_000_000))
            client.close()
            after, profile = heap()
            # 40 MB are about 80 samples of half a MB each or more.
            assert after - before > 10_000_000, (allocator, before, after)
            stacks, _, libraries = profile.partition(b"MAPPED_LIBRARIES:\n")
            assert b"] @ 0x" in stacks and b"/quorate" in libraries


def cpu_profile(backend):
    """gperftools' format: binary words that begin with 0, 3, 0, the period and 0."""
    with Server(quorate_binary(), f"--backend={backend}", "--enable-pprof") as server:
        stop = threading.Event()

        def work():
            client = Client(server.endpoint)
            while not stop.is_set():
                client.KV.Put(etcd.PutRequest(key=b"a", value=b"1" * 100_000))
                client.KV.Range(etcd.RangeRequest(key=b"a"))
            client.close()

        worker = threading.Thread(target=work)
        worker.start()
        url = server.url + "/debug/pprof/profile?seconds="

        def sampled():  # one needs 10 ms of CPU, which may take its time on a busy machine
            with urllib.request.urlopen(url + "1", timeout=120) as answer:
                profile = answer.read()
            words = struct.unpack("<6Q", profile[:48])
            assert words[:3] == (0, 3, 0) and words[3] > 0 and words[4] == 0, words
            return profile if words[5] >= 1 else None

        profile = wait_for(sampled, "profile with a sample")
        stop.set()
        worker.join()
        assert b"quorate" in profile, "the list of libraries is missing"
        try:
            urllib.request.urlopen(url + "0")
            raise AssertionError("a profile of no time")
        except urllib.error.HTTPError as error:
            assert error.code == 400
        # A stop does not wait for a profile that is being made.
        asked = threading.Thread(target=lambda: _quietly(url + "3600"))
        asked.start()
        wait_for(lambda: _busy(url), "profile under way")
        assert server.stop() == -15
        asked.join()


def _quietly(url):
    """Until it is the one that is made, and that one ends with the server."""
    while True:
        try:
            urllib.request.urlopen(url).read()
        except urllib.error.HTTPError:
            continue
        except (OSError, http.client.HTTPException):
            pass
        return


def _busy(url):
    try:
        urllib.request.urlopen(url + "1", timeout=120).read()
    except urllib.error.HTTPError as error:
        return error.code == 500
    return False


CASES = [(heap_profile, ["memory"]), (cpu_profile, ["lmdb"]), (defragment_beside_clients, BACKENDS),
         (quota, BACKENDS),
         (downgrade, ["memory"]), (limits, ["lmdb"]), (rotated_logs, ["memory"])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=BACKENDS, action="append")
    parser.add_argument("case", nargs="*")
    arguments = parser.parse_args()
    for case, backends in CASES:
        if arguments.case and case.__name__ not in arguments.case:
            continue
        if case is cpu_profile and ctypes.util.find_library("profiler") is None:
            print("cpu_profile is left out: libgoogle-perftools4 is not installed")
            continue
        for backend in backends:
            if backend in (arguments.backend or backends):
                print(f"{case.__name__} ({backend})", flush=True)
                case(backend)
    return 0


if __name__ == "__main__":
    sys.exit(main())
