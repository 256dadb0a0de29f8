import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Election;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.election.CampaignResponse;
import io.etcd.jetcd.election.LeaderResponse;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** Locks and elections, which the server keeps. */
final class Rivals {
  private static final int ROUNDS = 5;

  private Rivals() {}

  private static boolean countUnderLock() {
    try (Client client = World.client("app")) {
      KV kv = client.getKVClient();
      long lease = World.get(client.getLeaseClient().grant(60)).getID();
      for (int i = 0; i < ROUNDS; i++) {
        ByteSequence held =
            World.get(client.getLockClient().lock(World.bytes("lock/suite"), lease)).getKey();
        int number = Integer.parseInt(Keys.get(kv, "lock/count"));
        Keys.put(kv, "lock/count", Integer.toString(number + 1));
        World.get(client.getLockClient().unlock(held));
      }
      World.get(client.getLeaseClient().revoke(lease));
      return true;
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }

  static void lock() throws Exception {
    try (Client client = World.client("app")) {
      Keys.put(client.getKVClient(), "lock/count", "0");
      List<CompletableFuture<Boolean>> rivals = new ArrayList<>();
      for (int i = 0; i < 3; i++) {
        rivals.add(CompletableFuture.supplyAsync(
            Rivals::countUnderLock, task -> new Thread(task).start()));
      }
      for (CompletableFuture<Boolean> rival : rivals) {
        World.get(rival);
      }
      World.equal(Keys.get(client.getKVClient(), "lock/count"), Integer.toString(3 * ROUNDS));
    }
  }

  static void election() throws Exception {
    try (Client client = World.client("app"); Client other = World.client("app")) {
      ByteSequence name = World.bytes("election");
      Election election = client.getElectionClient();
      LinkedBlockingQueue<String> seen = new LinkedBlockingQueue<>();
      election.observe(name, new Election.Listener() {
        @Override
        public void onNext(LeaderResponse leader) {
          seen.add(leader.getKv().getValue().toString());
        }

        @Override
        public void onError(Throwable error) {
          seen.add(error.toString());
        }

        @Override
        public void onCompleted() {}
      });
      long lease = World.get(client.getLeaseClient().grant(60)).getID();
      CampaignResponse first = World.get(election.campaign(name, lease, World.bytes("first")));
      World.equal(seen.poll(60, TimeUnit.SECONDS), "first");
      World.equal(World.get(election.leader(name)).getKv().getValue(), World.bytes("first"));
      long otherLease = World.get(other.getLeaseClient().grant(60)).getID();
      CompletableFuture<CampaignResponse> second =
          other.getElectionClient().campaign(name, otherLease, World.bytes("second"));
      World.get(election.proclaim(first.getLeader(), World.bytes("first again")));
      World.equal(seen.poll(60, TimeUnit.SECONDS), "first again");
      World.get(election.resign(first.getLeader()));
      World.equal(seen.poll(60, TimeUnit.SECONDS), "second");
      World.get(other.getElectionClient().resign(World.get(second).getLeader()));
      World.refused(election.leader(name), "NoLeaderException");
    }
  }
}
