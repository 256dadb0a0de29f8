#!/usr/bin/python3
"""A Kubernetes API server on Quorate: on three members with TLS, of which one is killed under load; and
Quorate put in the place of etcd under a control plane that has data, and etcd back in Quorate's.

usage: control_plane.py [CASE]...       skipped (77) where Go, its modules, kubectl or etcd are missing
"""

import json
import subprocess
import sys
import tempfile
import urllib.error
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from certificates import Authority, ClientSide, server_flags  # noqa: E402
from cluster import Cluster, wait_for  # noqa: E402
from servers import quorate_binary  # noqa: E402
from stubs import etcd  # noqa: E402
import programs  # noqa: E402
from api_server import ApiServer, client_result  # noqa: E402

HERE = Path(__file__).resolve().parent
STORED = "/registry/apiextensions.kubernetes.io/quorate.test/settings"
API = "/apis/quorate.test/v1/namespaces/{}/settings"


def secured(authority):
    """The flags of members that ask clients and peers for certificates, and what clients show."""
    pair = authority.issue("member")
    flags = [*server_flags(pair, authority.ca), *server_flags(pair, authority.ca, prefix="peer-")]
    return flags, ClientSide(authority.ca, authority.issue("client"))


def define(api):
    api.kubectl("apply", "-f", str(HERE / "crds.yaml"))
    api.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")


def setting(name, version):
    return json.dumps({"apiVersion": "quorate.test/v1", "kind": "Setting",
                       "metadata": {"name": name}, "data": "d", "version": version})


def versions(api, namespace):
    items = api.json(API.format(namespace))["items"]
    return {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in items}


def counter(api, name, **labels):
    total = 0.0
    for line in api.get("/metrics").decode().splitlines():
        if line.startswith(name) and all(f'{k}="{v}"' in line for k, v in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


def events_since(api, namespace, version, count):
    """The names of the next `count` events after a resource version."""
    stream = api.get(f"{API.format(namespace)}?watch=1&resourceVersion={version}&timeoutSeconds=5")
    names = [json.loads(line)["object"]["metadata"]["name"] for line in stream.splitlines()]
    assert len(names) == count, names
    return names


def check_kubectl(api):
    api.kubectl("-n", "team", "apply", "--validate=false", "-f", "-", stdin=setting("one", 1))
    api.kubectl("-n", "team", "patch", "setting", "one", "--type=merge", "-p", '{"version": 7}')
    seen = json.loads(api.kubectl("-n", "team", "get", "setting", "one", "-o", "json"))
    assert seen["version"] == 7, seen
    api.kubectl("-n", "team", "label", "setting", "one", "colour=green")
    assert "one" in api.kubectl("get", "settings", "-A", "-l", "colour=green", "-o", "name")
    stale = dict(seen, version=8)
    refused = api.run_kubectl("-n", "team", "replace", "--validate=false", "-f", "-",
                              stdin=json.dumps(stale))
    assert refused.returncode != 0 and "the object has been modified" in refused.stderr, refused
    api.kubectl("-n", "team", "delete", "setting", "one")
    assert versions(api, "team") == {}


def check_compaction(api, cluster):
    """The API server compacts; what it compacted is gone, with the answer that clients know."""
    old = api.json(API.format("load"))["metadata"]["resourceVersion"]

    def compacted():
        client = cluster.client(cluster.running()[0])
        api.kubectl("-n", "team", "apply", "--validate=false", "-f", "-", stdin=setting("two", 1))
        api.kubectl("-n", "team", "delete", "setting", "two")
        hashed = client.Maintenance.HashKV(etcd.HashKVRequest())
        return hashed.compact_revision > int(old)

    wait_for(compacted, "compaction by the API server")

    def gone():
        try:
            api.get(f"{API.format('load')}?resourceVersion={old}&resourceVersionMatch=Exact&limit=1")
        except urllib.error.HTTPError as error:
            return error.code == 410
        return False

    wait_for(gone, "410 Gone for a compacted resource version")


def three_members():
    with Authority() as authority:
        flags, client_side = secured(authority)
        with Cluster(3, *flags, tls=client_side) as cluster:
            urls = [member.url for member in cluster.members.values()]
            with ApiServer(authority, urls, client_side.pair,
                           "--etcd-compaction-interval=3s") as api:
                define(api)
                check_kubectl(api)
                client = api.client("load", "--objects=2000", "--keep")
                wait_for(lambda: len(versions(api, "load")) > 200, "objects")
                leader = cluster.leader()
                leader.kill()
                cluster.leader(among=cluster.running())
                leader.launch()
                leader.wait_ready()
                seen = client_result(client)
                assert seen["events"] >= 4000 and seen["pages"] == 4, seen
                print(f"  a load of 2,000 objects with the leader killed: {seen}", flush=True)
                check_compaction(api, cluster)
                elected = client_result(api.client("elect"))
                assert elected["leaders"] == ["first", "second"], elected
                served = counter(api, "apiserver_watch_cache_consistent_read_total",
                                 resource="settings", success="true")
                assert served > 0, "no list was served from the watch cache (progress notifications)"
                stored = cluster.etcdctl(
                    cluster["m1"], "get", "--prefix", "--keys-only",
                    f"{STORED}/load/").split()
                assert len(stored) == 2000, len(stored)
                cluster.check_equal()


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr}{done.stdout}"
    return done.stdout


def hash_kv(cluster, revision=0):
    """The digest that all members answer."""
    seen = {cluster.client(member).Maintenance.HashKV(etcd.HashKVRequest(revision=revision)).hash
            for member in cluster.running()}
    assert len(seen) == 1, seen
    return seen.pop()


def replace(old, new, restore, folder):
    """What docs/operations.md says: a snapshot of `old`, restored for every member of `new` by the
    program `restore`, and `new` started on the ports of `old`."""
    snapshot = folder / f"{new['m0'].peer_port}.db"
    before = hash_kv(old)
    old.etcdctl(old["m0"], "snapshot", "save", str(snapshot))
    for member in old.members.values():
        member.stop()
    for name, member in new.members.items():
        member.client_port, member.peer_port = old[name].client_port, old[name].peer_port
    listed = ",".join(f"{name}={member.peer_url}" for name, member in new.members.items())
    for name, member in new.members.items():
        member.initial_cluster = listed
        run(restore, "snapshot", "restore", snapshot, f"--name={name}",
            f"--data-dir={member.data_dir}", f"--initial-advertise-peer-urls={member.peer_url}",
            f"--initial-cluster={listed}")
    new.start_all()
    after = hash_kv(new)
    assert before == after, f"HashKV was {before} and is {after}"


def check_goes_on(api, cluster, known, first, name):
    """Resource versions are those of before, also of what was overwritten (`first` of setting s1), and
    writes and watches go on behind them."""
    assert versions(api, "team") == known
    at = cluster.client(cluster["m0"]).KV.Range(etcd.RangeRequest(
        key=f"{STORED}/team/s1".encode(), revision=int(first))).kvs[0]
    assert at.mod_revision == int(first) and json.loads(at.value)["version"] == 1, at
    version = api.json(API.format("team"))["metadata"]["resourceVersion"]
    assert int(version) >= max(map(int, known.values())), version
    api.kubectl("-n", "team", "apply", "--validate=false", "-f", "-", stdin=setting(name, 1))
    fresh = versions(api, "team")
    assert int(fresh[name]) > int(version), fresh
    assert events_since(api, "team", version, 1) == [name]
    return fresh


def in_the_place_of_etcd():
    real = programs.peer("etcd")
    with Authority() as authority, tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        flags, client_side = secured(authority)
        first = Cluster(3, *flags, binary=real, tls=client_side)
        ours = Cluster(3, *flags, tls=client_side)
        last = Cluster(3, *flags, binary=real, tls=client_side)
        try:
            first.start_all()
            api = ApiServer(authority, [m.url for m in first.members.values()], client_side.pair)
            with api:
                define(api)
                for i in range(5):
                    api.kubectl("-n", "team", "apply", "--validate=false", "-f", "-", stdin=setting(f"s{i}", i))
                api.kubectl("-n", "team", "delete", "setting", "s0")
                first_of_s1 = versions(api, "team")["s1"]
                api.kubectl("-n", "team", "apply", "--validate=false", "-f", "-", stdin=setting("s1", 9))
                known = versions(api, "team")
                for old, new, restore in ((first, ours, quorate_binary().parent / "quorateutl"),
                                          (ours, last, programs.peer("etcdutl"))):
                    api.stop()
                    replace(old, new, restore, folder)
                    api.start()
                    known = check_goes_on(api, new, known, first_of_s1, f"after-{int(new is last)}")
                    loaded = client_result(api.client("load", "--objects=300",
                                                      f"--namespace=load{int(new is last)}"))
                    assert loaded["events"] == 600, loaded
                    said = api.json("/version")["gitVersion"]
                    print(f"  {new['m0'].binary}: {loaded} ({said})", flush=True)
        finally:
            for cluster in (first, ours, last):
                cluster.close()


CASES = {case.__name__: case for case in (three_members, in_the_place_of_etcd)}


def main():
    wanted = sys.argv[1:] or list(CASES)
    if not set(wanted) <= set(CASES):
        sys.exit(f"known cases: {' '.join(CASES)}")
    try:
        programs.kubectl()
        for name in wanted:
            print(name, flush=True)
            CASES[name]()
    except programs.Missing as why:
        print(f"SKIPPED: {why}")
        return programs.SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
