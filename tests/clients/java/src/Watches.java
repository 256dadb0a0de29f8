import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.Lease;
import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import io.etcd.jetcd.lease.LeaseTimeToLiveResponse;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.support.CloseableClient;
import io.etcd.jetcd.support.Observers;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Leases and watches. */
final class Watches {
  private Watches() {}

  static PutOption under(long lease) {
    return PutOption.builder().withLeaseId(lease).build();
  }

  static void lease() throws Exception {
    try (Client client = World.client("app")) {
      Lease lease = client.getLeaseClient();
      KV kv = client.getKVClient();
      long id = World.get(lease.grant(600)).getID();
      World.get(kv.put(World.bytes("lease/a"), World.bytes("1"), under(id)));
      LeaseTimeToLiveResponse live =
          World.get(lease.timeToLive(id, LeaseOption.builder().withAttachedKeys().build()));
      World.equal(live.getGrantedTTL(), 600L);
      World.equal(live.getKeys(), List.of(World.bytes("lease/a")));
      World.equal(World.get(lease.keepAliveOnce(id)).getTTL(), 600L);
      World.get(lease.revoke(id));
      World.equal(Keys.get(kv, "lease/a"), "");
      World.refused(lease.revoke(id), "requested lease not found");
      World.refused(lease.keepAliveOnce(id), "");
      keptAlive(lease);
      try (Seen seen = new Seen(client, "lease/short", WatchOption.builder())) {
        long brief = World.get(lease.grant(1)).getID();
        World.get(kv.put(World.bytes("lease/short"), World.bytes("x"), under(brief)));
        World.equal(seen.take(2), List.of("put lease/short x", "delete lease/short"));
      }
    }
  }

  /** Three renewals of a lease that would have ended before the last. */
  private static void keptAlive(Lease lease) throws Exception {
    long id = World.get(lease.grant(2)).getID();
    CountDownLatch renewals = new CountDownLatch(3);
    CloseableClient kept = lease.keepAlive(
        id, Observers.<LeaseKeepAliveResponse>observer(answer -> renewals.countDown()));
    World.check(renewals.await(60, TimeUnit.SECONDS), "renewals");
    kept.close();
    World.get(lease.revoke(id));
  }

  static void watch() throws Exception {
    try (Client client = World.client("app")) {
      KV kv = client.getKVClient();
      long first = Keys.put(kv, "watch/a", "1");
      Keys.put(kv, "watch/a", "2");
      Seen old = new Seen(client, "watch/",
          WatchOption.builder().isPrefix(true).withRevision(first).withPrevKV(true));
      World.equal(old.take(2), List.of("put watch/a 1", "put watch/a 2 was 1"));
      Seen deletes = new Seen(client, "watch/a",
          WatchOption.builder().withRevision(first).withNoPut(true));
      Seen puts = new Seen(client, "watch/a",
          WatchOption.builder().withRevision(first).withNoDelete(true));
      World.get(kv.delete(World.bytes("watch/a")));
      Keys.put(kv, "watch/a", "3");
      World.equal(deletes.take(1), List.of("delete watch/a"));
      World.equal(puts.take(3), List.of("put watch/a 1", "put watch/a 2", "put watch/a 3"));
      World.equal(old.take(2), List.of("delete watch/a was 2", "put watch/a 3"));
      puts.close();
      Keys.put(kv, "watch/a", "4");
      World.equal(old.take(1), List.of("put watch/a 4 was 3"));
      World.check(puts.isEmpty() && deletes.isEmpty(), "no more events");
      old.close();
      deletes.close();
    }
  }
}
