#!/usr/bin/python3
"""The Debian package on an empty machine that systemd has booted: install, start, kill, a configuration
that is wrong, a restore, a newer package, purge.

The machine is debootstrap's Debian 12 in a folder, booted by systemd-nspawn in namespaces of its own.

usage: machine.py [--build DIR | --package FILE] [--machine FOLDER]
DIR: a whole build, of which the package is made (build/release). FOLDER: a tree with systemd in it, which is copied; made below build/machine if it is not given.
Skipped (77) unless root, where systemd-nspawn or debootstrap is missing, or no machine can be made.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from cluster import wait_for  # noqa: E402
from servers import ROOT  # noqa: E402

SKIPPED = 77
INCLUDED = "systemd,systemd-sysv,dbus,adduser,ca-certificates"
CONFIG = "/etc/quorate/quorate.yaml"
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class Missing(RuntimeError):
    """What is needed and is not here."""


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}"
    return done.stdout


def made(folder):
    """The tree that machines are copied from."""
    if not (folder / "etc/debian_version").exists():
        try:
            run("debootstrap", "--variant=minbase", f"--include={INCLUDED}", "bookworm", folder)
        except AssertionError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise Missing(f"debootstrap: {str(error).splitlines()[-1]}") from error
    return folder


class Machine:
    """A copy of a tree with the package installed, booted."""

    def __init__(self, tree, package, folder):
        self.root = Path(folder, "machine")
        run("cp", "-a", tree, self.root)
        # As on a machine that an installer has set up.
        (self.root / "etc/hosts").write_text("127.0.0.1 localhost\n")
        shutil.copy("/etc/resolv.conf", self.root / "etc/resolv.conf")
        shutil.copy(package, self.root / "var/tmp/quorate.deb")
        apt = ["chroot", self.root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
        try:
            run(*apt, "update")
            run(*apt, "install", "--no-install-recommends", "/var/tmp/quorate.deb")
        except AssertionError as error:
            raise Missing(f"apt-get in the machine: {str(error).splitlines()[-1]}") from error
        self.nspawn = None
        self.init = None

    def boot(self):
        # nspawn wants /run to be a tmpfs, which it is not in every container.
        script = ("mount -t tmpfs tmpfs /run && exec systemd-nspawn --quiet --boot --register=no "
                  f"--keep-unit --private-network --directory={self.root}")
        self.nspawn = subprocess.Popen(["unshare", "--mount", "sh", "-c", script],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.PIPE)
        wait_for(self._up, "machine that is up")

    def _up(self):
        if self.nspawn.poll() is not None:
            raise Missing(f"systemd-nspawn: {self.nspawn.stderr.read().decode().strip()}")
        # Its first child makes the namespaces; the machine's first process comes later.
        children = Path(f"/proc/{self.nspawn.pid}/task/{self.nspawn.pid}/children").read_text()
        if not children.split():
            return False
        self.init = int(children.split()[0])
        return self.try_to("systemctl", "is-active", "multi-user.target").returncode == 0

    def try_to(self, *command):
        return subprocess.run(
            ["nsenter", f"--target={self.init}", "--all", "env", "-i", f"PATH={PATH}", *command],
            capture_output=True, text=True)

    def do(self, *command):
        done = self.try_to(*command)
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def show(self, what):
        return self.do("systemctl", "show", "-P", what, "quorate")

    def off(self):
        if self.nspawn is not None:
            self.nspawn.terminate()
            self.nspawn.wait()


def serves(machine, key, value):
    """The key is read, by a client that waits for the server."""
    assert machine.do("quoratectl", "get", key, "--print-value-only") == value


def starts(machine):
    assert machine.try_to("systemctl", "is-enabled", "quorate").stdout.strip() == "disabled"
    machine.do("systemctl", "start", "quorate")
    assert machine.show("StatusText") == "serving clients"
    machine.do("quoratectl", "put", "greeting", "hello")
    assert machine.do("stat", "-c", "%U %a", "/var/lib/quorate/member") == "quorate 700"
    exposure = machine.do("systemd-analyze", "security", "quorate").splitlines()[-1]
    assert float(exposure.split(":")[1].split()[0]) < 2, exposure


def survives_a_kill(machine):
    pid = machine.show("MainPID")
    machine.do("sh", "-c", f"kill -9 {pid}")  # the shell's own: procps is not there
    wait_for(lambda: machine.show("ActiveState") == "active" and machine.show("MainPID") != pid,
             "restarted server")
    serves(machine, "greeting", "hello")


def says_what_is_wrong(machine):
    config = machine.root / CONFIG[1:]
    good = config.read_text()
    config.write_text(good + "no-such-option: 1\n")
    assert machine.try_to("systemctl", "restart", "quorate").returncode != 0
    line = len(good.splitlines()) + 1
    wait_for(lambda: f'quorate.yaml:{line}: unknown option "no-such-option"'
             in machine.show("StatusText"), "reason in the unit's status")
    config.write_text(good)
    # It is tried again by itself until the configuration is right.
    wait_for(lambda: machine.show("ActiveState") == "active", "server with the mended configuration")
    serves(machine, "greeting", "hello")


def restores(machine):
    machine.do("quoratectl", "snapshot", "save", "/var/tmp/backup.db")
    machine.do("systemctl", "stop", "quorate")
    machine.do("rm", "-r", "/var/lib/quorate/member")
    machine.do("quorateutl", "snapshot", "restore", "/var/tmp/backup.db", "--data-dir=/var/lib/quorate")
    assert machine.try_to("systemctl", "start", "quorate").returncode != 0
    wait_for(lambda: "Permission denied" in machine.show("StatusText"), "reason in the unit's status")
    machine.do("chown", "-R", "quorate:quorate", "/var/lib/quorate")
    wait_for(lambda: machine.show("ActiveState") == "active", "server on the restored data")
    serves(machine, "greeting", "hello")


def is_replaced_and_purged(machine):
    config = machine.root / CONFIG[1:]
    config.write_text(config.read_text() + "log-level: warn\n")
    pid = machine.show("MainPID")
    machine.do("dpkg", "--install", "/var/tmp/quorate.deb")
    assert machine.show("MainPID") == pid, "installing a package restarted the server"
    assert "log-level: warn" in config.read_text()
    machine.do("systemctl", "restart", "quorate")
    serves(machine, "greeting", "hello")
    machine.do("dpkg", "--purge", "quorate")
    assert not Path(f"/proc/{pid}").exists() and not config.exists()
    assert (machine.root / "var/lib/quorate/member").is_dir()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", type=Path, default=ROOT / "build/release")
    parser.add_argument("--package", type=Path)
    parser.add_argument("--machine", type=Path)
    arguments = parser.parse_args()
    try:
        if os.geteuid() != 0:
            raise Missing("root is needed to boot a machine")
        for program in ("systemd-nspawn", "debootstrap", "nsenter", "cpack"):
            if shutil.which(program) is None:
                raise Missing(f"{program} is not installed")
        package = arguments.package
        if package is None:
            run("cpack", "-G", "DEB", cwd=arguments.build)
            package = next(arguments.build.glob("quorate_*.deb"))
        tree = made(arguments.machine or ROOT / "build/machine")
        with tempfile.TemporaryDirectory(prefix="quorate-machine-") as folder:
            machine = Machine(tree, package, folder)
            try:
                machine.boot()
                for step in (starts, survives_a_kill, says_what_is_wrong, restores,
                             is_replaced_and_purged):
                    print(step.__name__, flush=True)
                    step(machine)
            finally:
                machine.off()
    except Missing as why:
        print(f"SKIPPED: {why}")
        return SKIPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
