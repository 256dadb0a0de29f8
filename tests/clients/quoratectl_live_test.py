#!/usr/bin/python3
"""What quoratectl does while it runs: locks, elections, mirrors, interactive watches, checks, prompts.

Every case runs against Quorate, and against a real etcd where scripts/build_etcd.sh made one; there
etcd's own etcdctl takes part as the other holder, candidate and observer. Cases wait for lines and for
the end of programs, never for a time.

usage: quoratectl_live_test.py [CASE...]
"""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys

from programs import BUILT, ENVIRONMENT, OURS, Store, servers_to_test
from servers import Server


def no_leases(store):
    assert store.run("lease", "list") == "found 0 leases\n", store.run("lease", "list")


# --- locks


def a_lock_is_handed_on(store):
    for first, second in ((OURS, other) for other in store.programs()):
        with store.program("lock", "l", binary=first) as holder:
            key, _ = holder.lines(2)
            assert re.fullmatch(r"l/[0-9a-f]{1,16}", key), key
            with store.watch("l/", "--prefix") as watch, \
                    store.program("lock", "l", binary=second) as waiter:
                assert watch.lines(1) == ["PUT"]  # the waiter stands behind the holder
                assert holder.end(signal.SIGTERM) == (0, "", "")
                key2, _ = waiter.lines(2)
                assert key2 != key
                assert waiter.end(signal.SIGINT)[0] == 0
    assert store.keys("l/") == {}


def a_lock_is_taken_over_from_etcdctl(store):
    if not store.other:
        return
    with store.program("lock", "l", binary=store.other) as holder:
        holder.lines(2)
        with store.watch("l/", "--prefix") as watch, store.program("lock", "l") as waiter:
            assert watch.lines(1) == ["PUT"]
            holder.end(signal.SIGINT)
            assert waiter.lines(1)[0].startswith("l/")
            assert waiter.end(signal.SIGINT) == (0, "", "")


def who_waits_for_a_lock_may_give_up(store):
    with store.program("lock", "l") as holder:
        holder.lines(2)
        with store.watch("l/", "--prefix") as watch, store.program("lock", "l") as waiter:
            assert watch.lines(1) == ["PUT"]
            assert waiter.end(signal.SIGINT) == (1, "", "Error: context canceled")
        assert len(store.keys("l/")) == 1  # the holder's
        holder.end(signal.SIGINT)
    no_leases(store)


def a_lock_without_its_lease_is_lost(store):
    with store.program("lock", "l", "--ttl=5") as holder:
        key, _ = holder.lines(2)
        store.run("lease", "revoke", key.split("/")[1])
        assert holder.end() == (1, "", "Error: session expired")


def a_lock_ends_with_its_lease_when_the_server_is_gone(store):
    with store.program("lock", "l", "--ttl=2") as holder:
        holder.lines(2)
        store.server.kill()
        assert holder.end() == (1, "", "Error: session expired")


def a_program_runs_under_the_lock(store):
    script = "echo $ETCD_LOCK_KEY; echo $ETCD_LOCK_REV; read line; echo got $line; exit 3"
    with store.program("lock", "l", "--", "sh", "-c", script) as locked:
        key, revision = locked.lines(2)
        assert key.startswith("l/") and int(revision) > 1
        assert list(store.keys("l/")) == [key]
        locked.process.send_signal(signal.SIGTERM)  # the program runs on
        locked.say("a line")
        assert locked.end() == (3, "got a line\n", "Error: exit status 3")
    assert store.keys("l/") == {}
    no_leases(store)


# --- elections


def leaders_follow_each_other(store):
    for other in store.programs():
        with store.program("elect", "-l", "e") as observer, \
                store.program("elect", "e", "one") as first:
            key, value = first.lines(2)
            assert value == "one" and observer.lines(2) == [key, "one"]
            with store.watch("e/", "--prefix") as watch, \
                    store.program("elect", "e", "two", binary=other) as second:
                assert watch.lines(1) == ["PUT"]
                assert first.end(signal.SIGINT) == (0, "", "")
                key2, value2 = second.lines(2)
                assert value2 == "two" and key2 != key
                assert observer.lines(2) == [key2, "two"]
                assert second.end(signal.SIGTERM)[0] == 0
            assert observer.end(signal.SIGINT) == (0, "", "")
    assert store.keys("e/") == {}


def observers_print_the_same(store):
    if not store.other:
        return
    for form in ("simple", "json", "fields"):
        with store.program("elect", "e", "me") as leader:
            leader.lines(2)
            count = {"simple": 2, "json": 1, "fields": 12}[form]
            with store.program("elect", "-l", "e", "-w", form) as ours, \
                    store.program("elect", "-l", "e", "-w", form, binary=store.other) as theirs:
                assert ours.lines(count) == theirs.lines(count)
            leader.end(signal.SIGINT)


def a_proposal_is_withdrawn(store):
    with store.program("elect", "e", "one") as first:
        key, _ = first.lines(2)
        store.run("lease", "revoke", key.split("/")[1])
        assert first.end() == (1, "", "Error: elect: session expired")


# --- mirrors


def mirrored(store, destination, count, *flags):
    """Starts a mirror and waits until `count` events reached the destination."""
    watch = destination.program("watch", "", "--prefix", "--rev=1", "-w", "json")
    mirror = store.program("make-mirror", *flags, destination.endpoint)
    seen = 0
    with watch:
        while seen < count:
            seen += watch.lines(1)[0].count('"kv"')
    return mirror


def a_mirror_copies_and_follows(store):
    with Server(store.server.binary) as server:
        destination = Store(server, store.other)
        for number in range(5):
            store.run("put", f"m/{number}", f"value {number}")
        store.run("put", "other", "stays here")
        with mirrored(store, destination, 5, "--prefix=m/") as mirror:
            assert destination.keys() == store.keys("m/")
            with destination.watch("m/", "--prefix") as watch:
                store.run("put", "m/1", "new")
                assert watch.lines(3) == ["PUT", "m/1", "new"]
                store.run("del", "m/2")
                assert watch.lines(3) == ["DELETE", "m/2", ""]
            code, out, error = mirror.end(signal.SIGINT)
        revision = re.fullmatch(r"copied 7; go on with --rev=(\d+)", error)
        assert code == 5 and out == "" and revision, (code, out, error)
        # What happened meanwhile is not lost.
        store.run("put", "m/6", "six")
        with destination.watch("m/6") as watch, \
                store.program("make-mirror", "--prefix=m/", f"--rev={revision[1]}",
                              destination.endpoint) as mirror:
            assert watch.lines(3) == ["PUT", "m/6", "six"]
        assert destination.keys() == store.keys("m/")


def a_mirror_renames(store):
    for flags, front in ((("--dest-prefix=copy/",), "copy/"), (("--no-dest-prefix",), "")):
        with Server(store.server.binary) as server:
            destination = Store(server, store.other)
            store.run("put", "m/a", "1")
            store.run("put", "m/b", "2")
            with mirrored(store, destination, 2, "--prefix=m/", *flags):
                assert destination.keys() == {f"{front}a": "1", f"{front}b": "2"}


def a_mirror_of_everything_keeps_transactions_together(store):
    with Server(store.server.binary) as server:
        destination = Store(server, store.other)
        store.run("put", "first", "1")
        with mirrored(store, destination, 1), \
                destination.watch("t/", "--prefix", "-w", "json") as watch:
            store.run("txn", stdin="\nput t/1 a\nput t/2 b\n\n\n")
            assert watch.lines(1)[0].count('"kv"') == 2  # one revision there as well


def a_mirror_splits_large_transactions(store):
    with Server(store.server.binary) as server:
        destination = Store(server, store.other)
        store.run("put", "first", "1")
        with mirrored(store, destination, 1, "--max-txn-ops=2"), \
                destination.watch("t/", "--prefix", "-w", "json") as watch:
            store.run("txn", stdin="\n" + "".join(f"put t/{i} v\n" for i in range(5)) + "\n\n")
            parts = re.findall(r'"mod_revision":(\d+)', "".join(watch.lines(1)))
            while len(parts) < 5:
                parts += re.findall(r'"mod_revision":(\d+)', "".join(watch.lines(1)))
        assert sorted(parts.count(part) for part in set(parts)) == [1, 2, 2], parts


def a_mirror_says_what_stops_it(store):
    store.run("put", "m/1", "x")
    store.run("put", "m/1", "y")
    with Server(store.server.binary) as server:
        store.run("compaction", "3")
        code, error = store.run("make-mirror", "--rev=1", server.endpoint, fails=True)
        assert code == 1
        assert error.splitlines()[-1] == \
            "Error: etcdserver: mvcc: required revision has been compacted", error


# --- watches


def an_interactive_watch_takes_lines(store):
    store.run("put", "w", "1")
    with store.program("watch", "-i") as watch:
        watch.say("watch w --rev=1")
        assert watch.lines(3) == ["PUT", "w", "1"]
        watch.say("watch v --prev-kv -- echo ran")
        watch.say("progress")
        assert re.fullmatch(r"progress notify: \d+", watch.lines(1)[0])
        assert re.fullmatch(r"progress notify: \d+", watch.lines(1)[0])
        store.run("put", "v", "2")
        assert watch.lines(4) == ["PUT", "v", "2", "ran"]
        watch.process.stdin.close()
        watch.process.stdin = None
        assert watch.end() == (3, "", "Error: error reading watch request line: EOF")


def a_failing_program_ends_the_watch(store):
    store.run("put", "w", "1")
    code, error = store.run("watch", "w", "--rev=1", "--", "sh", "-c", "exit 4", fails=True)
    assert code == 1 and error == 'command ["sh" "-c" "exit 4"] error (exit status 4)', error


def a_watch_goes_on_after_a_restart(store):
    with store.watch("w", "--prefix") as watch:
        store.run("put", "w/1", "before")
        assert watch.lines(3) == ["PUT", "w/1", "before"]
        store.server.stop()
        store.server.start()
        store.run("put", "w/2", "after")
        assert watch.lines(3) == ["PUT", "w/2", "after"]


def a_lock_outlives_a_restart(store):
    with store.program("lock", "l", "--ttl=200") as holder:
        key, _ = holder.lines(2)
        store.server.stop()
        store.server.start()
        assert list(store.keys("l/")) == [key]
        assert holder.end(signal.SIGTERM) == (0, "", "")
    assert store.keys("l/") == {}


# --- users


def a_new_token_replaces_one_that_ended(store):
    """etcd keeps simple tokens in memory: a restart ends them all."""
    store.run("user", "add", "root:pw")
    store.run("auth", "enable")
    with store.program("--user=root:pw", "watch", "w", "--prefix", "--rev=2") as watch, \
            store.program("--user=root:pw", "lock", "l", "--ttl=200") as holder:
        holder.lines(2)
        store.run("--user=root:pw", "put", "w/1", "")
        assert watch.lines(3) == ["PUT", "w/1", ""]
        store.server.stop()
        store.server.start()
        store.run("--user=root:pw", "put", "w/2", "")
        assert watch.lines(3) == ["PUT", "w/2", ""]
        assert holder.end(signal.SIGTERM) == (0, "", "")
    store.run("--user=root:pw", "auth", "disable")


def a_prompt_hides_the_password(store):
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(OURS, [OURS, f"--endpoints={store.endpoint}", "user", "add", "ann"], ENVIRONMENT)
    seen = b""
    answers = [(b"Password of ann: ", b"secret\n"), (b"again for confirmation: ", b"secret\n")]
    for question, answer in answers:
        while question not in seen:
            seen += os.read(terminal, 1000)
        os.write(terminal, answer)
    try:
        while chunk := os.read(terminal, 1000):
            seen += chunk
    except OSError:  # the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, seen
    os.close(terminal)
    assert b"secret" not in seen and b"User ann created" in seen, seen


def a_mirror_signs_in_at_both_ends(store):
    with Server(store.server.binary) as server:
        destination = Store(server, store.other)
        for one, password in ((store, "here"), (destination, "there")):
            one.run("user", "add", f"root:{password}")
            one.run("auth", "enable")
        store.run("--user=root:here", "put", "m", "1")
        with destination.program("--user=root:there", "watch", "m", "--rev=2") as watch, \
                store.program("--user=root:here", "make-mirror", "--dest-user=root",
                              "--dest-password=there", destination.endpoint):
            assert watch.lines(3) == ["PUT", "m", "1"]
        code, error = store.run("--user=root:here", "make-mirror", "--dest-user=root:wrong",
                                destination.endpoint, fails=True)
        assert code == 2 and "authentication failed" in error, error
        store.run("--user=root:here", "auth", "disable")


# --- checks


def datascale_measures_and_cleans_up(store):
    out = store.run("check", "datascale", "--load=small", "--auto-compact", "--auto-defrag")
    assert out.startswith("Start data scale check for work load [10000 key-value pairs, 1024 bytes "
                          "per key-value, 50 concurrent clients].\nCompacting with revision "), out
    assert re.search(r"\nPASS: Approximate system memory used : -?\d+\.\d\d MB\.\n$", out), out
    assert store.keys("/etcdctl-check-datascale/") == {}


def an_interrupted_perf_check_cleans_up(store):
    with store.watch("/p/", "--prefix", "-w", "json") as watch, \
            store.program("check", "perf", "--prefix=/p/") as check:
        watch.lines(3)
        code, out, _ = check.end(signal.SIGINT)
    verdict = out.splitlines()
    assert len(verdict) == 4 and (verdict[3], code) in (("PASS", 0), ("FAIL", 1)), (code, out)
    assert re.fullmatch(r"(PASS: Throughput is|FAIL: Throughput too low:) \d+ writes/s", verdict[0])
    assert store.keys("/p/") == {}


# --- this machine


def bash_completes(store):
    script = f"""
      quoratectl() {{ {OURS} "$@"; }}
      source <({OURS} completion bash)
      for COMP_LINE in "quoratectl member pro" "quoratectl get --write-out=fi" "quoratectl user "; do
        COMP_POINT=${{#COMP_LINE}}; _quoratectl; echo "${{COMPREPLY[@]}}"
      done"""
    out = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == "promote\nfields\nadd delete get list passwd grant-role revoke-role\n", out


def fish_completes(store):
    if shutil.which("fish") is None:
        print("note: no fish here")
        return
    script = f"""
      function quoratectl; {OURS} $argv; end
      quoratectl completion fish | source
      for line in "quoratectl member pro" "quoratectl get --write-out=fi" "quoratectl --hex lea"
        complete -C "$line"
      end"""
    out = subprocess.run(["fish", "-c", script], capture_output=True, text=True, check=True).stdout
    assert out == ("promote\tGives a learner its vote\n--write-out=fields\nlease\tlease commands\n"), \
        out


CASES = [a_lock_is_handed_on, a_lock_is_taken_over_from_etcdctl, who_waits_for_a_lock_may_give_up,
         a_lock_without_its_lease_is_lost,
         a_lock_ends_with_its_lease_when_the_server_is_gone, a_program_runs_under_the_lock,
         leaders_follow_each_other, observers_print_the_same, a_proposal_is_withdrawn,
         a_mirror_copies_and_follows, a_mirror_renames,
         a_mirror_of_everything_keeps_transactions_together,
         a_mirror_splits_large_transactions, a_mirror_says_what_stops_it,
         an_interactive_watch_takes_lines, a_failing_program_ends_the_watch,
         a_watch_goes_on_after_a_restart, a_lock_outlives_a_restart,
         datascale_measures_and_cleans_up, an_interrupted_perf_check_cleans_up, bash_completes, fish_completes]
WITH_USERS = [a_new_token_replaces_one_that_ended, a_prompt_hides_the_password,
              a_mirror_signs_in_at_both_ends]


def main():
    wanted = sys.argv[1:]
    names = [case.__name__ for case in CASES + WITH_USERS]
    if unknown := [name for name in wanted if name not in names]:
        sys.exit(f"unknown: {', '.join(unknown)}; known: {', '.join(names)}")
    other = str(BUILT / "etcdctl") if (BUILT / "etcdctl").exists() else None
    for name, binary in servers_to_test().items():
        for case in CASES + WITH_USERS:
            if wanted and case.__name__ not in wanted:
                continue
            with Server(binary) as server:
                store = Store(server, other)
                if case in WITH_USERS and not store.serves_users():
                    print(f"note: {name} does not serve users yet: {case.__name__} left out")
                    continue
                case(store)
            print(f"{name}: {case.__name__.replace('_', ' ')}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
