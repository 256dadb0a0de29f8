import java.util.Map;

/** jetcd against a cluster: tests/clients/suites/parts.py says what, world.py how it reports. */
final class Main {
  interface Part {
    void run() throws Exception;
  }

  private static final Map<String, Part> SUITE =
      Map.ofEntries(
          Map.entry("kv", Keys::kv),
          Map.entry("txn", Keys::txn),
          Map.entry("compaction", Keys::compaction),
          Map.entry("namespace", Keys::namespace),
          Map.entry("lease", Watches::lease),
          Map.entry("watch", Watches::watch),
          Map.entry("lock", Rivals::lock),
          Map.entry("election", Rivals::election),
          Map.entry("users", Users::users),
          Map.entry("denied", Users::denied),
          Map.entry("token", Users::token),
          Map.entry("maintenance", Members::maintenance),
          Map.entry("members", Members::members),
          Map.entry("failover", Members::failover));

  public static void main(String[] unused) {
    for (String part : System.getenv("QUORATE_PARTS").split(",")) {
      try {
        SUITE.get(part).run();
      } catch (Throwable error) {
        System.err.println(World.MODE + ": " + part + ":");
        error.printStackTrace();
        System.exit(1);
      }
      System.out.println("as expected: " + part);
      System.out.flush();
    }
    System.exit(0); // the client's threads live on
  }
}
