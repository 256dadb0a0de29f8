// Two sources of the same rows: the tables of tests/wire/*.tsv (facts about etcd 3.7.1) and the
// descriptors compiled from proto/. A row is one line of text with the columns that the wire or a
// JSON client can see; file names and the etcd version that brought a field are left out.
#pragma once

#include <set>
#include <string>
#include <vector>

namespace quorate::wire {

using Rows = std::set<std::string>;

// From a table. Aborts the test program with the file's name when it cannot be read.
Rows TableMessages(const std::string& directory);
Rows TableEnums(const std::string& directory);
Rows TableServices(const std::string& directory);

// From the descriptors of every package that the tables name.
Rows CompiledMessages();
Rows CompiledEnums();
// Also the services of grpc.health.v1.
Rows CompiledServices();

// Rows of `left` that `right` lacks, one a line.
std::string Missing(const Rows& left, const Rows& right);

}  // namespace quorate::wire
