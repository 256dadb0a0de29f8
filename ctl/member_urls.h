// The URLs of members, checked as etcd's client checks them before it asks the server.
#pragma once

#include <google/protobuf/repeated_field.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace quorate::ctl {

// Adds each of the URLs between commas as it is. kInvalidArgument in etcd's words.
absl::Status AddPeerUrls(std::string_view text,
                         google::protobuf::RepeatedPtrField<std::string>* urls);

}  // namespace quorate::ctl
