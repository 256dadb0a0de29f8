"""What the Python programs of this folder share: who they are told to be, and how they report."""

import os
import sys
import traceback

ENDPOINTS = os.environ.get("QUORATE_ENDPOINTS", "").split(",")
MODE = os.environ.get("QUORATE_MODE", "plain")
CERTS = os.environ.get("QUORATE_CERTS", "")
TLS, CERTIFICATES, USERS = MODE != "plain", MODE in ("tls", "cn"), MODE in ("auth", "cn")
PASSWORDS = MODE == "auth"


class NotOffered(Exception):
    """The client has no call for this part; the text says what it lacks."""


def certificate(name):
    return os.path.join(CERTS, name)


def please(what):
    print(f"please: {what}", flush=True)
    if sys.stdin.readline() != "done\n":
        sys.exit(f"no answer to: {what}")


def run(suite):
    """`suite`: functions by part. Ends the program."""
    for part in os.environ["QUORATE_PARTS"].split(","):
        try:
            suite[part]()
        except NotOffered as why:
            print(f"not offered: {part}: {why}", flush=True)
            continue
        except Exception:
            traceback.print_exc()
            sys.exit(f"{MODE}: {part}: not as expected")
        print(f"as expected: {part}", flush=True)
