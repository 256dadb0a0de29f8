import static io.etcd.jetcd.op.CmpTarget.createRevision;
import static io.etcd.jetcd.op.CmpTarget.modRevision;
import static io.etcd.jetcd.op.CmpTarget.value;
import static io.etcd.jetcd.op.CmpTarget.version;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.common.exception.CompactedException;
import io.etcd.jetcd.kv.GetResponse;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.CompactOption;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Keys, transactions, compaction and prefixes. */
final class Keys {
  private Keys() {}

  static long put(KV kv, String key, String value) throws Exception {
    return World.get(kv.put(World.bytes(key), World.bytes(value))).getHeader().getRevision();
  }

  static String get(KV kv, String key) throws Exception {
    GetResponse got = World.get(kv.get(World.bytes(key)));
    return got.getKvs().isEmpty() ? "" : got.getKvs().get(0).getValue().toString();
  }

  private static GetResponse list(KV kv, String prefix, GetOption.Builder options) throws Exception {
    return World.get(kv.get(World.bytes(prefix), options.isPrefix(true).build()));
  }

  static void kv() throws Exception {
    try (Client client = World.client("app")) {
      KV kv = client.getKVClient();
      ByteSequence a = World.bytes("kv/a");
      long first = put(kv, "kv/a", "1");
      PutOption withPrevious = PutOption.builder().withPrevKV().build();
      World.equal(World.get(kv.put(a, World.bytes("2"), withPrevious)).getPrevKv().getValue(),
          World.bytes("1"));
      World.equal(World.get(kv.get(a)).getKvs().get(0).getVersion(), 2L);
      GetOption old = GetOption.builder().withRevision(first).build();
      World.equal(World.get(kv.get(a, old)).getKvs().get(0).getValue(), World.bytes("1"));
      for (int i = 0; i < 10; i++) {
        put(kv, "kv/list/" + i, Integer.toString(9 - i));
      }
      GetResponse counted = list(kv, "kv/list/", GetOption.builder().withCountOnly(true));
      World.equal(counted.getCount(), 10L);
      GetResponse limited = list(kv, "kv/list/", GetOption.builder().withLimit(3));
      World.check(limited.getKvs().size() == 3 && limited.isMore(), "limited");
      GetResponse sorted = list(kv, "kv/list/",
          GetOption.builder().withSortField(GetOption.SortTarget.VALUE)
              .withSortOrder(GetOption.SortOrder.ASCEND).withKeysOnly(true));
      World.equal(sorted.getKvs().get(0).getKey(), World.bytes("kv/list/9"));
      World.equal(list(kv, "kv/list/", GetOption.builder().withSerializable(true)).getKvs().size(), 10);
      World.equal(list(kv, "kv/", GetOption.builder().withMaxCreateRevision(first)).getKvs().size(), 1);
      World.equal(list(kv, "kv/", GetOption.builder().withMinModRevision(first + 2)).getCount(), 11L);
      GetOption range = GetOption.builder().withRange(World.bytes("kv/list/7")).build();
      World.equal(World.get(kv.get(World.bytes("kv/list/3"), range)).getKvs().size(), 4);
      DeleteOption previous = DeleteOption.builder().withPrevKV(true).build();
      World.equal(World.get(kv.delete(a, previous)).getPrevKvs().get(0).getValue(), World.bytes("2"));
      DeleteOption all = DeleteOption.builder().isPrefix(true).build();
      World.equal(World.get(kv.delete(World.bytes("kv/"), all)).getDeleted(), 10L);
      GetOption future = GetOption.builder().withRevision(first + 1_000_000).build();
      World.refused(kv.get(a, future), "required revision is a future revision");
    }
  }

  static void txn() throws Exception {
    try (Client client = World.client("app")) {
      KV kv = client.getKVClient();
      ByteSequence a = World.bytes("txn/a");
      ByteSequence b = World.bytes("txn/b");
      put(kv, "txn/a", "1");
      Op inner = Op.txn(
          new Cmp[] {new Cmp(b, Cmp.Op.EQUAL, value(World.bytes("y")))}, new Op[] {},
          new Op[] {Op.get(b, GetOption.DEFAULT)});
      TxnResponse done = World.get(kv.txn()
          .If(new Cmp(a, Cmp.Op.EQUAL, value(World.bytes("1"))),
              new Cmp(a, Cmp.Op.GREATER, version(0)),
              new Cmp(World.bytes("txn/none"), Cmp.Op.EQUAL, createRevision(0)),
              new Cmp(a, Cmp.Op.GREATER, modRevision(1)))
          .Then(Op.put(b, World.bytes("x"), PutOption.DEFAULT), Op.get(a, GetOption.DEFAULT),
              Op.delete(World.bytes("txn/none"), DeleteOption.DEFAULT), inner)
          .Else(Op.put(World.bytes("txn/c"), a, PutOption.DEFAULT))
          .commit());
      World.check(done.isSucceeded(), "succeeded");
      World.equal(done.getGetResponses().get(0).getKvs().get(0).getValue(), World.bytes("1"));
      World.equal(done.getDeleteResponses().get(0).getDeleted(), 0L);
      World.equal(done.getTxnResponses().get(0).isSucceeded(), false);
      TxnResponse other = World.get(kv.txn()
          .If(new Cmp(a, Cmp.Op.LESS, value(World.bytes("1"))))
          .Else(Op.get(b, GetOption.DEFAULT)).commit());
      World.check(!other.isSucceeded() && other.getGetResponses().size() == 1, "else");
      Op twice = Op.put(World.bytes("txn/d"), a, PutOption.DEFAULT);
      World.refused(kv.txn().Then(twice, twice).commit(), "duplicate key given in txn request");
    }
  }

  static void compaction() throws Exception {
    try (Client client = World.client("app"); Client root = World.client("root")) {
      KV kv = client.getKVClient();
      ByteSequence key = World.bytes("compact/a");
      List<Long> revisions = new ArrayList<>();
      for (int i = 0; i < 10; i++) {
        revisions.add(put(kv, "compact/a", Integer.toString(i)));
      }
      CompactOption physical = CompactOption.builder().withCompactPhysical(true).build();
      World.get(root.getKVClient().compact(revisions.get(5), physical));
      String words = "required revision has been compacted";
      World.refused(root.getKVClient().compact(revisions.get(5)), words);
      World.refused(kv.get(key, GetOption.builder().withRevision(revisions.get(2)).build()), words);
      GetOption kept = GetOption.builder().withRevision(revisions.get(5)).build();
      World.equal(World.get(kv.get(key, kept)).getKvs().get(0).getValue(), World.bytes("5"));
      CompletableFuture<Throwable> ended = new CompletableFuture<>();
      WatchOption gone = WatchOption.builder().withRevision(revisions.get(2)).build();
      client.getWatchClient().watch(key, gone, response -> {}, ended::complete);
      Throwable why = World.get(ended);
      World.equal(((CompactedException) why).getCompactedRevision(), revisions.get(5));
    }
  }

  static void namespace() throws Exception {
    try (Client client = World.client("app");
        Client inner = World.builder("app", World.ENDPOINTS).namespace(World.bytes("space/")).build()) {
      KV kv = inner.getKVClient();
      Seen seen = new Seen(inner, "", WatchOption.builder().isPrefix(true));
      put(kv, "a", "1");
      World.equal(get(client.getKVClient(), "space/a"), "1");
      World.equal(list(kv, "", GetOption.builder()).getKvs().get(0).getKey(), World.bytes("a"));
      TxnResponse done = World.get(kv.txn()
          .If(new Cmp(World.bytes("a"), Cmp.Op.EQUAL, value(World.bytes("1"))))
          .Then(Op.put(World.bytes("b"), World.bytes("2"), PutOption.DEFAULT)).commit());
      World.check(done.isSucceeded(), "succeeded");
      World.equal(seen.take(2), List.of("put a 1", "put b 2"));
      World.equal(World.get(kv.delete(World.bytes("b"))).getDeleted(), 1L);
    }
  }
}
