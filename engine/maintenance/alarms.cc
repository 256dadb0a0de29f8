#include "engine/maintenance/alarms.h"

namespace quorate::engine {

using etcdserverpb::AlarmMember;
using etcdserverpb::AlarmRequest;

namespace {

constexpr ErrorRow kUnknownAction{
    3, "etcdserver: unknown alarm action; known: GET, ACTIVATE, DEACTIVATE"};

}  // namespace

Error Alarms::Apply(const AlarmRequest& request, etcdserverpb::AlarmResponse* response) {
  AlarmMember alarm;
  alarm.set_memberid(request.memberid());
  alarm.set_alarm(request.alarm());
  const Key key(request.alarm(), request.memberid());
  switch (request.action()) {
    case AlarmRequest::GET:
      for (const auto& [place, active] : active_) {
        if (request.alarm() == etcdserverpb::NONE || request.alarm() == active.alarm()) {
          *response->add_alarms() = active;
        }
      }
      return {};
    case AlarmRequest::ACTIVATE:
      if (request.alarm() == etcdserverpb::NONE) return {};
      if (active_.emplace(key, alarm).second) {
        window_->Put(kv::Table::kAlarm, alarm.SerializeAsString(), {});
      }
      *response->add_alarms() = alarm;
      return {};
    case AlarmRequest::DEACTIVATE:
      if (active_.erase(key) == 0) return {};
      window_->Delete(kv::Table::kAlarm, alarm.SerializeAsString());
      *response->add_alarms() = alarm;
      return {};
    default:
      return kUnknownAction;
  }
}

bool Alarms::Has(etcdserverpb::AlarmType type) const {
  const auto first = active_.lower_bound({type, 0});
  return first != active_.end() && first->first.first == type;
}

std::vector<AlarmMember> Alarms::List() const {
  std::vector<AlarmMember> out;
  for (const auto& [key, alarm] : active_) out.push_back(alarm);
  return out;
}

absl::Status Alarms::Restore(const kv::KvSnapshot& snapshot) {
  absl::Status damage;
  absl::Status status =
      snapshot.Scan(kv::Table::kAlarm, {}, {}, [&](std::string_view key, std::string_view) {
        AlarmMember alarm;
        if (!alarm.ParseFromArray(key.data(), static_cast<int>(key.size()))) {
          damage = absl::DataLossError(
              "table alarm: an alarm cannot be read; restore the data directory from a backup");
          return false;
        }
        active_.emplace(Key(alarm.alarm(), alarm.memberid()), alarm);
        return true;
      });
  return status.ok() ? damage : status;
}

}  // namespace quorate::engine
