// txn: reads a transaction from standard input and runs it.
#include <unistd.h>

#include <iostream>

#include "base/text.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/txn_language.h"

namespace quorate::ctl {
namespace {

// The lines up to the next blank one.
std::vector<std::string> ReadBlock() {
  std::vector<std::string> lines;
  for (std::string line; std::getline(std::cin, line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) break;
    lines.push_back(line);
  }
  return lines;
}

void Ask(bool interactive, std::string_view what) {
  if (!interactive) return;
  Out(StrCat(what, "\n"));
  std::fflush(stdout);
}

absl::Status ReadTxn(bool interactive, etcdserverpb::TxnRequest* txn) {
  Ask(interactive, "compares:");
  for (const std::string& line : ReadBlock()) {
    auto compare = ParseCompare(line);
    if (!compare.ok()) return compare.status();
    *txn->add_compare() = *std::move(compare);
  }
  const auto read_operations = [](auto* operations) {
    for (const std::string& line : ReadBlock()) {
      auto op = ParseOperation(line);
      if (!op.ok()) return op.status();
      *operations->Add() = *std::move(op);
    }
    return absl::OkStatus();
  };
  Ask(interactive, "success requests (get, put, del):");
  if (auto status = read_operations(txn->mutable_success()); !status.ok()) return status;
  Ask(interactive, "failure requests (get, put, del):");
  return read_operations(txn->mutable_failure());
}

std::string OperationText(const Session& session, const etcdserverpb::ResponseOp& op) {
  std::string out = "\n";
  if (op.has_response_range()) {
    for (const auto& pair : op.response_range().kvs()) out += PairText(session, pair);
  } else if (op.has_response_put()) {
    out += "OK\n";
    if (op.response_put().has_prev_kv()) out += PairText(session, op.response_put().prev_kv());
  } else {
    StrAppend(&out, op.response_delete_range().deleted(), "\n");
    for (const auto& pair : op.response_delete_range().prev_kvs()) out += PairText(session, pair);
  }
  return out;
}

std::string OperationFields(const Session& session, const etcdserverpb::ResponseOp& op) {
  if (op.has_response_range()) return RangeFields(session, op.response_range());
  if (op.has_response_put()) return PutFields(session, op.response_put());
  return DeleteFields(session, op.response_delete_range());
}

int Txn(Session* session) {
  if (!session->words().empty()) {
    return Fail(kExitBadArguments, "txn command does not accept argument");
  }
  etcdserverpb::TxnRequest request;
  const bool interactive = session->values().GetBool("interactive");
  if (auto status = ReadTxn(interactive, &request); !status.ok()) {
    return Fail(status);
  }
  etcdserverpb::TxnResponse response;
  if (!session->Call("/etcdserverpb.KV/Txn", request, &response)) return session->failure();
  return PrintMessage(
      *session, response,
      [&] {
        std::string out = response.succeeded() ? "SUCCESS\n" : "FAILURE\n";
        for (const auto& op : response.responses()) out += OperationText(*session, op);
        return out;
      },
      [&] {
        std::string out = HeaderFields(*session, response.header());
        StrAppend(&out, "\"Succeeded\" : ", response.succeeded() ? "true" : "false", "\n");
        for (const auto& op : response.responses()) out += OperationFields(*session, op);
        return out;
      });
}

}  // namespace

std::vector<Command> TxnCommands() {
  return {
      {"txn",
       "[options]   (the transaction on standard input)",
       "Reads comparisons and operations, each block ended by a blank line, and runs them as one",
       {{"interactive", OptionSpec::Type::kBool, "false", "Asks for each block. Short: -i", ""}},
       Txn,
       "  mod(\"key1\") > \"0\"\n"
       "\n"
       "  put key1 \"was there\"\n"
       "\n"
       "  put key1 \"is new\"\n"
       "  get key2 --prefix\n"
       "\n"
       "Comparisons: value, version, create, mod or lease of a key, with = != < >. Operations: "
       "get,\n"
       "put and del with their flags. The end of the input ends all blocks."}};
}

}  // namespace quorate::ctl
