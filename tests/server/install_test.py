#!/usr/bin/python3
"""Installs into an empty prefix, starts the server from the installed configuration as its unit does,
writes, reads and stops it; looks at the unit, the man pages and the alerts.

usage: install_test.py --build DIR
"""

import argparse
import gzip
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))
from servers import READY, ROOT, free_ports  # noqa: E402
from stubs import Client, etcd  # noqa: E402


def set_options(text, **options):
    """As an operator does: takes the # away and writes a value."""
    for name, value in options.items():
        name = name.replace("_", "-")
        text, count = re.subn(rf"^#?{name}: .*$", f"{name}: {value}", text, flags=re.M)
        assert count == 1, f"{name} stands {count} times in the installed configuration"
    return text


def serve(prefix, unit, config, folder, tuned):
    client_port, peer_port = free_ports(2)
    url, peer_url = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    config.write_text(set_options(
        config.read_text(encoding="utf-8"), data_dir=f"{folder}/data", listen_client_urls=url,
        advertise_client_urls=url, listen_peer_urls=peer_url,
        initial_advertise_peer_urls=peer_url, initial_cluster=f"default={peer_url}",
        **tuned),
        encoding="utf-8")
    command = re.search(r"^ExecStart=(.*)$", unit, re.M)[1].split()
    assert command[0] == f"{prefix}/sbin/quorate", command
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=folder, env={}) as server:
        log = []
        for line in server.stderr:
            log.append(line)
            if READY in line:
                break
        else:
            raise AssertionError(b"".join(log).decode())
        client = Client(f"127.0.0.1:{client_port}")
        client.KV.Put(etcd.PutRequest(key=b"installed", value=b"yes"))
        assert client.KV.Range(etcd.RangeRequest(key=b"installed")).kvs[0].value == b"yes"
        client.close()
        got = subprocess.run([f"{prefix}/bin/quoratectl", f"--endpoints={url}", "get", "installed"],
                             capture_output=True, text=True, check=True)
        assert got.stdout == "installed\nyes\n", got
        server.terminate()
        server.stderr.read()
    assert server.returncode == -15, server.returncode


def check_alerts(path):
    """Names no metric that the server does not have."""
    rules = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"][0]["rules"]
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    here = set(re.findall(r"`(\w+)`", page.split("## Not here")[0]))
    here |= set(re.findall(r"^\| `(quorate_\w+)`", page, re.M))
    used = set()
    for rule in rules:
        assert rule["annotations"]["summary"] and rule["annotations"]["action"], rule
        for name in re.findall(r"\b(?:etcd|grpc|process|quorate|promhttp)_\w+", rule["expr"]):
            if name not in ("grpc_type", "grpc_code"):
                used.add(re.sub(r"_bucket$", "", name))
    assert len(used) >= 10 and used <= here, used - here
    return len(rules)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", required=True)
    build = parser.parse_args().build
    with tempfile.TemporaryDirectory(prefix="quorate-test-") as folder:
        prefix = Path(folder, "prefix")
        subprocess.run(["cmake", "--install", build, "--prefix", prefix], check=True,
                       capture_output=True)
        unit = (prefix / "lib/systemd/system/quorate.service").read_text(encoding="utf-8")
        assert "Type=notify" in unit and not re.search(r"@\w+@", unit), unit
        config = prefix / "etc/quorate/quorate.yaml"
        tuned = yaml.safe_load(
            (prefix / "share/doc/quorate/quorate.tuned.yaml").read_text(encoding="utf-8"))
        serve(prefix, unit, config, folder, tuned)
        # A second installation leaves what the operator has set.
        before = config.read_text(encoding="utf-8")
        subprocess.run(["cmake", "--install", build, "--prefix", prefix], check=True,
                       capture_output=True)
        assert config.read_text(encoding="utf-8") == before
        for page in ("man8/quorate.8", "man1/quoratectl.1", "man1/quorateutl.1",
                     "man1/quorate-bench.1"):
            text = gzip.decompress((prefix / f"share/man/{page}.gz").read_bytes()).decode()
            name = Path(page).stem.replace("-", "\\-")
            assert f"\n.SH NAME\n{name} \\- " in text, f"whatis finds no {page}"
            assert text.startswith(".TH ") and ".SH OPTIONS" in text.replace("COMMANDS AND ", ""), page
        alerts = check_alerts(prefix / "share/doc/quorate/quorate.prometheus.yml")
    print(f"installed, served from the installed configuration, stopped; {alerts} alerts")
    return 0


if __name__ == "__main__":
    sys.exit(main())
