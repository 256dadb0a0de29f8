#include "workloads/failover_writer.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "base/options.h"
#include "base/status_util.h"
#include "base/text.h"
#include "workloads/keys.h"
#include "workloads/recorder.h"
#include "workloads/wire.h"

namespace quorate::workload {

using transport::RpcCode;
using transport::RpcStatus;

namespace {

constexpr int64_t kLookEveryNs = 10 * kNanosPerMilli;
constexpr int64_t kRoundRestNs = 5 * kNanosPerMilli;  // when every endpoint has refused
constexpr size_t kValueBytes = 256;
constexpr size_t kTriesTextsMax = 50;  // further ones are counted as "other"
constexpr size_t kPausesShown = 5;

// Whether trying elsewhere may help: a member that ends, has no leader, or has lost the proposal.
// etcd answers Unknown for proposals that raft dropped. A put may be repeated: it is the same key
// and value.
bool IsWorthAnotherTry(RpcCode code) {
  return code == RpcCode::kUnavailable || code == RpcCode::kDeadlineExceeded ||
         code == RpcCode::kUnknown || code == RpcCode::kCanceled;
}

// To a tenth of a millisecond.
std::string Shown(int64_t ns) { return FormatGoDuration(ns - ns % (100 * kNanosPerMicro)); }

}  // namespace

absl::StatusOr<std::unique_ptr<FailoverWriter>> FailoverWriter::Create(
    FailoverWriterOptions options) {
  QR_CHECK(options.clock != nullptr && options.clients >= 1);
  if (options.endpoints.empty()) {
    return absl::InvalidArgumentError("no endpoint: give --endpoints host:port[,host:port...]");
  }
  if (!options.factory) {
    QR_ASSIGN_OR_RETURN(options.factory, RealChannels(options.endpoints, options.credentials));
  }
  return std::unique_ptr<FailoverWriter>(new FailoverWriter(std::move(options)));
}

FailoverWriter::FailoverWriter(FailoverWriterOptions options)
    : options_(std::move(options)),
      prefix_(StrCat("/failover/", options_.clock->WallNs(), "/")),
      loop_(options_.clock) {}

absl::StatusOr<FailoverWriterResult> FailoverWriter::Run() {
  loop_.Post([this] {
    for (size_t i = 0; i < options_.endpoints.size(); ++i) {
      channels_.push_back(options_.factory(&loop_, i));
    }
    start_ns_ = last_acknowledged_ns_ = options_.clock->MonotonicNs();
    result_.start_wall_ns = options_.clock->WallNs();
    clients_left_ = static_cast<size_t>(options_.clients);
    for (size_t i = 0; i < clients_left_; ++i) {
      auto client = std::make_unique<Client>();
      client->number = i;
      client->endpoint = i % channels_.size();
      clients_.push_back(std::move(client));
    }
    for (const auto& client : clients_) Begin(client.get());
    LookForEnd();
  });
  loop_.Run();
  QR_RETURN_IF_ERROR(status_);
  return std::move(result_);
}

void FailoverWriter::LookForEnd() {
  const int64_t now_ns = options_.clock->MonotonicNs();
  if (interrupted_ || (options_.duration_ns > 0 && now_ns - start_ns_ >= options_.duration_ns)) {
    ending_ = true;
    return;
  }
  loop_.RunAt(now_ns + kLookEveryNs, [this] { LookForEnd(); });
}

void FailoverWriter::Begin(Client* client) {
  if (ending_) return ClientIsDone();
  const std::string key = StrCat(prefix_, client->number, "/", client->writes++);
  char* value = nullptr;
  client->request = EncodePut({.key = key, .value_size = kValueBytes}, &value);
  std::memset(value, 'v', kValueBytes);
  client->began_ns = options_.clock->MonotonicNs();
  client->tries_in_round = 0;
  Try(client);
}

void FailoverWriter::Try(Client* client) {
  channels_[client->endpoint]->Call(
      kPutPath, client->request, options_.try_timeout_ns, {},
      [this, client](RpcStatus status, Bytes) { OnAnswer(client, status); });
}

void FailoverWriter::OnAnswer(Client* client, const RpcStatus& status) {
  const int64_t now_ns = options_.clock->MonotonicNs();
  if (!status.ok()) return OnFailedTry(client, status);
  ++result_.acknowledged;
  result_.latency.Add(now_ns - client->began_ns);
  NoteAcknowledgement(now_ns);
  EndWrite(client);
}

void FailoverWriter::OnFailedTry(Client* client, const RpcStatus& status) {
  std::string text = StrCat(CodeName(status.code), ": ", status.message);
  if (result_.tries.size() >= kTriesTextsMax && !result_.tries.contains(text)) text = "other";
  ++result_.tries[text];
  const int64_t now_ns = options_.clock->MonotonicNs();
  if (!IsWorthAnotherTry(status.code) || now_ns - client->began_ns >= options_.write_timeout_ns) {
    ++result_.failed;
    return EndWrite(client);
  }
  client->endpoint = (client->endpoint + 1) % channels_.size();
  if (++client->tries_in_round < channels_.size()) {
    // Not from within the answer: a channel may answer at once.
    return loop_.Post([this, client] { Try(client); });
  }
  client->tries_in_round = 0;
  loop_.RunAt(now_ns + kRoundRestNs, [this, client] { Try(client); });
}

void FailoverWriter::EndWrite(Client* client) {
  loop_.RunAt(options_.clock->MonotonicNs() + options_.every_ns, [this, client] { Begin(client); });
}

void FailoverWriter::NoteAcknowledgement(int64_t now_ns) {
  NoteSilence(now_ns);
  last_acknowledged_ns_ = now_ns;
}

void FailoverWriter::NoteSilence(int64_t until_ns) {
  const int64_t length_ns = until_ns - last_acknowledged_ns_;
  if (length_ns < options_.pause_min_ns) return;
  result_.pauses.push_back(
      {.begin_wall_ns = result_.start_wall_ns + last_acknowledged_ns_ - start_ns_,
       .length_ns = length_ns});
}

void FailoverWriter::ClientIsDone() {
  if (--clients_left_ > 0) return;
  counting_since_ns_ = options_.clock->MonotonicNs();
  NoteSilence(counting_since_ns_);
  result_.end_wall_ns = result_.start_wall_ns + counting_since_ns_ - start_ns_;
  Count(0);
}

void FailoverWriter::Count(size_t endpoint) {
  const std::string end = PrefixEnd(prefix_);
  channels_[endpoint]->Call(
      kRangePath, EncodeRange({.key = prefix_, .end = end, .count_only = true}),
      options_.try_timeout_ns, {}, [this, endpoint](RpcStatus status, Bytes answer) {
        RangeView view;
        if (status.ok() && DecodeRange(answer.view(), &view)) {
          result_.lost = std::max<int64_t>(result_.acknowledged - view.count, 0);
        } else {
          const int64_t now_ns = options_.clock->MonotonicNs();
          if (now_ns - counting_since_ns_ < options_.write_timeout_ns) {
            loop_.RunAt(now_ns + kRoundRestNs,
                        [this, endpoint] { Count((endpoint + 1) % channels_.size()); });
            return;
          }
          status_ = absl::UnavailableError(
              ToAbsl(StrCat("counting the keys that were written: ", CodeName(status.code), ": ",
                            status.message)));
        }
        // Channels end on the loop's thread, and not from within an answer of theirs.
        loop_.Post([this] {
          channels_.clear();
          loop_.Stop();
        });
      });
}

std::string FailoverJson(const FailoverWriterResult& result) {
  nlohmann::ordered_json json;
  json["format"] = "quorate-failover/1";
  json["start_wall_ns"] = result.start_wall_ns;
  json["end_wall_ns"] = result.end_wall_ns;
  json["acknowledged"] = result.acknowledged;
  json["failed"] = result.failed;
  json["lost"] = result.lost;
  json["failed_tries"] = result.tries;
  if (result.latency.count() > 0) {
    json["latency"] = {{"p50_ns", result.latency.QuantileNs(0.5)},
                       {"p99_ns", result.latency.QuantileNs(0.99)},
                       {"max_ns", result.latency.max_ns()}};
  }
  auto& pauses = json["pauses"] = nlohmann::ordered_json::array();
  for (const WritePause& pause : result.pauses) {
    pauses.push_back({{"begin_wall_ns", pause.begin_wall_ns}, {"length_ns", pause.length_ns}});
  }
  return json.dump() + "\n";
}

std::string FailoverSummary(const FailoverWriterResult& result) {
  std::string out = StrCat(result.acknowledged, " writes acknowledged, ", result.failed,
                           " failed, ", result.lost, " lost\n");
  for (const auto& [text, count] : result.tries) {
    out += StrCat("  ", count, " tries failed: ", text, "\n");
  }
  std::vector<WritePause> longest = result.pauses;
  std::sort(longest.begin(), longest.end(),
            [](const WritePause& a, const WritePause& b) { return a.length_ns > b.length_ns; });
  if (longest.size() > kPausesShown) longest.resize(kPausesShown);
  out += longest.empty() ? "no pause to tell of\n" : "longest pauses:\n";
  for (const WritePause& pause : longest) {
    out += StrCat("  ", Shown(pause.length_ns), ", ",
                  Shown(pause.begin_wall_ns - result.start_wall_ns), " after the start\n");
  }
  return out;
}

}  // namespace quorate::workload
