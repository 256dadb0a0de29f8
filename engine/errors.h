// etcd's errors: gRPC code and exact text. Clients compare these strings, so they live in one
// table. Some errors leave a real etcd with code Unknown because of how it maps them; they keep
// that form here (kMemberNotEnoughStarted, kTooManyRequests, kNoPasswordUser, kVerifyOnly).
#pragma once

#include <string>
#include <string_view>

namespace quorate::engine {

// code 0 = no error. Codes are gRPC's (grpc/status.h).
struct Error {
  int code = 0;
  std::string message;
  bool ok() const { return code == 0; }
};

struct ErrorRow {
  int code;
  std::string_view message;
  operator Error() const { return Error{code, std::string(message)}; }  // NOLINT: reads as one
};

namespace errors {

inline constexpr ErrorRow kEmptyKey{3, "etcdserver: key is not provided"};
inline constexpr ErrorRow kKeyNotFound{3, "etcdserver: key not found"};
inline constexpr ErrorRow kValueProvided{3, "etcdserver: value is provided"};
inline constexpr ErrorRow kLeaseProvided{3, "etcdserver: lease is provided"};
inline constexpr ErrorRow kTooManyOps{3, "etcdserver: too many operations in txn request"};
inline constexpr ErrorRow kDuplicateKey{3, "etcdserver: duplicate key given in txn request"};
inline constexpr ErrorRow kInvalidClientAPIVersion{3, "etcdserver: invalid client api version"};
inline constexpr ErrorRow kInvalidSortOption{3, "etcdserver: invalid sort option"};
inline constexpr ErrorRow kCompacted{11, "etcdserver: mvcc: required revision has been compacted"};
inline constexpr ErrorRow kFutureRev{11,
                                     "etcdserver: mvcc: required revision is a future revision"};
inline constexpr ErrorRow kNoSpace{8, "etcdserver: mvcc: database space exceeded"};
inline constexpr ErrorRow kLeaseNotFound{5, "etcdserver: requested lease not found"};
inline constexpr ErrorRow kLeaseExist{9, "etcdserver: lease already exists"};
inline constexpr ErrorRow kLeaseTTLTooLarge{11, "etcdserver: too large lease TTL"};
inline constexpr ErrorRow kWatchCanceled{1, "etcdserver: watch canceled"};
inline constexpr ErrorRow kMemberExist{9, "etcdserver: member ID already exist"};
inline constexpr ErrorRow kPeerURLExist{9, "etcdserver: Peer URLs already exists"};
inline constexpr ErrorRow kMemberNotEnoughStarted{
    2, "etcdserver: re-configuration failed due to not enough started members"};
inline constexpr ErrorRow kMemberBadURLs{3, "etcdserver: given member URLs are invalid"};
inline constexpr ErrorRow kMemberNotFound{5, "etcdserver: member not found"};
inline constexpr ErrorRow kMemberNotLearner{9, "etcdserver: can only promote a learner member"};
inline constexpr ErrorRow kLearnerNotReady{
    9, "etcdserver: can only promote a learner member which is in sync with leader"};
inline constexpr ErrorRow kTooManyLearners{9, "etcdserver: too many learner members in cluster"};
inline constexpr ErrorRow kClusterIDMismatch{9, "etcdserver: cluster ID mismatch"};
inline constexpr ErrorRow kRequestTooLarge{3, "etcdserver: request is too large"};
inline constexpr ErrorRow kTooManyRequests{2, "etcdserver: too many requests"};
inline constexpr ErrorRow kRootUserNotExist{9, "etcdserver: root user does not exist"};
inline constexpr ErrorRow kRootRoleNotExist{9, "etcdserver: root user does not have root role"};
inline constexpr ErrorRow kUserAlreadyExist{9, "etcdserver: user name already exists"};
inline constexpr ErrorRow kUserEmpty{3, "etcdserver: user name is empty"};
inline constexpr ErrorRow kUserNotFound{9, "etcdserver: user name not found"};
inline constexpr ErrorRow kRoleAlreadyExist{9, "etcdserver: role name already exists"};
inline constexpr ErrorRow kRoleNotFound{9, "etcdserver: role name not found"};
inline constexpr ErrorRow kRoleEmpty{3, "etcdserver: role name is empty"};
inline constexpr ErrorRow kAuthFailed{
    3, "etcdserver: authentication failed, invalid user ID or password"};
inline constexpr ErrorRow kPermissionNotGiven{3, "etcdserver: permission not given"};
inline constexpr ErrorRow kPermissionDenied{7, "etcdserver: permission denied"};
inline constexpr ErrorRow kRoleNotGranted{9, "etcdserver: role is not granted to the user"};
inline constexpr ErrorRow kPermissionNotGranted{
    9, "etcdserver: permission is not granted to the role"};
inline constexpr ErrorRow kAuthNotEnabled{9, "etcdserver: authentication is not enabled"};
inline constexpr ErrorRow kInvalidAuthToken{16, "etcdserver: invalid auth token"};
inline constexpr ErrorRow kInvalidAuthMgmt{3, "etcdserver: invalid auth management"};
inline constexpr ErrorRow kAuthOldRevision{3, "etcdserver: revision of auth store is old"};
inline constexpr ErrorRow kNoPasswordUser{
    2, "auth: authentication failed, password was given for no password user"};
inline constexpr ErrorRow kVerifyOnly{2, "auth: token signing attempted with verify-only key"};
inline constexpr ErrorRow kNoLeader{14, "etcdserver: no leader"};
inline constexpr ErrorRow kNotLeader{9, "etcdserver: not leader"};
inline constexpr ErrorRow kLeaderChanged{14, "etcdserver: leader changed"};
inline constexpr ErrorRow kNotCapable{9, "etcdserver: not capable"};
inline constexpr ErrorRow kStopped{14, "etcdserver: server stopped"};
inline constexpr ErrorRow kTimeout{14, "etcdserver: request timed out"};
inline constexpr ErrorRow kTimeoutDueToLeaderFail{
    14, "etcdserver: request timed out, possibly due to previous leader failure"};
inline constexpr ErrorRow kTimeoutDueToConnectionLost{
    14, "etcdserver: request timed out, possibly due to connection lost"};
inline constexpr ErrorRow kTimeoutWaitAppliedIndex{
    14, "etcdserver: request timed out, waiting for the applied index took too long"};
inline constexpr ErrorRow kUnhealthy{14, "etcdserver: unhealthy cluster"};
inline constexpr ErrorRow kCorrupt{15, "etcdserver: corrupt cluster"};
inline constexpr ErrorRow kNotSupportedForLearner{9, "etcdserver: rpc not supported for learner"};
inline constexpr ErrorRow kBadLeaderTransferee{9, "etcdserver: bad leader transferee"};
inline constexpr ErrorRow kWrongDowngradeVersionFormat{
    3, "etcdserver: wrong downgrade target version format"};
inline constexpr ErrorRow kInvalidDowngradeTargetVersion{
    3, "etcdserver: invalid downgrade target version"};
inline constexpr ErrorRow kClusterVersionUnavailable{
    9, "etcdserver: cluster version not found during downgrade"};
inline constexpr ErrorRow kDowngradeInProcess{
    9, "etcdserver: cluster has a downgrade job in progress"};
inline constexpr ErrorRow kNoInflightDowngrade{9, "etcdserver: no inflight downgrade job"};
inline constexpr ErrorRow kCanceled{1, "etcdserver: request canceled"};
inline constexpr ErrorRow kDeadlineExceeded{4, "etcdserver: context deadline exceeded"};

// Without a Go name in etcd.
inline constexpr ErrorRow kUnknownMethod{2, "etcdserver: unknown method"};
inline constexpr ErrorRow kProposalDropped{2, "raft proposal dropped"};
inline constexpr ErrorRow kContextDeadlineExceeded{4, "context deadline exceeded"};
inline constexpr ErrorRow kContextCanceled{1, "context canceled"};
inline constexpr ErrorRow kRangeStreamSort{12, "RangeStream does not support custom sort orders"};
inline constexpr ErrorRow kRangeStreamFilter{12, "RangeStream does not support revision filters"};

// Watch cancel reasons; they travel in WatchResponse.cancel_reason, not as a status.
inline constexpr std::string_view kWatchCompacted =
    "etcdserver: mvcc: required revision has been compacted";
inline constexpr std::string_view kWatchEmptyRange = "mvcc: watcher range is empty";
inline constexpr std::string_view kWatchDuplicateId =
    "mvcc: duplicate watch ID provided on the WatchStream";

}  // namespace errors
}  // namespace quorate::engine
