// make-mirror.
#include <cstdio>
#include <thread>

#include "base/text.h"
#include "ctl/mirror.h"
#include "ctl/printers.h"
#include "ctl/session.h"

namespace quorate::ctl {
namespace {

using Type = OptionSpec::Type;

constexpr int64_t kReportIntervalNs = 30 * kNanosPerSecond;

// Prints how many keys were copied, every half minute, while it lives.
class ProgressReport {
 public:
  explicit ProgressReport(const Mirror* mirror)
      : thread_([this, mirror] {
          while (Pause(kReportIntervalNs, &stop_)) {
            Out(StrCat(mirror->copied(), "\n"));
            std::fflush(stdout);
          }
        }) {}
  ~ProgressReport() {
    stop_.Raise(Interruption::Cause::kStopped);
    thread_.join();
  }

 private:
  Interruption stop_;
  std::thread thread_;
};

MirrorOptions OptionsOf(const OptionValues& v) {
  MirrorOptions options;
  options.prefix = v.GetString("prefix");
  options.destination_prefix = v.GetString("dest-prefix");
  // Where nothing is said, the keys keep their names.
  if (options.destination_prefix.empty() && !v.GetBool("no-dest-prefix")) {
    options.destination_prefix = options.prefix;
  }
  options.first_revision = v.GetInt("rev");
  options.txn_operations_max = static_cast<size_t>(v.GetInt("max-txn-ops"));
  return options;
}

int MakeMirror(Session* session) {
  const OptionValues& v = session->values();
  if (session->words().size() != 1) {
    return Fail(kExitBadArguments, "make-mirror takes one destination argument");
  }
  if (v.GetBool("no-dest-prefix") && !v.GetString("dest-prefix").empty()) {
    return Fail(
        kExitBadArguments,
        "`--dest-prefix` and `--no-dest-prefix` cannot be set at the same time, choose one");
  }
  ClientOptions options = session->OptionsFor({session->words()[0]});
  auto tls = TlsOf(v, "dest-");
  if (!tls.ok()) return Fail(tls.status());
  options.tls = *std::move(tls);
  options.credentials = CredentialsOf(v.GetString("dest-user"), v.GetString("dest-password"),
                                      "Destination Password: ");
  session->credentials();
  Interruption interruption;
  const SignalWatch signals(&interruption);
  auto destination = SyncClient::Create(options);
  if (!destination.ok()) return Fail(kExitConnection, ToStd(destination.status().message()));
  if (auto status = (*destination)->SignIn(); !status.ok()) {
    return Fail(kExitConnection, StrCat("destination: ", ErrorText(status)));
  }
  SyncClient* source = session->Client();
  if (source == nullptr) return session->failure();
  Mirror mirror(source, destination->get(), OptionsOf(v));
  transport::RpcStatus status;
  {
    const ProgressReport report(&mirror);
    status = mirror.Run(&interruption);
  }
  if (mirror.next_revision() > 0) {
    std::fprintf(stderr, "copied %lld; go on with --rev=%lld\n",
                 static_cast<long long>(mirror.copied()),
                 static_cast<long long>(mirror.next_revision()));
  }
  return interruption.raised() ? kExitInterrupted : Fail(status);
}

}  // namespace

std::vector<Command> MirrorCommands() {
  return {
      {"make-mirror",
       "[options] <destination>",
       "Copies keys to another cluster, and then each change",
       {{"prefix", Type::kString, "", "Copies the keys that begin with this.", ""},
        {"dest-prefix", Type::kString, "", "Stands in the prefix's place there.", ""},
        {"no-dest-prefix", Type::kBool, "false", "Takes the prefix away there.", ""},
        {"rev", Type::kInt, "0", "Copies only the changes from this revision on.", ""},
        {"max-txn-ops", Type::kUint, "128", "Most operations in a transaction.", "", {}, 1},
        {"dest-user", Type::kString, "", "name[:password] at the destination.", ""},
        {"dest-password", Type::kString, "", "The password, apart from --dest-user.", ""},
        {"dest-insecure-transport", Type::kBool, "true", "false: TLS to the destination.", ""},
        {"dest-cacert", Type::kString, "", "Roots of the destination's certificate.", ""},
        {"dest-cert", Type::kString, "", "Certificate to show the destination.", ""},
        {"dest-key", Type::kString, "", "Its private key.", ""}},
       MakeMirror,
       "  quoratectl make-mirror --prefix /app/ backup-host:2379\n"
       "  quoratectl make-mirror --prefix /app/ --dest-prefix /copy/ backup-host:2379\n"
       "Prints every half minute how many keys it copied. When it ends it says from which\n"
       "revision on to go on: with --rev a mirror that was interrupted misses nothing, as long\n"
       "as that revision is not compacted. Leases are not copied: keys stay at the\n"
       "destination until they are deleted at the source."}};
}

}  // namespace quorate::ctl
