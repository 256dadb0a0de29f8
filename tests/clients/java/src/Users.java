import io.etcd.jetcd.Auth;
import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.auth.Permission;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.WatchOption;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** Users, what is refused to them, and tokens that end. */
final class Users {
  private static final String DENIED = "etcdserver: permission denied";

  private Users() {}

  static void users() throws Exception {
    ByteSequence ann = World.bytes("ann");
    ByteSequence maker = World.bytes("maker");
    ByteSequence begin = World.bytes("made/");
    ByteSequence end = World.bytes("made0");
    try (Client root = World.client("root")) {
      Auth auth = root.getAuthClient();
      World.get(auth.roleAdd(maker));
      World.refused(auth.roleAdd(maker), "role name already exists");
      World.get(auth.roleGrantPermission(maker, begin, end, Permission.Type.READWRITE));
      Permission permission = World.get(auth.roleGet(maker)).getPermissions().get(0);
      World.equal(permission.getKey(), begin);
      World.equal(permission.getRangeEnd(), end);
      World.get(auth.userAdd(ann, World.bytes("first")));
      World.refused(auth.userAdd(ann, World.bytes("x")), "user name already exists");
      World.refused(auth.userGrantRole(ann, World.bytes("nobody")), "role name not found");
      World.get(auth.userGrantRole(ann, maker));
      World.get(auth.userChangePassword(ann, World.bytes("annpw")));
      World.equal(World.get(auth.userGet(ann)).getRoles(), List.of("maker"));
      World.check(World.get(auth.userList()).getUsers().contains("ann"), "ann");
      World.check(World.get(auth.roleList()).getRoles().contains("maker"), "maker");
      if (World.PASSWORDS) {
        newUser(auth, ann, maker);
      }
      World.get(auth.roleRevokePermission(maker, begin, end));
      World.get(auth.userRevokeRole(ann, maker));
      World.get(auth.userDelete(ann));
      World.get(auth.roleDelete(maker));
      World.refused(auth.userGet(ann), "user name not found");
    }
  }

  private static void newUser(Auth auth, ByteSequence ann, ByteSequence maker) throws Exception {
    try (Client client = World.client("ann")) {
      KV kv = client.getKVClient();
      Keys.put(kv, "made/a", "1");
      World.refused(kv.put(World.bytes("other"), ann), DENIED);
      World.get(auth.userRevokeRole(ann, maker));
      World.refused(kv.get(World.bytes("made/a")), DENIED);
      World.get(auth.userGrantRole(ann, maker));
      World.equal(Keys.get(kv, "made/a"), "1");
    }
  }

  static void denied() throws Exception {
    try (Client app = World.client("app"); Client guest = World.client("guest")) {
      KV kv = guest.getKVClient();
      ByteSequence own = World.bytes("guest/a");
      ByteSequence other = World.bytes("other");
      Keys.put(app.getKVClient(), "guest/a", "1");
      Keys.put(app.getKVClient(), "other", "1");
      World.equal(Keys.get(kv, "guest/a"), "1");
      World.refused(kv.get(other), DENIED);
      World.refused(kv.get(other, GetOption.builder().isPrefix(true).build()), DENIED);
      World.refused(kv.put(own, other), DENIED);
      World.refused(kv.delete(own), DENIED);
      World.refused(kv.txn()
          .If(new Cmp(other, Cmp.Op.EQUAL, CmpTarget.value(other)))
          .Then(Op.get(own, GetOption.DEFAULT)).commit(), DENIED);
      World.refused(kv.compact(1), DENIED);
      World.refused(guest.getAuthClient().userList(), DENIED);
      World.refused(guest.getMaintenanceClient()
          .defragmentMember(World.url(World.ENDPOINTS.get(0))), DENIED);
      CompletableFuture<Object> watched = new CompletableFuture<>();
      guest.getWatchClient().watch(other, WatchOption.DEFAULT, response -> {},
          watched::completeExceptionally);
      World.refused(watched, DENIED);
      World.equal(Keys.get(app.getKVClient(), "guest/a"), "1");
    }
    if (World.PASSWORDS) {
      try (Client wrong = World.builder("guest", World.ENDPOINTS)
          .password(World.bytes("wrong")).build()) {
        World.refused(wrong.getKVClient().get(World.bytes("guest/a")), "UNAUTHENTICATED");
      }
    }
  }

  /** The client signs in again by itself; its watch lives on. */
  static void token() throws Exception {
    try (Client app = World.client("app");
        Seen seen = new Seen(app, "token/a", WatchOption.builder())) {
      Keys.put(app.getKVClient(), "token/a", "1");
      World.equal(seen.take(1), List.of("put token/a 1"));
      World.please("expire app");
      Keys.put(app.getKVClient(), "token/a", "2");
      World.equal(seen.take(1), List.of("put token/a 2"));
    }
  }
}
