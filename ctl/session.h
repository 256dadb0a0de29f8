// What a command of quoratectl works with: its options and words, the client, and how it fails.
// Exit codes are etcdctl's.
#pragma once

#include <google/protobuf/message.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/options.h"
#include "ctl/sync_client.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;
inline constexpr int kExitConnection = 2;  // also what a streaming call failed with
inline constexpr int kExitInvalidInput = 3;
inline constexpr int kExitBadFeature = 4;  // a value of -w, --order and so on that does not exist
inline constexpr int kExitInterrupted = 5;
inline constexpr int kExitBadArguments = 128;

enum class Format { kSimple, kJson, kFields, kProtobuf, kTable };

class Session {
 public:
  Session(OptionValues values, std::vector<std::string> words, Format format)
      : values_(std::move(values)), words_(std::move(words)), format_(format) {}

  const OptionValues& values() const { return values_; }
  const std::vector<std::string>& words() const { return words_; }
  Format format() const { return format_; }
  bool hex() const { return values_.GetBool("hex"); }

  // Connects to --endpoints at the first use.
  absl::StatusOr<SyncClient*> client();
  // A client of one endpoint alone.
  absl::StatusOr<std::unique_ptr<SyncClient>> ClientOf(const std::string& endpoint) const;
  // --endpoints, or with --cluster the client URLs of all members. Empty after an error, which is
  // already told.
  std::vector<std::string> Endpoints();

  // A unary call. False after an error, which is already told on standard error.
  bool Call(std::string_view path, const google::protobuf::Message& request,
            google::protobuf::Message* response);

 private:
  OptionValues values_;
  std::vector<std::string> words_;
  Format format_;
  std::unique_ptr<SyncClient> client_;
};

// "Error: text" on standard error; answers `code`.
int Fail(int code, std::string_view text);

// Lease and member ids are written in hexadecimal. False when `text` is none.
bool ParseHexId(std::string_view text, int64_t* id);

// Where a prefix ends: the smallest key above all that begin with it; one zero byte when there is
// none.
std::string PrefixEnd(std::string_view prefix);

// A command: its words ("lease grant"), what follows them, a line of help, its own flags.
struct Command {
  std::string name;
  std::string arguments;
  std::string help;
  std::vector<OptionSpec> flags;
  int (*run)(Session* session);
};

std::vector<Command> KvCommands();
std::vector<Command> TxnCommands();
std::vector<Command> WatchCommands();
std::vector<Command> LeaseCommands();
std::vector<Command> ClusterCommands();

}  // namespace quorate::ctl
