"""Command lines on keys, leases and the cluster, for the comparison of quoratectl with etcdctl.

In an order: each line finds what those before it left.
"""

from side_by_side import line, new, wrong

PUT_AND_GET = [
    line("put a 1"), line("put a 2 --prev-kv"), line("put b x"), line("put b"),
    line("put from-stdin", stdin="typed text\n"), line("put --ignore-value a"),
    line("put --ignore-value missing"), line("put --ignore-lease missing v"),
    line("put a 3 -w json"), line("put a 4 -w fields"), line("put a 5 --prev-kv -w fields"),
    line("put a 6 --prev-kv -w json"), line("put a 7 -w protobuf"), line("put a 8 -w table"),
    line("put -- -dash value"), new("put a v --lease=zz"), line("put a v --lease=1234"),
    line("put"), line("put a b --ignore-value"),
    line("get a"), line("get missing"), line("get -- -dash"), line("get from-stdin"),
    line("get a -w json"), line("get a -w fields"), line("get a -w protobuf"),
    line("get a -w table"), line("get a --hex"), new("get a --hex -w fields"),
    line("get a --hex -w json"), line("get a c"), line("get a --prefix"), line("get a --from-key"),
    new("get --prefix"), line("get a --prefix --keys-only"), line("get a --print-value-only"),
    line("get a --print-value-only -w json"), line("get a --prefix --limit=1 -w fields"),
    line("get a z --limit 2"), line("get a --rev=2"), line("get a --rev=1"),
    line("get a --rev=1000"), line("get a --rev=-1"), line("get a z --order=DESCEND"),
    line("get a z --order=ASCEND"), line("get a z --sort-by=MODIFY"),
    line("get a z --sort-by=VALUE --order=DESCEND"), line("get a z --sort-by=CREATE"),
    line("get a z --sort-by=VERSION --order=DESCEND"), line("get a z --sort-by=KEY"),
    line("get a --order=SIDEWAYS"), line("get a --sort-by=COLOUR"),
    line("get a --consistency=s"), line("get a --consistency=x"),
    new("get a --count-only"), new("get a --prefix --count-only -w fields"),
    new("get a --count-only --keys-only"), line("get a --prefix --from-key"),
    line("get a b --prefix"), line("get a b --from-key"), line("get"),
    new("get a z --min-mod-rev=4"), new("get a z --max-mod-rev=4"),
    new("get a z --min-create-rev=3"), new("get a z --max-create-rev=3"),
    new("get a z --stream"), new("get a z --stream -w json"), new("get a --stream --rev=1000"),
    line("get a -w nothing"), line("get a -wjson"), line("get a -w=fields"),
    line("get a --write-out simple"), wrong("get a --colour"), wrong("get a --limit=many"),
    line("get a", environment=(("ETCDCTL_WRITE_OUT", "fields"),)),
    line("get a", environment=(("ETCDCTL_HEX", "true"),)),
]

DELETE_AND_COMPACT = [
    line("put d/1 x"), line("put d/2 y"), line("put d/3 z"), line("put d/4 q"),
    line("del d/1"), line("del d/1"), line("del d/2 --prev-kv"), new("del d/3 d/4 --range --prev-kv"),
    line("del d/ --prefix --prev-kv -w json"), line("put d/5 v"),
    line("del d/5 --prev-kv -w fields"), line("del d/ --prefix -w fields"),
    line("del nothing -w json"), line("del nothing --from-key --prefix"), line("del"),
    line("del zz --from-key"), line("del a b --prefix"),
    line("compaction 5"), line("compaction 5"), line("compaction 1000"),
    line("compaction --physical 6"), line("compaction 7 -w json"), line("get a --rev=3"),
    new("compaction five"), line("compaction"), line("watch a --rev=2"),
]

TRANSACTIONS = [
    line("txn", stdin='value("a") = "8"\n\nput t 1\nget a\n\nput t 2\n\n'),
    line("txn", stdin='value("a") = "no"\n\nput t 1\n\nget t\ndel t\n\n'),
    line("txn", stdin='mod("a") > "1"\nver("a") != "0"\ncreate("a") < "100"\n\n'
                      "del t --prev-kv\nput t 3 --prev-kv\n\n\n"),
    line("txn", stdin='c("a") > "0"\nm("a") > "0"\nversion("a") > "0"\nval("a") > ""\n\nget a z --limit=2\n\n\n'),
    line("txn -w json", stdin='ver("t") > "0"\n\nget t\nput t 4\n\n\n'),
    line("txn -w fields", stdin='ver("t") > "0"\n\nget t\nput t 5\ndel none\n\n\n'),
    line("txn", stdin='ver("t") > "0"\n\nput "quoted key" "a value\\nof two lines"\n\n\n'),
    line("txn", stdin="\n\n\n"),
    line("txn", stdin="\nput x 1\nput x 2\n\n\n"), wrong("txn", stdin="nonsense\n\n\n\n"),
    wrong("txn", stdin='value("a") = "1"\n\nfly away\n\n\n'), line("txn word"),
    line("txn -i", stdin='ver("t") > "0"\n\nget t\n\nput t 6\n\n'),
]

LEASES = [
    line("lease grant 300"), line("lease grant 200 -w json"), line("lease grant 100 -w fields"),
    line("put leased v --lease=@LEASE1"),
    line("get leased -w json"), line("get leased -w fields"), new("get leased -w fields --hex"),
    line("lease timetolive @LEASE1"), line("lease timetolive @LEASE1 -w json"),
    line("lease timetolive @LEASE1 --keys -w json"),
    line("lease timetolive @LEASE1 --keys -w fields"),
    # etcd lists several keys in any order.
    line("put leased2 v --lease=@LEASE1"), line("lease timetolive @LEASE1 --keys"),
    line("lease timetolive 1234"), line("lease timetolive 1234 -w json"),
    line("lease list"), line("lease list -w fields"), new("lease list -w fields --hex"), line("lease list -w json"),
    line("lease keep-alive --once @LEASE1"), line("lease keep-alive --once @LEASE1 -w json"),
    line("lease keep-alive --once @LEASE1 -w fields"), line("lease keep-alive --once 1234"),
    line("lease revoke @LEASE2"), line("lease revoke @LEASE2"), line("lease revoke @LEASE3"),
    line("lease revoke @LEASE1 -w json"), line("get leased"),
    new("lease grant soon"), line("lease grant 0"), line("lease grant -- -5"),
    line("lease grant 99999999999"), line("lease grant"), new("lease revoke zz"),
    line("lease revoke"), new("lease timetolive zz"), new("lease keep-alive zz --once"),
]

CLUSTER = [
    new("endpoint status"), new("endpoint status -w json"), new("endpoint status -w fields"),
    new("endpoint status -w table"), line("endpoint status -w protobuf"),
    new("endpoint status --cluster"), new("endpoint status -w fields --hex"),
    new("endpoint hashkv"), new("endpoint hashkv -w json"), new("endpoint hashkv -w fields"),
    new("endpoint hashkv -w table"), new("endpoint hashkv --rev=8"), line("endpoint hashkv --rev=9999"),
    new("endpoint hashkv --cluster -w json"),
    new("endpoint health"), line("endpoint health -w json"), new("endpoint health -w table"),
    new("endpoint health --cluster"),
    line("member list"), line("member list -w json"), new("member list -w fields"),
    new("member list -w table"), line("member list -w protobuf"), new("member list --hex"),
    new("member list --hex -w json"), new("member list --hex -w fields"),
    new("member list --consistency=s"), wrong("member list --consistency=x", new=True),
    line("alarm list"), line("alarm list -w json"),
    new("alarm list -w fields"),  # 3.4 falls over it
    line("alarm disarm"), line("alarm disarm -w json"),
    new("defrag"), new("defrag --cluster"), wrong("version"), wrong("fly"),
    wrong("get a --command-timeout=fast"),
]

# (number of lines that are waited for, the command): what a watch prints of the past. Then it is
# interrupted, and the exit code is the interruption's.
WATCHES = [
    (14, "watch w --prefix --rev=@REV"), (8, "watch w/1 --rev=@REV"),
    (12, "watch w/1 --rev=@REV --prev-kv"), (8, "watch w/1 w/3 --rev=@REV"),
    (10, "watch w/1 --rev=@REV -w fields"), (8, "watch --rev=@REV w/1 --hex"),
    (2, 'watch w/1 --rev=@REV -- sh -c echo\\ $ETCD_WATCH_EVENT_TYPE:$ETCD_WATCH_KEY'),
]
WATCHES_NEW = [  # 3.4 has no CancelReason
    (1, "watch w/1 --rev=@REV -w json"), (1, "watch w --prefix --rev=@REV -w json --prev-kv"),
]
WATCHED = ["put w/1 one", "put w/2 two", "put w/1 more", "del w/1 --prev-kv", "put w/9 nine"]

# After the quota was reached. Whether a put fits after the disarm is the server's affair: how full
# etcd's file is depends on when its batches were written.
ALARMS = [
    line("alarm list"), line("put one more"), line("get one"), new("endpoint health"),
    wrong("del fill --prefix"), line("alarm disarm"), line("alarm list"), line("alarm disarm"),
]

GROUPS = [PUT_AND_GET, DELETE_AND_COMPACT, TRANSACTIONS, LEASES, CLUSTER]
