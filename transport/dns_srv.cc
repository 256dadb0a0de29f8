#include "transport/dns_srv.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>

#include <algorithm>
#include <memory>

#include "base/status_util.h"
#include "base/text.h"

namespace quorate::transport {
namespace {

constexpr size_t kAnswerBytesMax = 64 * 1024;  // a DNS message's own limit

// Rdata of a record: priority, weight, port, then the host's name (RFC 2782).
absl::Status AppendRecord(const ns_msg& message, const ns_rr& record, std::vector<SrvRecord>* out) {
  constexpr size_t kFixedBytes = 6;
  const unsigned char* const data = ns_rr_rdata(record);
  char host[NS_MAXDNAME];
  if (ns_rr_rdlen(record) < kFixedBytes ||
      ns_name_uncompress(ns_msg_base(message), ns_msg_end(message), data + kFixedBytes, host,
                         sizeof(host)) < 0) {
    return absl::UnavailableError("a malformed SRV record");
  }
  SrvRecord srv;
  srv.priority = static_cast<uint16_t>(ns_get16(data));
  srv.weight = static_cast<uint16_t>(ns_get16(data + 2));
  srv.port = static_cast<uint16_t>(ns_get16(data + 4));
  srv.host = host;
  if (srv.host.ends_with('.')) srv.host.pop_back();
  out->push_back(std::move(srv));
  return absl::OkStatus();
}

std::string UrlOf(const SrvRecord& record, std::string_view scheme) {
  const bool v6 = record.host.find(':') != std::string::npos;
  return StrCat(scheme, "://", v6 ? "[" : "", record.host, v6 ? "]" : "", ":", record.port);
}

}  // namespace

absl::StatusOr<std::vector<SrvRecord>> LookUpSrv(std::string_view service,
                                                 std::string_view domain) {
  const std::string name = StrCat("_", service, "._tcp.", domain);
  struct __res_state state {};
  if (res_ninit(&state) != 0) return absl::UnavailableError("the resolver could not be set up");
  const std::unique_ptr<struct __res_state, void (*)(res_state)> closer(&state, res_nclose);
  std::vector<unsigned char> answer(kAnswerBytesMax);
  const int size = res_nsearch(&state, name.c_str(), ns_c_in, ns_t_srv, answer.data(),
                               static_cast<int>(answer.size()));
  if (size < 0) {
    const std::string text = StrCat("lookup ", name, ": ", hstrerror(state.res_h_errno));
    const bool absent = state.res_h_errno == HOST_NOT_FOUND || state.res_h_errno == NO_DATA;
    return absent ? absl::NotFoundError(text) : absl::UnavailableError(text);
  }
  ns_msg message;
  if (ns_initparse(answer.data(), size, &message) != 0) {
    return absl::UnavailableError(StrCat("lookup ", name, ": a malformed answer"));
  }
  std::vector<SrvRecord> records;
  for (int i = 0; i < ns_msg_count(message, ns_s_an); ++i) {
    ns_rr record;
    if (ns_parserr(&message, ns_s_an, i, &record) != 0 || ns_rr_type(record) != ns_t_srv) continue;
    QR_RETURN_IF_ERROR(AppendRecord(message, record, &records));
  }
  if (records.empty()) return absl::NotFoundError(StrCat("lookup ", name, ": no SRV record"));
  std::stable_sort(records.begin(), records.end(), [](const SrvRecord& a, const SrvRecord& b) {
    return a.priority != b.priority ? a.priority < b.priority : a.weight > b.weight;
  });
  return records;
}

std::string SrvServiceName(std::string_view service, std::string_view name, bool https) {
  return StrCat(service, https ? "-ssl" : "", name.empty() ? "" : "-", name);
}

absl::StatusOr<std::vector<std::string>> LookUpClientUrls(std::string_view domain,
                                                          std::string_view service_name) {
  std::vector<std::string> urls;
  std::string errors;
  for (const bool https : {true, false}) {
    const auto records = LookUpSrv(SrvServiceName("etcd-client", service_name, https), domain);
    if (!records.ok()) {
      StrAppend(&errors, errors.empty() ? "" : " and ", ToStd(records.status().message()));
      continue;
    }
    for (const SrvRecord& record : *records)
      urls.push_back(UrlOf(record, https ? "https" : "http"));
  }
  if (urls.empty()) return absl::NotFoundError(StrCat("dns lookup errors: ", errors));
  return urls;
}

}  // namespace quorate::transport
