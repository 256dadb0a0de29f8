import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.ClientBuilder;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;

/** What the environment says of the cluster (tests/clients/suites/world.py), and clients of it. */
final class World {
  static final String MODE = System.getenv("QUORATE_MODE");
  static final List<String> ENDPOINTS = Arrays.asList(System.getenv("QUORATE_ENDPOINTS").split(","));
  static final boolean PASSWORDS = MODE.equals("auth");
  private static final boolean SECURE = !MODE.equals("plain");
  private static final BufferedReader ANSWERS =
      new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));

  private World() {}

  static ByteSequence bytes(String text) {
    return ByteSequence.from(text, StandardCharsets.UTF_8);
  }

  /** As this client names an end point. */
  static String url(String endpoint) {
    return (SECURE ? "https://" : "http://") + endpoint;
  }

  static Client client(String user) throws Exception {
    return builder(user, ENDPOINTS).build();
  }

  static ClientBuilder builder(String user, List<String> endpoints) throws Exception {
    ClientBuilder builder =
        Client.builder().endpoints(endpoints.stream().map(World::url).toArray(String[]::new));
    if (SECURE) {
      File folder = new File(System.getenv("QUORATE_CERTS"));
      builder.sslContext(
          context -> {
            context.trustManager(new File(folder, "ca.pem"));
            if (!PASSWORDS) {
              context.keyManager(new File(folder, user + ".pem"), new File(folder, user + ".key"));
            }
          });
    }
    if (PASSWORDS) {
      builder.user(bytes(user)).password(bytes(user + "pw"));
    }
    return builder;
  }

  static <T> T get(CompletableFuture<T> future) throws Exception {
    return future.get(60, TimeUnit.SECONDS);
  }

  interface Call<T> {
    CompletableFuture<T> make();
  }

  /** Tries until the cluster has a leader again; a call that hangs counts as one that failed. */
  static <T> T inTheEnd(Call<T> call) throws Exception {
    for (; ; ) {
      try {
        return call.make().get(5, TimeUnit.SECONDS);
      } catch (ExecutionException | java.util.concurrent.TimeoutException error) {
        String words = String.valueOf(error);
        if (words.contains("PERMISSION_DENIED") || words.contains("NOT_FOUND")) {
          throw error;
        }
        Thread.sleep(50);
      }
    }
  }

  static void refused(CompletableFuture<?> future, String words) throws Exception {
    try {
      get(future);
    } catch (ExecutionException error) {
      check(String.valueOf(error).contains(words), error + " does not say " + words);
      return;
    }
    throw new AssertionError("done, though it should be refused: " + words);
  }

  static void check(boolean condition, String what) {
    if (!condition) {
      throw new AssertionError(what);
    }
  }

  static void equal(Object got, Object wanted) {
    check(wanted.equals(got), "got " + got + ", want " + wanted);
  }

  /** Asks whoever started this program, and returns when it is done. */
  static void please(String what) throws Exception {
    System.out.println("please: " + what);
    System.out.flush();
    equal(ANSWERS.readLine(), "done");
  }
}
