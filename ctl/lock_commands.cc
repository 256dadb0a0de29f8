// lock, elect: made of keys and leases by the client alone, as etcdctl does; they work with any
// server, and beside etcdctl's.
#include <cstdio>

#include "base/text.h"
#include "ctl/child_process.h"
#include "ctl/election.h"
#include "ctl/interruption.h"
#include "ctl/lease_session.h"
#include "ctl/printers.h"
#include "ctl/session.h"
#include "ctl/watcher.h"

namespace quorate::ctl {
namespace {

using Cause = Interruption::Cause;
using Type = OptionSpec::Type;

constexpr int64_t kLockTtlSeconds = 10;
constexpr int64_t kElectionTtlSeconds = 60;

// Waits for a signal or the loss of the session.
void WaitForInterruption(Interruption* interruption) {
  while (Pause(INT64_MAX / 2, interruption)) {
  }
}

// The end of whom nothing holds: the key is deleted, and the lease with it.
int LeaveAfter(Candidate* candidate, LeaseSession* lease, const transport::RpcStatus& failed) {
  candidate->Leave();
  lease->Revoke();
  return Fail(kExitError,
              failed.code == transport::RpcCode::kAborted ? failed.message : ErrorText(failed));
}

// Prints the candidate's key. Not kExitOk: told.
int PrintKey(Session* session, Candidate* candidate, const char* lost) {
  etcdserverpb::RangeResponse own;
  if (auto status = candidate->ReadKey(&own); !status.ok()) return Fail(status);
  if (own.kvs().empty()) return Fail(kExitError, lost);
  const int code = PrintRange(*session, own);
  std::fflush(stdout);
  return code;
}

// --- lock

int RunUnderLock(Candidate* lock, LeaseSession* lease, const std::vector<std::string>& words) {
  const ChildEnd end =
      RunChild({words.begin() + 1, words.end()},
               {{"ETCD_LOCK_KEY", lock->key()}, {"ETCD_LOCK_REV", StrCat(lock->revision())}});
  const auto unlocked = lock->Leave();
  lease->Revoke();
  if (!end.error.empty()) return Fail(end.exit_code, end.error);
  return unlocked.ok() ? kExitOk : Fail(unlocked);
}

int Lock(Session* session) {
  const auto& words = session->words();
  if (words.empty()) {
    return Fail(kExitBadArguments,
                "lock takes a lock name argument and an optional command to execute");
  }
  session->credentials();
  Interruption interruption;
  const SignalWatch signals(&interruption);
  SyncClient* client = session->Client();
  if (client == nullptr) return session->failure();
  int64_t ttl_s = session->values().GetInt("ttl");
  if (ttl_s <= 0) ttl_s = kElectionTtlSeconds;  // as etcd's sessions have it
  std::unique_ptr<LeaseSession> lease;
  if (auto status = LeaseSession::Start(client, ttl_s, &interruption, &lease); !status.ok()) {
    return Fail(status);
  }
  Candidate lock(client, words[0], lease->id());
  if (auto status = lock.Enter(""); !status.ok()) return Fail(status);
  if (auto status = lock.WaitUntilFirst(&interruption); !status.ok()) {
    return LeaveAfter(&lock, lease.get(), status);
  }
  if (words.size() > 1) return RunUnderLock(&lock, lease.get(), words);
  if (const int code = PrintKey(session, &lock, "lock lost on init"); code != kExitOk) {
    lock.Leave();
    lease->Revoke();
    return code;
  }
  WaitForInterruption(&interruption);
  if (interruption.cause() == Cause::kSessionLost) return Fail(kExitError, "session expired");
  const auto unlocked = lock.Leave();
  lease->Revoke();
  return unlocked.ok() ? kExitOk : Fail(unlocked);
}

// --- elect

// Prints who leads until the key is deleted. False: interrupted, or the watch was lost.
bool FollowLeader(Session* session, const mvccpb::KeyValue& leader, int64_t revision,
                  Interruption* interruption) {
  etcdserverpb::WatchCreateRequest request;
  request.set_key(leader.key());
  request.set_start_revision(revision + 1);
  Watcher watcher(session->Client(), request);
  while (const auto response = watcher.Next(interruption)) {
    if (response->canceled()) return response->compact_revision() != 0;
    for (const auto& event : response->events()) {
      if (event.type() == mvccpb::Event::DELETE) return true;
      etcdserverpb::RangeResponse shown;
      *shown.mutable_header() = response->header();
      *shown.add_kvs() = event.kv();
      if (PrintRange(*session, shown) != kExitOk) return false;
      std::fflush(stdout);
    }
  }
  return false;
}

// The first key that is put below the prefix, in `leader`. False: interrupted, or the watch was
// lost.
bool WaitForLeader(SyncClient* client, const std::string& name, int64_t revision,
                   Interruption* interruption, etcdserverpb::RangeResponse* leader) {
  etcdserverpb::WatchCreateRequest request;
  request.set_key(ElectionPrefix(name));
  request.set_range_end(PrefixEnd(request.key()));
  request.set_start_revision(revision);
  Watcher watcher(client, request);
  while (const auto response = watcher.Next(interruption)) {
    for (const auto& event : response->events()) {
      if (event.type() != mvccpb::Event::PUT) continue;
      *leader->mutable_header() = response->header();
      leader->mutable_header()->set_revision(event.kv().mod_revision());
      *leader->add_kvs() = event.kv();
      return true;
    }
  }
  return false;
}

int Observe(Session* session, const std::string& name, Interruption* interruption) {
  SyncClient* client = session->Client();
  if (client == nullptr) return session->failure();
  while (!interruption->raised()) {
    etcdserverpb::RangeResponse leader;
    if (auto status = ReadLeader(client, name, &leader); !status.ok()) return Fail(status);
    leader.clear_count();
    leader.clear_more();
    if (leader.kvs().empty() &&
        !WaitForLeader(client, name, leader.header().revision() + 1, interruption, &leader)) {
      break;
    }
    if (const int code = PrintRange(*session, leader); code != kExitOk) return code;
    std::fflush(stdout);
    if (!FollowLeader(session, leader.kvs(0), leader.header().revision(), interruption)) break;
  }
  return interruption->raised() ? kExitOk : Fail(kExitError, "elect: observer lost");
}

int Campaign(Session* session, const std::string& name, const std::string& proposal,
             Interruption* interruption) {
  SyncClient* client = session->Client();
  if (client == nullptr) return session->failure();
  std::unique_ptr<LeaseSession> lease;
  const auto started = LeaseSession::Start(client, kElectionTtlSeconds, interruption, &lease);
  if (!started.ok()) return Fail(started);
  Candidate candidate(client, name, lease->id());
  if (auto status = candidate.Enter(proposal); !status.ok()) return Fail(status);
  if (auto status = candidate.WaitUntilFirst(interruption); !status.ok()) {
    return LeaveAfter(&candidate, lease.get(), status);
  }
  if (const int code = PrintKey(session, &candidate, "elect: session expired"); code != kExitOk) {
    candidate.Leave();
    lease->Revoke();
    return code;
  }
  WaitForInterruption(interruption);
  if (interruption->cause() == Cause::kSessionLost) {
    return Fail(kExitError, "elect: session expired");
  }
  const auto resigned = candidate.Leave();
  lease->Revoke();
  return resigned.ok() ? kExitOk : Fail(resigned);
}

int Elect(Session* session) {
  const auto& words = session->words();
  const bool listen = session->values().GetBool("listen");
  if (words.empty() || words.size() > 2) {
    return Fail(kExitBadArguments,
                "elect takes one election name argument and an optional proposal argument");
  }
  if (words.size() == 1 && !listen) {
    return Fail(kExitBadArguments, "no proposal argument but -l not set");
  }
  if (words.size() == 2 && listen) {
    return Fail(kExitBadArguments, "proposal given but -l is set");
  }
  session->credentials();
  Interruption interruption;
  const SignalWatch signals(&interruption);
  return listen ? Observe(session, words[0], &interruption)
                : Campaign(session, words[0], words[1], &interruption);
}

}  // namespace

std::vector<Command> LockCommands() {
  return {
      {"lock",
       "<lockname> [--] [program arg1 arg2 ...]",
       "Holds a lock; with a program, while the program runs",
       {{"ttl", Type::kInt, StrCat(kLockTtlSeconds),
         "Seconds after which a holder that died loses the lock.", ""}},
       Lock,
       "  quoratectl lock deploy                      holds it until Ctrl-C\n"
       "  quoratectl lock deploy -- ./deploy.sh -v    exits as the program does\n"
       "The program finds ETCD_LOCK_KEY and ETCD_LOCK_REV, the revision since which it holds.\n"
       "A lock is held as long as its lease is renewed; a program that must not run on without it\n"
       "compares the key's create revision in each transaction."},
      {"elect",
       "<election-name> [proposal]",
       "Stands for election, or with -l shows who leads",
       {{"listen", Type::kBool, "false", "Shows the leaders, and takes no part. Short: -l", ""}},
       Elect,
       "  quoratectl elect primary node1     prints its key once it leads; Ctrl-C resigns\n"
       "  quoratectl elect -l primary        prints each leader's key and proposal"},
  };
}

}  // namespace quorate::ctl
