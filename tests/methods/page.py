"""docs/compatibility.md: what stays different and why, and the table of all that was compared."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import ROOT  # noqa: E402

PAGE = ROOT / "docs" / "compatibility.md"
BEGIN = "<!-- written by tests/methods/methods_test.py --write -->\n"

# (method, column, case) -> mark; None stands for any.
KNOWN = {
    **{("Cluster.MemberUpdate", None, f"peerURLs {text}"): "a"
       for text in ("''", "of 20000 bytes", r"'\x00'", "'no <&> url'")},
    ("Cluster.MemberUpdate", "huge", "over --max-request-bytes"): "a",
    **{(call, "order", "garbage behind it"): "b"
       for call in ("KV.RangeStream", "Maintenance.Snapshot", "Election.Observe", "Health.Watch")},
}
REASONS = {
    "a": "`MemberUpdate` of a member of the cluster with a peer URL that is none: etcd takes it, and "
         "other members that hear of it end. Here it is `etcdserver: given member URLs are "
         "invalid`, as it is for `MemberAdd` on both.",
    "b": "Two messages to a method that takes one and streams its answers, and the second is no "
         "message: both refuse the call with INTERNAL; etcd complains of the second's bytes, Quorate "
         "of there being two.",
}
# What is left out before comparing, and of which a real etcd ends, or what would leave both without a quorum.
NOT_COMPARED = (
    "Over TLS etcd's answers to gRPC calls carry `Trailer` and `Access-Control-*` headers, of the HTTP "
    "server that it then serves them by. Quorate's are those without TLS, and so are the headers of JSON errors.",
    "Go's protobuf writes `proto:` with one kind of blank or another behind it, as it was built.",
    "`Alarm` with an action outside the enum: etcd ends with a panic; Quorate answers "
    "`etcdserver: unknown alarm action` (`tests/api/bad_input_test.py`).",
    "A name of a user or a role of more than 32,768 bytes: etcd ends with a panic, it is over what "
    "a key of its database may have; Quorate takes it.",
    "A transaction that keeps the value or lease of a key that it has deleted: etcd ends with a "
    "panic; Quorate answers `etcdserver: key not found` (`tests/api/bad_input_test.py`).",
    "A password with a zero byte: see [auth.md](auth.md).",
)
COLUMNS = {
    "good": "what the method is for",
    "state": "requests that are wrong in a given state: the rows of `tests/api/bad_input_test.py`",
    "empty": "no bytes at all",
    "malformed": "bytes that are no message; fields of another wire type; texts that are no UTF-8",
    "unknown fields": "fields that no version has",
    "out of range": "each field at its bounds, negative, outside its enum, empty, long, odd; "
                    "each flag turned",
    "huge": "over `--max-request-bytes`, over what is received at all",
    "compressed": "gzip; an encoding that is not spoken",
    "order": "no message, two messages, garbage behind a good one",
    "streams": "streams half-closed, left, cancelled, asked again, with something going on meanwhile",
    "a follower": "what the method is for, of three members through one that does not lead",
    "a learner": "the same at a learner, which serves little",
    "members": "what only several members can do, asked of the one that leads and of another",
    "JSON": "*good*, *state* and *out of range* at every path of the JSON gateway",
    "TLS": "the same over mutual TLS, and JSON over it",
    "wrong TLS": "no certificate, one of another CA, an expired one, one with a name that is not "
                 "allowed",
    "no token": "authentication is on, the caller says nothing",
    "bad token": "unknown and malformed; signed: expired, forged, unsigned, of an old auth "
                 "revision, of a user that is not there",
    "no permission": "a user without a role",
    "some permissions": "two users, one who may read some keys and one who may write others; "
                        "locks and elections under keys that they may write and may not",
    "root": "the root user",
    "common name": "users by their certificates: an unknown one and those four; JSON with one",
}


def rendered(methods, book):
    lines = [BEGIN, "| method | " + " | ".join(COLUMNS) + " |",
             "|---|" + "--:|" * len(COLUMNS)]
    rows = [*methods, *sorted({call for call, _ in book.compared} - set(methods))]
    for call in rows:
        cells = []
        for column in COLUMNS:
            count = book.compared[call, column]
            marks = "".join(f" [{m}](#differences)" for m in sorted(book.marked.get((call, column), ())))
            cells.append(f"{count}{marks}" if count else "")
        lines.append(f"| `{call}` | " + " | ".join(cells) + " |")
    lines += ["", "### Differences", ""]
    lines += [f"- **{mark}**: {why}" for mark, why in REASONS.items()]
    lines += ["", "### Not compared", ""] + [f"- {what}" for what in NOT_COMPARED]
    lines += ["", "### Columns", ""] + [f"- *{name}*: {what}." for name, what in COLUMNS.items()]
    return "\n".join(lines) + "\n"


def written():
    """What the page has now, from BEGIN on."""
    _, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return begin + rest


def write(text):
    head = PAGE.read_text(encoding="utf-8").partition(BEGIN)[0]
    PAGE.write_text(head + text, encoding="utf-8")


def problems(methods, book):
    """What the page, the list of methods and the cases do not agree in."""
    for call in methods:
        if not book.compared[call, "good"]:
            yield f"no case asks {call}"
        if methods[call].http_paths and not book.compared[call, "JSON"]:
            yield f"no case asks {call} in JSON"
    for _, column in book.compared:
        if column not in COLUMNS:
            yield f"the page has no column {column}"
    for key in book.unseen:
        yield f"equal by now: {key} (difference {book.known[key]})"
    if rendered(methods, book) != written():
        yield f"{PAGE.relative_to(ROOT)} is not what was seen: write it anew with --write"
