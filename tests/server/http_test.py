#!/usr/bin/python3
"""The plain HTTP paths: what etcd 3.7 answers, written down as cases that both have to meet, ours on
every backend and etcd's where scripts/build_etcd.sh made it.

usage: http_test.py
"""

import http.client
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import BACKENDS, ROOT, Server, quorate_binary  # noqa: E402
from stubs import Client, etcd  # noqa: E402

BUILT = ROOT / "build" / "peers" / "bin" / "etcd"
PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"
CORS = {"Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "POST, GET, OPTIONS, PUT, DELETE",
        "Access-Control-Allow-Headers": "accept, content-type, authorization"}
HEALTHY = '{"health":"true","reason":""}'
NO_SPACE = '{"health":"false","reason":"ALARM NOSPACE"}\n'
VERSIONS = '{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}'
ALLOW_GET = {"Allow": "GET"}
NO_SNIFF = {"X-Content-Type-Options": "nosniff"}

# method, path, status, type (None: any), body (a pattern, or the lines in any order), headers
CASES = [
    ("GET", "/version", 200, JSON, re.escape(VERSIONS), {}),
    ("POST", "/version", 405, None, "Method Not Allowed\n", ALLOW_GET),
    ("GET", "/health", 200, None, re.escape(HEALTHY), {}),
    ("GET", "/health?serializable=true", 200, None, re.escape(HEALTHY), {}),
    ("GET", "/health?exclude=NOSPACE&exclude=NONE", 200, None, re.escape(HEALTHY), {}),
    ("POST", "/health", 405, None, "Method Not Allowed\n", ALLOW_GET),
    ("GET", "/livez", 200, PLAIN, "ok\n", NO_SNIFF),
    ("GET", "/livez?verbose", 200, PLAIN, ["[+]serializable_read ok", "ok"], NO_SNIFF),
    ("GET", "/livez/serializable_read", 200, PLAIN, "ok\n", {}),
    ("GET", "/livez/none", 404, PLAIN, "404 page not found\n", {}),
    ("PUT", "/livez", 405, None, "Method Not Allowed\n", ALLOW_GET),
    ("GET", "/readyz", 200, PLAIN, "ok\n", NO_SNIFF),
    ("GET", "/readyz?verbose=0", 200, PLAIN,
     ["[+]data_corruption ok", "[+]linearizable_read ok", "[+]non_learner ok",
      "[+]serializable_read ok", "ok"], NO_SNIFF),
    ("GET", "/readyz?verbose&exclude=non_learner&exclude=nothing", 200, PLAIN,
     ["[+]data_corruption ok", "[+]linearizable_read ok", "[+]serializable_read ok", "ok"], {}),
    ("GET", "/readyz/linearizable_read?verbose", 200, PLAIN, ["[+]linearizable_read ok", "ok"], {}),
    ("GET", "/", 404, PLAIN, "404 page not found\n", NO_SNIFF),
    ("GET", "/v2/keys", 404, PLAIN, "404 page not found\n", {}),
    ("GET", "/no/such/path", 404, PLAIN, "404 page not found\n", {}),
    ("OPTIONS", "/anything", 200, None, "", {}),
    ("GET", "/debug/vars", 200, "application/json; charset=utf-8", r"(?s)\{\n\"cmdline\": .*", {}),
    ("GET", "/debug/pprof/", 404, PLAIN, "404 page not found\n", {}),
    ("GET", "/metrics", 200, None, r"(?s)# HELP .*", {}),
]

# With the NOSPACE alarm raised, and then CORRUPT as well.
NOSPACE_CASES = [
    ("GET", "/health", 503, None, re.escape(NO_SPACE), {}),
    ("GET", "/health?exclude=NOSPACE", 200, None, re.escape(HEALTHY), {}),
    ("GET", "/readyz", 200, PLAIN, "ok\n", {}),
    ("GET", "/livez", 200, PLAIN, "ok\n", {}),
]
CORRUPT_CASES = [
    ("GET", "/health?exclude=NOSPACE", 503, None,
     re.escape('{"health":"false","reason":"ALARM CORRUPT"}\n'), {}),
    ("GET", "/readyz", 503, PLAIN,
     ["[+]linearizable_read ok", "[+]non_learner ok", "[+]serializable_read ok",
      "[-]data_corruption failed: alarm activated: CORRUPT", ""], {}),
    ("GET", "/readyz/data_corruption", 503, PLAIN,
     ["[-]data_corruption failed: alarm activated: CORRUPT", ""], {}),
    ("GET", "/livez", 200, PLAIN, "ok\n", {}),
]


def ask(server, method, path):
    connection = http.client.HTTPConnection("127.0.0.1", server.client_port)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


def check(server, cases):
    problems = []
    for method, path, status, kind, wanted, headers in cases:
        answer, body = ask(server, method, path)
        where = f"{method} {path}: {answer.status} {dict(answer.getheaders())} {body[:200]!r}"
        if isinstance(wanted, list):
            good = sorted(body.splitlines()) == sorted(wanted) and body.endswith("\n")
        else:
            good = re.fullmatch(wanted, body) is not None
        if answer.status != status or not good:
            problems.append(f"{where}; wanted {status} {wanted!r}")
        if kind is not None and answer.getheader("Content-Type") != kind:
            problems.append(f"{where}; wanted type {kind}")
        for name, value in {**headers, **CORS}.items():
            if answer.getheader(name) != value:
                problems.append(f"{where}; wanted {name}: {value}")
    assert not problems, "\n".join(problems)
    return len(cases)


def raise_alarm(client, alarm):
    member = client.Maintenance.Status(etcd.StatusRequest()).header.member_id
    client.Maintenance.Alarm(
        etcd.AlarmRequest(action=etcd.AlarmRequest.ACTIVATE, memberID=member, alarm=alarm))


def run(server):
    while ask(server, "GET", "/version")[1] != VERSIONS:
        pass  # etcd decides on its version a moment after it is ready
    count = check(server, CASES)
    client = Client(server.endpoint)
    raise_alarm(client, etcd.NOSPACE)
    count += check(server, NOSPACE_CASES)
    raise_alarm(client, etcd.CORRUPT)
    count += check(server, CORRUPT_CASES)
    client.close()
    return count


def main():
    servers = [(f"quorate, {backend}", quorate_binary(), f"--backend={backend}")
               for backend in BACKENDS]
    if BUILT.exists():
        servers.append(("etcd 3.7", BUILT, "--log-level=info"))
    else:
        print("note: no etcd 3.7 to hold the cases against; scripts/build_etcd.sh makes it")
    for name, binary, flag in servers:
        with Server(binary, flag) as server:
            print(f"{name}: {run(server)} answers as written down")
            found = json.loads(ask(server, "GET", "/debug/vars")[1])
            assert list(found) == ["cmdline", "file_descriptor_limit", "memstats", "raft.status"]
    return 0


if __name__ == "__main__":
    sys.exit(main())
