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
#include "ctl/command.h"
#include "ctl/sync_client.h"
#include "proto/etcdserverpb.pb.h"

namespace quorate::ctl {

inline constexpr int kExitOk = 0;
inline constexpr int kExitError = 1;
inline constexpr int kExitConnection =
    2;  // could not sign in; also what a streaming call failed with
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

  // Reads the files of --cacert, --cert and --key. Before anything else.
  absl::Status LoadTls();
  // Connects to --endpoints and signs in at the first use. Null after an error, which is already
  // told on standard error; the command then ends with failure().
  SyncClient* Client();
  // A client of one endpoint alone, which signs in when it is asked to.
  absl::StatusOr<std::unique_ptr<SyncClient>> ClientOf(const std::string& endpoint);
  // --endpoints, or with --cluster the client URLs of all members. Empty after an error, which is
  // already told.
  std::vector<std::string> Endpoints();
  // What all clients of this command have in common.
  ClientOptions OptionsFor(std::vector<std::string> endpoints) const;

  // Who calls: from --user and so on. The first use may ask for a password; what catches signals
  // calls this before it does so.
  const Credentials& credentials();

  // A unary call. False after an error, which is already told; the command then ends with
  // failure().
  bool Call(std::string_view path, const google::protobuf::Message& request,
            google::protobuf::Message* response);
  int failure() const { return failure_; }

 private:
  OptionValues values_;
  std::vector<std::string> words_;
  Format format_;
  bool has_credentials_ = false;
  Credentials credentials_;
  std::shared_ptr<transport::TlsContext> tls_;  // null: plain text unless an endpoint is https
  std::unique_ptr<SyncClient> client_;
  int failure_ = kExitError;
};

// "Error: text" on standard error; answers `code`.
int Fail(int code, std::string_view text);
// The exit code says what kind of refusal it is: kInvalidArgument is kExitBadArguments,
// kUnimplemented kExitBadFeature, kFailedPrecondition kExitInvalidInput, all else kExitError.
int Fail(const absl::Status& status);
int Fail(const transport::RpcStatus& status);

// What etcdctl says of a call that failed: the server's words where they are etcd's, else those
// with the gRPC code before them.
std::string ErrorText(const transport::RpcStatus& status);

// "name[:password]" and --password, as --user and --dest-user take them. Asks for the password with
// `prompt` where there is none.
Credentials CredentialsOf(const std::string& user, const std::string& password,
                          const std::string& prompt);

// TLS as --cacert, --cert, --key and --insecure-* ask for it, with `prefix` before their names;
// null where nothing does.
absl::StatusOr<std::shared_ptr<transport::TlsContext>> TlsOf(const OptionValues& values,
                                                             const std::string& prefix);

// Where a prefix ends: the smallest key above all that begin with it; one zero byte when there is
// none.
std::string PrefixEnd(std::string_view prefix);

}  // namespace quorate::ctl
