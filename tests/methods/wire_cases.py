"""What can be wrong with any message, made from a good one: bytes that are no message, fields that
nobody knows, numbers and texts beyond what the fields mean, too many messages or none."""

from cases import DEFLATE, GZIP, Case
from good_calls import ANSWERS, forget_sessions

GARBAGE = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
UNKNOWN_FIELDS = b"\xc2\x3e\x03abc" + b"\xc8\x3e\x05" + b"\xcd\x3e\x01\x02\x03\x04"  # 1000, 1001
LONG = 20_000
OVER_REQUEST_LIMIT = 1_600_000
OVER_RECEIVE_LIMIT = 2_200_000
# One of these would end a real etcd, or leave a cluster of one without a quorum for good.
NOT_ASKED = {("Maintenance.Alarm", "action 99"), ("Maintenance.Alarm", "action -1"),
             ("Cluster.MemberAdd", "isLearner turned"),
             # docs/auth.md: no password with a zero byte
             ("Auth.UserAdd", "password '\\x00'"),
             ("Auth.UserChangePassword", "password '\\x00'")}
# A request of no bytes makes a session of the server's own.
MAKES_SESSIONS = ("Lock.Lock", "Election.Campaign")
# Names and ids that a server thinks out for a request of no bytes.
OWN = {"Lease.LeaseGrant": ("ID",), "Lock.Lock": ("key",), "Election.Campaign": ("key", "lease")}
# No answer comes where nobody leads.
WAITS_FOR_EVER = {"Election.Observe"}


def varint(number):
    number &= (1 << 64) - 1
    out = b""
    while True:
        byte, number = number & 0x7F, number >> 7
        out += bytes([byte | (0x80 if number else 0)])
        if not number:
            return out


def tag(number, wire_type):
    return varint(number << 3 | wire_type)


def malformed(descriptor, good):
    """(name, bytes)"""
    yield "garbage", GARBAGE
    yield "cut", good + b"\x0a\x05a"
    yield "end of a group", good + b"\x0c"
    yield "field 0", good + b"\x02\x01a"
    yield "length over all", good + b"\x0a\xff\xff\xff\xff\x0f"
    for field in descriptor.fields:
        if field.type == field.TYPE_STRING:
            yield f"{field.name} no UTF-8", good + tag(field.number, 2) + b"\x02\xff\xfe"
        wrong = b"\x01" if field.type in (field.TYPE_STRING, field.TYPE_BYTES,
                                          field.TYPE_MESSAGE) else b"\x01a"
        yield (f"{field.name} of another wire type",
               good + tag(field.number, 0 if wrong == b"\x01" else 2) + wrong)


def values_for(field):
    if field.type == field.TYPE_ENUM:
        return (99, -1)
    if field.type in (field.TYPE_INT64, field.TYPE_INT32):
        bits = 63 if field.type == field.TYPE_INT64 else 31
        return (-1, 2**bits - 1, -(2**bits))
    if field.type in (field.TYPE_UINT64, field.TYPE_UINT32):
        return (2**(64 if field.type == field.TYPE_UINT64 else 32) - 1,)
    if field.type == field.TYPE_STRING:
        return ("", "x" * LONG, "\0", "no <&> url")
    if field.type == field.TYPE_BYTES:
        return (b"", b"x" * LONG, b"\xff\x00")
    return ()


def shown(value):
    if isinstance(value, (str, bytes)) and len(value) > 20:
        return f"of {len(value)} bytes"
    return repr(value) if isinstance(value, (str, bytes)) else str(value)


def altered(message, prefix=""):
    """(name, message) with one field that is not as it should be, into messages that are set."""
    for field in message.DESCRIPTOR.fields:
        repeated = field.label == field.LABEL_REPEATED
        if field.type == field.TYPE_MESSAGE:
            inner = None
            if repeated and len(getattr(message, field.name)):
                inner = getattr(message, field.name)[0]
            elif not repeated and message.HasField(field.name):
                inner = getattr(message, field.name)
            for name, copy in altered(inner, f"{prefix}{field.name}.") if inner is not None else ():
                whole = message.__class__.FromString(message.SerializeToString())
                (getattr(whole, field.name)[0] if repeated
                 else getattr(whole, field.name)).CopyFrom(copy)
                yield name, whole
            continue
        values = (not getattr(message, field.name),) if field.type == field.TYPE_BOOL \
            else values_for(field)
        for value in values:
            copy = message.__class__.FromString(message.SerializeToString())
            if repeated:
                del getattr(copy, field.name)[:]
                getattr(copy, field.name).append(value)
            else:
                setattr(copy, field.name, value)
            what = "turned" if field.type == field.TYPE_BOOL else shown(value)
            yield f"{prefix}{field.name} {what}", copy


def messages_of(case, side):
    return case.messages_for(side)[0]


def too_large(method, size):
    """A request whose first text is so long; one without a text, with a field that nobody knows."""
    for field in method.request.DESCRIPTOR.fields:
        if field.type in (field.TYPE_BYTES, field.TYPE_STRING):
            text = b"x" * size
            return tag(field.number, 2) + varint(size) + text
    return tag(1000, 2) + varint(size) + b"x" * size


def wire_cases(method, good):
    """Of the first good case of a method."""
    call, answers = method.call, ANSWERS.get(method.call)

    def bytes_of(side):
        return messages_of(good, side).SerializeToString()

    if call not in WAITS_FOR_EVER and call != "Watch.Watch":  # which is asked for nothing then
        yield Case(call, "empty", "no bytes", b"", answers, own=OWN.get(call, ()),
                   after=forget_sessions if call in MAKES_SESSIONS else None)
    for name, _ in malformed(method.request.DESCRIPTOR, b""):
        yield Case(call, "malformed", name, lambda side, name=name: dict(
            malformed(method.request.DESCRIPTOR, bytes_of(side)))[name], answers)
    yield Case(call, "unknown fields", "unknown fields",
               lambda side: bytes_of(side) + UNKNOWN_FIELDS, answers)
    yield Case(call, "huge", "over what is received", too_large(method, OVER_RECEIVE_LIMIT), answers)
    if call not in WAITS_FOR_EVER:
        yield Case(call, "huge", "over --max-request-bytes", lambda side: bytes_of(side) + too_large(
            method, OVER_REQUEST_LIMIT), answers)
    padded = tag(1000, 2) + varint(5000) + b"\0" * 5000
    yield Case(call, "compressed", "gzip", lambda side: bytes_of(side) + padded, answers,
               compression=GZIP)
    yield Case(call, "compressed", "deflate", lambda side: bytes_of(side) + padded, answers,
               compression=DEFLATE)


def order_cases(method, good):
    call, answers = method.call, ANSWERS.get(method.call)
    if not method.client_stream:
        yield Case(call, "order", "no message", [], answers)
        yield Case(call, "order", "two messages", lambda side: [messages_of(good, side)] * 2,
                   answers)
    elif call != "Watch.Watch":
        yield Case(call, "order", "no message", [], answers)
    yield Case(call, "order", "garbage behind it",
               lambda side: [messages_of(good, side), GARBAGE], None,
               status_alone=method.client_stream)


def altered_cases(method, good, side):
    """The fields of one side's good message; the other side's has the same fields."""
    for name, _ in altered(messages_of(good, side)):
        if (method.call, name) in NOT_ASKED or method.call in WAITS_FOR_EVER:
            continue
        yield Case(method.call, "out of range", name,
                   lambda side, name=name: dict(altered(messages_of(good, side)))[name],
                   ANSWERS.get(method.call), own=OWN.get(method.call, ()))
