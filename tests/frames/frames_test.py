#!/usr/bin/python3
"""Bytes that break HTTP/2 or gRPC, to Quorate and to a current etcd beside it.

Each case goes to both on a connection of its own. What comes back must be the same: the status of
the answer, gRPC's code and text, a reset and its code; and whether the connection goes on, which a
good call behind it shows. Where Quorate does something else, known.tsv says what and why; a row
there that is no longer true fails, too.

usage: frames_test.py [--new PATH] [NAME ...]
"""

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from cases import call, every_case, fields  # noqa: E402
from connection import DATA, END_STREAM, Connection, frame, head  # noqa: E402
from servers import ROOT, Server, quorate_binary  # noqa: E402

KNOWN = Path(__file__).with_name("known.tsv")
GOOD_STREAM = 1001    # of the first good call behind a case
GOOD_CALLS = 10       # a stream that is silent during so many of them is open
NO_ERROR = 0
TOLD = ("content-type", "grpc-status", "grpc-message")


def body_of_good_call():
    whole = call(fields())
    return whole[len(head(fields())) + 9:]


def good_call(connection, number):
    connection.send(head(fields(), number) + frame(DATA, END_STREAM, number, body_of_good_call()))
    connection.wait(lambda: connection.stream(number).over)
    return connection.stream(number)


def stream_told(stream):
    told = []
    for fields_of in stream.heads:
        named = dict(fields_of)
        if ":status" in named:
            told.append(named[":status"])
        told += [f"{name}: {named[name]}" for name in TOLD if named.get(name)]
    if stream.body:
        told.append("a body")
    if stream.reset is not None and not (stream.ended and stream.reset == NO_ERROR):
        told.append(f"reset {stream.reset}")
    # Go's protobuf tells the same with one space or the other, by chance of the build.
    return ", ".join(told).replace("%C2%A0", " ") if told else "nothing"


def ask(port, case):
    """What came on stream 1, and what became of the connection."""
    connection = Connection(port, case.bare)
    try:
        connection.send(case.sent)
        stream = connection.stream(1)
        if case.last:
            connection.wait(lambda: stream.over)
            return stream_told(stream)
        number = GOOD_STREAM
        goes_on = True
        while goes_on and not stream.over and number < GOOD_STREAM + 2 * GOOD_CALLS:
            goes_on = good_call(connection, number).ended
            number += 2
        if goes_on and number == GOOD_STREAM:
            goes_on = good_call(connection, number).ended
        if connection.closed or connection.goaway is not None:
            return "the connection ends"  # and whether an answer came before that is chance
        told = stream_told(stream) + ("" if stream.over else ", open")
        return told + (", the connection goes on" if goes_on else ", then silence")
    finally:
        connection.close()


def known():
    rows = [line.split("\t") for line in KNOWN.read_text().splitlines()[1:]]
    return {(group, name): (quorate, etcd) for group, name, quorate, etcd, _ in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--new", default=str(ROOT / "build" / "peers" / "bin" / "etcd"))
    parser.add_argument("--all", action="store_true", help="prints what comes back of every case")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    if not os.access(arguments.new, os.X_OK):
        print(f"frames: SKIPPED: no current etcd at {arguments.new}")
        return 77
    differences = known()
    cases = [case for case in every_case() if not arguments.names or case.name in arguments.names]
    failures = 0
    mine, theirs = Server(quorate_binary()).start(), Server(arguments.new).start()
    try:
        for case in cases:
            answers = [ask(server.client_port, case) for server in (mine, theirs)]
            if arguments.all:
                print(f"{case.group}\t{case.name}\t{answers[0]}\t{answers[1]}")
            row = differences.pop((case.group, case.name), None)
            if (answers[0] != answers[1]) if row is None else (tuple(answers) != row):
                failures += 1
                expected = "" if row is None else f"\n   known.tsv says {row}"
                print(f"{case.group}, {case.name}:\n   quorate {answers[0]}\n"
                      f"   etcd    {answers[1]}{expected}", flush=True)
        for server in (mine, theirs):
            assert server.process.poll() is None, f"{server.binary} ended:\n{server.log_tail()}"
    finally:
        mine.close()
        theirs.close()
    for group, name in differences if not arguments.names else ():
        failures += 1
        print(f"known.tsv: {group}, {name}: no such case")
    print(f"frames: {len(cases)} cases, {failures} failures")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
