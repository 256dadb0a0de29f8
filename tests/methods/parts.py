"""The ways in which the cases are sent: one function a part, each with servers of its own."""

import re
import sys
import tempfile
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))
import bad_input_test as rows  # noqa: E402
from auth_world import JWT_SECRET, USERS, matrix_cases, signed_tokens, switch_on  # noqa: E402
from cases import Case  # noqa: E402
from certificates import Authority, ClientSide, server_flags  # noqa: E402
from cluster import wait_for  # noqa: E402
from compare import Pair  # noqa: E402
from members_part import with_members  # noqa: E402
from good_calls import SECRET, good_cases  # noqa: E402
from servers import Server, quorate_binary  # noqa: E402
from sides import Side  # noqa: E402
from stream_cases import prepare, stream_cases  # noqa: E402
from stubs import Client, etcd  # noqa: E402
from wire_cases import altered_cases, order_cases, wire_cases  # noqa: E402

FLAGS = ["--bcrypt-cost=4"]
SECRET_FORMS = (SECRET, b"U0VDUkVULVZBTFVF")  # as JSON has it


class Servers:
    """Quorate and etcd, started."""

    def __init__(self, new, *flags, tls=None):
        self.sides = [Side("quorate", Server(quorate_binary(), *FLAGS, *flags), tls),
                      Side("etcd", Server(new, *FLAGS, *flags), tls)]
        for side in self.sides:
            side.server.scheme = "https" if tls else "http"

    def __enter__(self):
        try:
            for side in self.sides:
                side.start()
        except BaseException:
            self.__exit__()
            raise
        return self.sides

    def __exit__(self, *unused):
        for side in self.sides:
            side.close()


def rows_as_cases():
    """The rows of api/bad_input_test.py, that they may be asked over every transport."""
    for part in (rows.range_rows, rows.write_rows, rows.range_stream_rows, rows.txn_rows,
                 rows.txn_state_rows, rows.other_rows, rows.watch_rows):
        for row in part():
            if row.peers != "none":  # a real etcd dies of it
                answers = rows.watch_answer_count(row.request) if row.call == "Watch.Watch" else None
                yield Case(row.call, "state", row.name, row.request, answers)


def message_cases(methods, side):
    """Cases whose messages are messages, in the order of the good ones."""
    yield from rows_as_cases()
    yield from with_good_cases(lambda method, case: altered_cases(method, case, side), methods)


def with_good_cases(more, methods):
    """The good cases, each of a new method followed by what `more` makes of it."""
    seen = set()
    for case in good_cases():
        yield case
        if case.call not in seen:
            seen.add(case.call)
            yield from more(methods[case.call], case)


def over_grpc(methods, book, new):
    with Servers(new) as sides:
        for side in sides:
            rows.set_up(side.client)
        pair = Pair(book, *sides)
        for case in rows_as_cases():
            pair.run(case, case.kind, lambda s, c=case: s.call(methods[c.call], c))
        for case in with_good_cases(lambda method, good: [
                *wire_cases(method, good), *order_cases(method, good),
                *altered_cases(method, good, sides[0])], methods):
            pair.run(case, case.kind, lambda s, c=case: s.call(methods[c.call], c))


def streams(methods, book, new):
    with Servers(new) as sides:
        for side in sides:
            prepare(side)
        pair = Pair(book, *sides)
        for case in stream_cases():
            pair.run(case, "streams", lambda s, c=case: s.call(methods[c.call], c))
        for side in sides:
            wait_for(lambda s=side: watchers(s) == 0, f"end of all watches of {side.name}")


def watchers(side):
    url = f"{side.server.url}/metrics"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url) as answer:
        found = re.search(r"^etcd_debugging_mvcc_watcher_total (\d+)", answer.read().decode(), re.M)
    return int(found[1])


def over_json(methods, book, new):
    with Servers(new) as sides:
        for side in sides:
            rows.set_up(side.client)
        pair = Pair(book, *sides)
        for case in message_cases(methods, sides[0]):
            for path in methods[case.call].http_paths:
                pair.run(case, "JSON", lambda s, c=case, p=path: s.ask_json(methods[c.call], p, c))


def over_tls(methods, book, new):
    """Mutual TLS: all cases with a good certificate; the good ones with none, or a bad one."""
    with Authority() as authority, Authority("another") as stranger:
        flags = server_flags(authority.issue("server"), authority.ca)
        names = "IP:127.0.0.1,DNS:client.example"
        tls = ClientSide(authority.ca, authority.issue("client", names=names))
        with Servers(new, *flags, tls=tls) as sides:
            for side in sides:
                rows.set_up(side.client)
            pair = Pair(book, *sides)
            for case in message_cases(methods, sides[0]):
                pair.run(case, "TLS", lambda s, c=case: s.call(methods[c.call], c))
            for case in good_cases():
                for path in methods[case.call].http_paths:
                    pair.run(case, "TLS", lambda s, c=case, p=path: s.ask_json(
                        methods[c.call], p, c))
            wrong = {"no certificate": None,
                     "a certificate of another CA": stranger.issue("client", names=names),
                     "an expired certificate": authority.issue("expired", names=names, days=-1)}
            for what, shown in wrong.items():
                refused_by_tls(methods, pair, what, ClientSide(authority.ca, shown))
        with Servers(new, *flags, "--client-cert-allowed-hostname=client.example",
                     tls=tls) as sides:
            refused_by_tls(methods, Pair(book, *sides), "a name that is not allowed",
                           ClientSide(authority.ca, authority.issue("other")))


def refused_by_tls(methods, pair, what, tls):
    """Nobody gets as far as a method."""
    channels = {side: Client(side.server.endpoint, tls.credentials()) for side in pair.sides}

    def ask(side, case):
        outcome = side.call(methods[case.call], case, channel=channels[side].channel)
        outcome.text, outcome.metadata = "", ()  # a client's own words
        return outcome

    for case in good_cases():
        case = case.of_kind("wrong TLS", name=f"{what}: {case.name}")
        mine, _ = pair.run(case, "wrong TLS", lambda s, c=case: ask(s, c))
        if mine.code != "UNAVAILABLE":
            pair.book.fail(case.call, "wrong TLS", case.name, f"let in: {mine.told()}")
    for client in channels.values():
        client.close()


def ask_all(methods, pair, column, cases, who_of, may_see):
    """Over gRPC and JSON; `who_of`: of a side, the token or None."""
    for case in cases:
        method = methods[case.call]
        asks = [lambda s: s.call(method, case, who=[("token", who_of(s))] if who_of(s) else [])]
        for path in method.http_paths:
            asks.append(lambda s, p=path: s.ask_json(
                method, p, case, {"Authorization": who_of(s)} if who_of(s) else {}))
        for ask in asks:
            for outcome in pair.run(case, column, ask):
                if not may_see and any(form in outcome.seen for form in SECRET_FORMS):
                    pair.book.fail(case.call, column, case.name, f"leaks: {outcome.seen[:300]}")


def with_users(methods, book, new):
    with Servers(new) as sides:
        for side in sides:
            switch_on(side)
        pair = Pair(book, *sides)
        for column, token in (("no token", lambda s: None), ("bad token", lambda s: "garbage"),
                              ("bad token", lambda s: "abcdefghijklmnop.5")):
            ask_all(methods, pair, column, matrix_cases(), token, False)
        for name in ("nobody", "alice", "bob", "root"):
            column = {"nobody": "no permission", "root": "root"}.get(name, "some permissions")
            ask_all(methods, pair, column, matrix_cases(), lambda s, n=name: s.tokens[n],
                    name == "root")


def auth_revision(side):
    return side.client.Auth.AuthStatus(etcd.AuthStatusRequest()).authRevision


def with_signed_tokens(methods, book, new):
    with tempfile.NamedTemporaryFile(prefix="quorate-key-") as key:
        Path(key.name).write_bytes(JWT_SECRET)
        option = f"--auth-token=jwt,sign-method=HS256,priv-key={key.name},ttl=10m"
        with Servers(new, option) as sides:
            for side in sides:
                switch_on(side, sign_in=False)
            for side in sides:
                side.root_token = lambda s=side: signed_tokens(auth_revision(s))["good"]
            pair = Pair(book, *sides)
            for what, token in signed_tokens(auth_revision(sides[0])).items():
                if what != "good":
                    cases = [case.of_kind("bad token", name=f"{what}: {case.name}")
                             for case in good_cases() if case.call != "Auth.AuthDisable"]
                    ask_all(methods, pair, "bad token", cases, lambda s, t=token: t,
                            what == "stale")  # good for root's calls that read no key


def with_common_names(methods, book, new):
    """Users by their certificates."""
    with Authority() as authority:
        flags = server_flags(authority.issue("server"), authority.ca)
        pairs = {name: authority.issue(name) for name in [*USERS, "eve"]}
        tls = ClientSide(authority.ca, pairs["root"])
        with Servers(new, *flags, tls=tls) as sides:
            for side in sides:
                switch_on(side)
            pair = Pair(book, *sides)
            for name in ("eve", "nobody", "alice", "bob", "root"):
                shown = ClientSide(authority.ca, pairs[name])
                channels = {side: Client(side.server.endpoint, shown.credentials())
                            for side in sides}
                for case in matrix_cases():
                    outcomes = pair.run(case, "common name", lambda s, c=case: s.call(
                        methods[c.call], c, channel=channels[s].channel))
                    if name != "root" and any(SECRET in outcome.seen for outcome in outcomes):
                        book.fail(case.call, "common name", f"{name}: {case.name}", "leaks")
                for client in channels.values():
                    client.close()
            for case in good_cases():
                for path in methods[case.call].http_paths:
                    pair.run(case, "common name", lambda s, c=case, p=path: s.ask_json(
                        methods[c.call], p, c))


PARTS = {"grpc": over_grpc, "streams": streams, "json": over_json, "tls": over_tls, "users": with_users,
         "members": with_members, "signed-tokens": with_signed_tokens, "common-names": with_common_names}
