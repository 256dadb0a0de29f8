"""quoratectl as a program that runs beside a test, and as one that is asked and ends.

Waiting is for lines of output and for the end of programs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import ROOT, quorate_binary  # noqa: E402

BUILT = ROOT / "build" / "peers" / "bin"
OURS = str(quorate_binary().with_name("quoratectl"))
ENVIRONMENT = {"ETCDCTL_API": "3", "PATH": os.environ["PATH"], "ETCDCTL_COMMAND_TIMEOUT": "200s",
               "ETCDCTL_DIAL_TIMEOUT": "100s"}


class Program:
    """A command that runs beside the case. Leaving the block kills it if it is still there."""

    def __init__(self, endpoint, *words, binary=OURS):
        self.process = subprocess.Popen(
            [binary, f"--endpoints={endpoint}", *words], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, text=True, bufsize=1)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def lines(self, count):
        return [self.process.stdout.readline().rstrip("\n") for _ in range(count)]

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self, sig=None):
        """(exit code, the rest of its output, its error lines)"""
        if sig is not None:
            self.process.send_signal(sig)
        out, error = self.process.communicate()
        return self.process.returncode, out, told(error)


def told(error):
    return "\n".join(line for line in error.splitlines() if not line.startswith("{"))


class Store:
    """The server of a case, by quoratectl's commands that end by themselves."""

    def __init__(self, server, other):
        self.server, self.other = server, other
        self.endpoint = server.endpoint

    def run(self, *words, stdin="", fails=False):
        result = subprocess.run([OURS, f"--endpoints={self.endpoint}", *words], input=stdin,
                                capture_output=True, text=True, env=ENVIRONMENT, check=False)
        assert (result.returncode != 0) == fails, (words, result)
        return result.stdout if not fails else (result.returncode, told(result.stderr))

    def program(self, *words, binary=OURS):
        return Program(self.endpoint, *words, binary=binary)

    def watch(self, *words):
        """A watch that sees all that happens from here on, however late it begins."""
        revision = json.loads(self.run("get", "none", "-w", "json"))["header"]["revision"]
        return self.program("watch", f"--rev={revision + 1}", *words)

    def programs(self):
        """Who may be the other one: quoratectl, and etcdctl where it is."""
        return [OURS] + ([self.other] if self.other else [])

    def keys(self, prefix=""):
        lines = self.run("get", prefix, "--prefix").splitlines()
        return dict(zip(lines[::2], lines[1::2]))

    def serves_users(self):
        result = subprocess.run([OURS, f"--endpoints={self.endpoint}", "auth", "status"],
                                capture_output=True, text=True, env=ENVIRONMENT, check=False)
        return "Unimplemented" not in result.stderr


def servers_to_test():
    """Names and binaries: Quorate, and a current etcd where scripts/build_etcd.sh made one."""
    servers = {"quorate": str(quorate_binary())}
    if (BUILT / "etcd").exists():
        servers["etcd"] = str(BUILT / "etcd")
    else:
        print("note: no current etcd (scripts/build_etcd.sh): against Quorate alone")
    return servers
