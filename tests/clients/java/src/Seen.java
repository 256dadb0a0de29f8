import io.etcd.jetcd.Client;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/** A watch that is there when the constructor is left, and what it saw, as words. */
final class Seen implements AutoCloseable {
  /** The client has given the watch up. */
  static final class Ended extends Exception {
    private static final long serialVersionUID = 1L;

    Ended(String what) {
      super(what);
    }
  }

  private final LinkedBlockingQueue<Object> events = new LinkedBlockingQueue<>();
  private final Watch.Watcher watcher;

  Seen(Client client, String key, WatchOption.Builder options) throws Exception {
    CompletableFuture<Boolean> created = new CompletableFuture<>();
    watcher = client.getWatchClient().watch(
        World.bytes(key), options.withCreateNotify(true).build(),
        response -> {
          created.complete(true);
          response.getEvents().forEach(event -> events.add(words(event)));
        },
        error -> {
          created.completeExceptionally(error);
          events.add(error);
        });
    World.get(created);
  }

  private static String words(WatchEvent event) {
    String previous = event.getPrevKV() == null || event.getPrevKV().getModRevision() == 0
        ? "" : " was " + event.getPrevKV().getValue();
    String key = event.getKeyValue().getKey().toString();
    return event.getEventType() == WatchEvent.EventType.DELETE
        ? "delete " + key + previous
        : "put " + key + " " + event.getKeyValue().getValue() + previous;
  }

  List<String> take(int count) throws Exception {
    List<String> found = new ArrayList<>();
    while (found.size() < count) {
      Object event = events.poll(60, TimeUnit.SECONDS);
      if (event instanceof String) {
        found.add((String) event);
      } else if (event == null || watcher.isClosed()) { // else it goes on elsewhere by itself
        throw new Ended("after " + found + ": " + event);
      }
    }
    return found;
  }

  boolean isEmpty() {
    return events.isEmpty();
  }

  @Override
  public void close() {
    watcher.close();
  }
}
