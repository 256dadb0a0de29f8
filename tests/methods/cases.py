"""A case: messages to one method, under a kind that is a column of docs/compatibility.md."""

import dataclasses
from dataclasses import dataclass

import grpc


@dataclass(frozen=True)
class Case:
    """`messages`: protobuf messages or bytes, or a function of the side that answers them (ids differ
    from side to side). `answers`: of a stream, so many are read and it is left; None: to its end.
    `own`: more fields that differ between servers. `after`: of a side, to make sides alike again.
    `status_alone`: what was answered before the end is a matter of the moment. `half_close`: the
    client says no more, though it reads on. `meanwhile`: of a side, once the first answer is here."""
    call: str
    kind: str
    name: str
    messages: object
    answers: object = None
    own: tuple = ()
    metadata: tuple = ()
    compression: object = None
    after: object = None
    status_alone: bool = False
    half_close: bool = False
    meanwhile: object = None

    def messages_for(self, side):
        messages = self.messages(side) if callable(self.messages) else self.messages
        return messages if isinstance(messages, (list, tuple)) else [messages]

    def of_kind(self, kind, **changes):
        return dataclasses.replace(self, kind=kind, **changes)


GZIP = grpc.Compression.Gzip
DEFLATE = grpc.Compression.Deflate

__all__ = ["Case", "DEFLATE", "GZIP"]
