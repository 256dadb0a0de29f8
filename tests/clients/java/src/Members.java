import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Cluster;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.Maintenance;
import io.etcd.jetcd.cluster.Member;
import io.etcd.jetcd.maintenance.StatusResponse;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.WatchOption;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.util.List;
import java.util.stream.Collectors;

/** Members: their state, who they are, and what is left when one dies. */
final class Members {
  private Members() {}

  /** The end point of the member that leads. */
  private static String leader(Client root) throws Exception {
    for (String endpoint : World.ENDPOINTS) {
      StatusResponse status =
          World.get(root.getMaintenanceClient().statusMember(World.url(endpoint)));
      if (status.getLeader() == status.getHeader().getMemberId()) {
        return endpoint;
      }
    }
    throw new AssertionError("no member leads");
  }

  static void maintenance() throws Exception {
    try (Client all = World.client("root");
        Client root = World.builder("root", List.of(leader(all))).build()) {
      Maintenance maintenance = root.getMaintenanceClient();
      long now = World.get(root.getKVClient().get(World.bytes("none"))).getHeader().getRevision();
      long heir = 0;
      for (String endpoint : World.ENDPOINTS) {
        try (Client member = World.builder("root", List.of(endpoint)).build()) {
          World.get(member.getKVClient().get(World.bytes("none"))); // by then it is as far
        }
        StatusResponse status = World.get(maintenance.statusMember(World.url(endpoint)));
        World.equal(status.getVersion().split("\\.")[0], "3");
        if (status.getLeader() != status.getHeader().getMemberId()) {
          heir = status.getHeader().getMemberId();
        }
        World.equal(World.get(maintenance.hashKV(World.url(endpoint), now)).getHash(),
            World.get(maintenance.hashKV(World.url(World.ENDPOINTS.get(0)), now)).getHash());
        World.get(maintenance.defragmentMember(World.url(endpoint)));
      }
      World.equal(World.get(maintenance.listAlarms()).getAlarms().size(), 0);
      ByteArrayOutputStream written = new ByteArrayOutputStream();
      World.equal(World.get(maintenance.snapshot(written)) % 512, 32L); // pages, and a checksum
      World.get(maintenance.moveLeader(heir));
      String moved = World.url(leader(all));
      World.equal(World.get(maintenance.statusMember(moved)).getLeader(), heir);
    }
  }

  static void members() throws Exception {
    try (Client all = World.client("root");
        Client root = World.builder("root", List.of(leader(all))).build()) {
      Cluster cluster = root.getClusterClient();
      List<String> names = World.get(cluster.listMember()).getMembers().stream()
          .map(Member::getName).sorted().collect(Collectors.toList());
      World.equal(names, List.of("m0", "m1", "m2"));
      List<URI> nowhere = List.of(URI.create("http://127.0.0.1:1"));
      // Not before all are connected.
      Member late = World.inTheEnd(() -> cluster.addMember(nowhere, true)).getMember();
      World.check(late.isLearner(), "a learner");
      World.refused(cluster.promoteMember(late.getId()),
          "can only promote a learner member which is in sync with leader");
      World.get(cluster.updateMember(late.getId(), List.of(URI.create("http://127.0.0.1:2"))));
      World.get(cluster.removeMember(late.getId()));
      World.refused(cluster.removeMember(late.getId()), "member not found");
    }
  }

  /** Every member dies once. Writes go on, a watch misses nothing, a lease is kept. */
  static void failover() throws Exception {
    ByteSequence key = World.bytes("failover/a");
    try (Client client = World.client("app")) {
      KV kv = client.getKVClient();
      long lease = World.get(client.getLeaseClient().grant(60)).getID();
      long first = World.get(kv.put(key, World.bytes("0"), Watches.under(lease)))
          .getHeader().getRevision();
      int turn = 0;
      try (Seen seen = new Seen(client, "failover/a", WatchOption.builder().withRevision(first))) {
        for (String endpoint : World.ENDPOINTS) {
          World.please("kill " + endpoint);
          ByteSequence value = World.bytes(Integer.toString(++turn));
          World.inTheEnd(() -> kv.put(key, value, Watches.under(lease)));
          World.please("start " + endpoint);
        }
        inOrder(seen, turn);
      } catch (Seen.Ended ended) {
        // The client takes a write to a connection that has just gone for an error of the watch.
        World.check(ended.getMessage().contains("channel closed"), ended.getMessage());
        inOrder(new Seen(client, "failover/a", WatchOption.builder().withRevision(first)), turn);
      }
      World.inTheEnd(() -> client.getLeaseClient().keepAliveOnce(lease));
      World.inTheEnd(() -> client.getLeaseClient().revoke(lease));
      World.equal(World.inTheEnd(() -> kv.get(key, GetOption.DEFAULT)).getCount(), 0L);
    }
  }

  /** All values up to `last`; a write whose answer was lost may be there twice. */
  private static void inOrder(Seen seen, int last) throws Exception {
    for (int wanted = 0; wanted <= last; ) {
      String event = seen.take(1).get(0);
      if (event.equals("put failover/a " + wanted)) {
        wanted++;
      } else {
        World.equal(event, "put failover/a " + (wanted - 1));
      }
    }
  }
}
