#include "tests/sim/nemesis.h"

#include <algorithm>
#include <memory>
#include <set>

#include "tests/sim/world.h"

namespace quorate::sim {

struct Nemesis::Shared : std::enable_shared_from_this<Nemesis::Shared> {
  explicit Shared(World* its_world) : world(its_world), rates(its_world->plan().faults) {}

  void Later() {
    world->kernel().After(world->kernel().Draw(0, world->plan().round_ns_max),
                          [self = shared_from_this()] {
                            if (self->stopped) return;
                            self->Round();
                            self->Later();
                          });
  }

  bool Comes(uint32_t rate) { return rate != 0 && world->kernel().random().OneIn(rate); }
  int64_t UpTo(int64_t ns) { return world->kernel().Draw(0, ns); }
  Member* Any() {
    auto& members = world->members();
    return members[world->kernel().random().Below(members.size())].get();
  }
  Member* AnyRunning() {
    Member* member = Any();
    return member->running() ? member : nullptr;
  }
  // Somebody; more often than not who leads, for most is to be broken there.
  Member* Victim() {
    Member* leader = nullptr;
    for (const auto& member : world->members()) {
      if (!member->running() || member->life().raft().role() != consensus::Role::kLeader) continue;
      if (leader == nullptr || leader->life().raft().term() < member->life().raft().term()) {
        leader = member.get();
      }
    }
    return leader != nullptr && world->kernel().random().OneIn(2) ? leader : Any();
  }

  void Round() {
    Restart();
    Processes();
    Disks();
    Links();
    Lead();
    Reconfigure();
    Defragment();
  }

  // Whoever lies down gets up again some time.
  void Restart() {
    for (const auto& member : world->members()) {
      if (!member->running() && world->kernel().random().OneIn(rates.restart)) {
        member->disk().HealSyncs();
        world->StartLater(member.get(), UpTo(kNanosPerSecond));
      }
    }
  }

  void Processes() {
    Member* member = Victim();
    if (!member->running()) return;
    if (Comes(rates.power_loss)) {
      world->Saw("power losses");
      return member->Stop(Member::Death::kPowerLoss);
    }
    if (Comes(rates.power_loss_in_sync)) {
      world->Saw("power losses in a sync");
      return member->StopInNextSync();
    }
    if (Comes(rates.kill)) {
      world->Saw("kills");
      return member->Stop(Member::Death::kKill);
    }
    if (Comes(rates.pause)) {
      world->Saw("pauses");
      return member->Pause(UpTo(5 * kNanosPerSecond));
    }
  }

  void Disks() {
    Member* member = AnyRunning();
    if (member == nullptr) return;
    if (Comes(rates.slow_disk)) {
      world->Saw("slow disks");
      member->SetDiskSpeed({.delay_ns_min = kNanosPerMilli,
                            .delay_ns_max = UpTo(2 * kNanosPerSecond) + kNanosPerMilli});
    } else if (world->kernel().random().OneIn(4)) {
      member->SetDiskSpeed({});
    }
    if (Comes(rates.sync_error)) {
      world->Saw("sync errors");
      member->disk().FailSyncs({.path_part = "", .skip = world->kernel().random().Below(4)});
    }
    if (Comes(rates.full_disk)) {
      world->Saw("full disks");
      member->disk().SetCapacityBytes(member->disk().counts().bytes_written / 4);
    }
    if (Comes(rates.bit_rot)) Damage(member);
    if (Comes(rates.clock_jump)) {
      world->Saw("clock jumps");
      member->clock().JumpWall(world->kernel().Draw(-3600, 3600) * kNanosPerSecond);
    }
  }

  // Its disk is damaged or will be, or it is gone for good. A removed member may have been the only
  // one that knew of its removal: until others do it is missing in their quorum.
  bool IsBad(Member* member) const {
    return member->damaged() || misdirected.contains(member) || world->IsLost(member);
  }

  // Never the disks of more than a minority, nor of a member that is alone.
  void Damage(Member* member) {
    auto& members = world->members();
    const auto bad =
        static_cast<size_t>(std::count_if(members.begin(), members.end(), [&](const auto& other) {
          return other.get() != member && IsBad(other.get());
        }));
    if (bad + 1 > (world->plan().members - 1) / 2) return;
    if (world->kernel().random().OneIn(2)) {
      world->Saw("misdirected writes");
      misdirected.insert(member);
      member->DamageDisk(Member::Damage::kMisdirectedWrite);
    } else {
      world->Saw("bits flipped");
      member->DamageDisk(Member::Damage::kBitRot);
    }
  }

  // Cuts between members, in one direction or both; each lasts until a later round joins them.
  void Links() {
    const auto count = static_cast<Place>(world->members().size());
    Random& random = world->kernel().random();
    if (random.OneIn(3)) world->network().JoinAll();
    if (count < 2 || !Comes(rates.partition)) return;
    const uint64_t kind = random.Below(5);
    world->Saw("partitions");
    const Place one = Victim()->place();
    for (Place other = 0; other < count; ++other) {
      if (other == one) continue;
      if (kind == 0) CutBoth(one, other);                     // alone
      if (kind == 1) world->network().Cut(one, other);        // mute
      if (kind == 2) world->network().Cut(other, one);        // deaf
      if (kind == 3 && random.OneIn(2)) CutBoth(one, other);  // from some
      if (kind == 4) Flap(one, other, random.Between(3, 12));
    }
  }
  void CutBoth(Place a, Place b) {
    world->network().Cut(a, b);
    world->network().Cut(b, a);
  }
  void Flap(Place a, Place b, int64_t times) {
    if (stopped || times == 0) return;
    if (times % 2 == 0) {
      CutBoth(a, b);
    } else {
      world->network().Join(a, b);
      world->network().Join(b, a);
    }
    world->kernel().After(UpTo(kNanosPerSecond), [self = shared_from_this(), a, b, times] {
      self->Flap(a, b, times - 1);
    });
  }

  // Asks any member to hand the lead to any other.
  void Lead() {
    Member* member = AnyRunning();
    if (member == nullptr || world->members().size() < 2 || !Comes(rates.transfer)) return;
    world->Saw("transfers asked");
    const MemberId to = Any()->id();
    member->life().loop().Run(
        [to](server::Replica& replica) { (void)replica.TransferLeadership(to); });
    member->Wake();
  }

  template <class Request>
  void Ask(std::string_view path, const Request& request) {
    Member* to = AnyRunning();
    if (to == nullptr) return;
    world->caller().Call(world->operator_place(), to, path, request.SerializeAsString(),
                         5 * kNanosPerSecond, [](const CallResult&) {});
  }

  // An operator adds a spare machine, as a learner or with a vote at once; promotes learners; and
  // takes members out: first those whose disks are lost, else while there are more than planned.
  void Reconfigure() {
    if (!Comes(rates.reconfigure)) return;
    const auto& members = world->members();
    Random& random = world->kernel().random();
    size_t voters = 0;
    Member* lost = nullptr;
    for (const auto& member : members) {
      if (world->IsSpare(member.get()) || !world->IsMember(*member)) continue;
      if (!world->IsLearner(*member)) ++voters;
      if (IsBad(member.get())) lost = member.get();
    }
    Member* one = Any();
    if (world->IsSpare(one)) {
      world->Saw("additions asked");
      etcdserverpb::MemberAddRequest request;
      request.add_peerurls(one->config().advertise_peer_urls.front());
      request.set_islearner(random.OneIn(2));
      return Ask("/etcdserverpb.Cluster/MemberAdd", request);
    }
    if (one->place() >= world->plan().members && random.OneIn(2)) {
      etcdserverpb::MemberPromoteRequest request;
      request.set_id(one->id().value());
      return Ask("/etcdserverpb.Cluster/MemberPromote", request);
    }
    // Never so many that those whose disks may be lost yet are a majority of who is left.
    const bool spared = lost == nullptr && world->IsLearner(*one);
    if (voters <= world->plan().members && !spared) return;
    world->Saw("removals asked");
    etcdserverpb::MemberRemoveRequest request;
    request.set_id((lost != nullptr ? lost : one)->id().value());
    Ask("/etcdserverpb.Cluster/MemberRemove", request);
  }

  void Defragment() {
    if (!Comes(rates.defragment)) return;
    world->Saw("defragmentations asked");
    Ask("/etcdserverpb.Maintenance/Defragment", etcdserverpb::DefragmentRequest());
  }

  World* const world;
  const FaultRates rates;
  bool stopped = false;
  std::set<Member*> misdirected;  // looked up only
};

Nemesis::Nemesis(World* world) : shared_(std::make_shared<Shared>(world)) {}
Nemesis::~Nemesis() = default;
void Nemesis::Start() { shared_->Later(); }
void Nemesis::Stop() { shared_->stopped = true; }

}  // namespace quorate::sim
