package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// statuses asks every member; the second answer is the end point of the leader.
func statuses(ctx context.Context, c *clientv3.Client) ([]*clientv3.StatusResponse, string, error) {
	var found []*clientv3.StatusResponse
	leader := ""
	for _, endpoint := range c.Endpoints() {
		status, err := c.Status(ctx, endpoint)
		if err != nil {
			return nil, "", err
		}
		if status.Leader == status.Header.MemberId {
			leader = endpoint
		}
		found = append(found, status)
	}
	return found, leader, nil
}

func maintenance(ctx context.Context, w *world) error {
	root, err := w.client("root")
	if err != nil {
		return err
	}
	defer root.Close()
	states, leader, err := statuses(ctx, root)
	if err != nil {
		return err
	}
	for i, endpoint := range w.endpoints {
		hash, err := root.HashKV(ctx, endpoint, 0)
		if err != nil {
			return err
		}
		same, err := root.HashKV(ctx, endpoint, hash.Header.Revision)
		if err != nil {
			return err
		}
		_, future := root.HashKV(ctx, endpoint, hash.Header.Revision+1000)
		_, defragmented := root.Defragment(ctx, endpoint)
		if err := all(defragmented, expect("hash", same.Hash, hash.Hash),
			expect("version", states[i].Version, "3.7.1"),
			expect("one leader", states[i].Leader, states[0].Leader),
			expectError("hash of the future", future, rpctypes.ErrFutureRev)); err != nil {
			return err
		}
	}
	alarms, err := root.AlarmList(ctx)
	if err != nil {
		return err
	}
	snapshot, err := root.SnapshotWithVersion(ctx)
	if err != nil {
		return err
	}
	defer snapshot.Snapshot.Close()
	size, err := io.Copy(io.Discard, snapshot.Snapshot)
	if err := all(err, expect("alarms", len(alarms.Alarms), 0),
		expect("a snapshot's pages and checksum", size%512, 32)); err != nil {
		return err
	}
	if len(states) == 1 {
		return nil
	}
	return moveLeader(ctx, w, states, leader)
}

// moveLeader asks the member that leads, for which it needs a client of that member alone.
func moveLeader(ctx context.Context, w *world, states []*clientv3.StatusResponse, leader string) error {
	root, err := w.at(leader).client("root")
	if err != nil {
		return err
	}
	defer root.Close()
	heir := states[0].Header.MemberId
	if heir == states[0].Leader {
		heir = states[1].Header.MemberId
	}
	if _, err := root.MoveLeader(ctx, heir); err != nil {
		return err
	}
	status, err := root.Status(ctx, leader)
	return all(err, expect("the new leader", status.Leader, heir))
}

func members(ctx context.Context, w *world) error {
	root, err := w.client("root")
	if err != nil {
		return err
	}
	defer root.Close()
	listed, err := root.MemberList(ctx)
	if err != nil {
		return err
	}
	if err := expect("members", len(listed.Members), len(w.endpoints)); err != nil {
		return err
	}
	late, err := root.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"})
	for errors.Is(err, rpctypes.ErrUnhealthy) { // the members have not been connected for long
		late, err = root.MemberAddAsLearner(ctx, []string{"http://127.0.0.1:1"})
	}
	if err != nil {
		return err
	}
	// Another etcd's leader refuses, where there are users, what another member hands on.
	_, leader, err := statuses(ctx, root)
	if err != nil {
		return err
	}
	root.SetEndpoints(leader)
	_, early := root.MemberPromote(ctx, late.Member.ID)
	_, updated := root.MemberUpdate(ctx, late.Member.ID, []string{"http://127.0.0.1:2"})
	_, removed := root.MemberRemove(ctx, late.Member.ID)
	_, again := root.MemberRemove(ctx, late.Member.ID)
	return all(updated, removed,
		expect("a learner", late.Member.IsLearner, true),
		expectError("too early", early, rpctypes.ErrMemberLearnerNotReady),
		expectError("removed twice", again, rpctypes.ErrMemberNotFound))
}

// failover: every member dies once. Writes go on, a watch misses nothing, a lease is kept.
func failover(ctx context.Context, w *world) error {
	app, err := w.client("app")
	if err != nil {
		return err
	}
	defer app.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	granted, err := app.Grant(ctx, 60)
	if err != nil {
		return err
	}
	kept, err := app.KeepAlive(ctx, granted.ID)
	if err != nil {
		return err
	}
	first, err := app.Put(ctx, "failover/a", "0", clientv3.WithLease(granted.ID))
	if err != nil {
		return err
	}
	seen := app.Watch(ctx, "failover/a", clientv3.WithRev(first.Header.Revision))
	for turn, endpoint := range w.endpoints {
		if err := w.please("kill", endpoint); err != nil {
			return err
		}
		if err := inTheEnd(ctx, app, "failover/a", fmt.Sprint(turn+1), granted.ID); err != nil {
			return err
		}
		if err := w.please("start", endpoint); err != nil {
			return err
		}
	}
	// A write whose answer was lost may be there twice; none is missing and none is out of order.
	for wanted := 0; wanted <= len(w.endpoints); {
		answer, open := <-seen
		if !open || answer.Err() != nil {
			return fmt.Errorf("the watch ended: %w", answer.Err())
		}
		for _, event := range answer.Events {
			switch value := string(event.Kv.Value); value {
			case fmt.Sprint(wanted):
				wanted++
			case fmt.Sprint(wanted - 1):
			default:
				return fmt.Errorf("the watch says %s, wanted %d", value, wanted)
			}
		}
	}
	for range len(kept) {
		if <-kept == nil {
			return errors.New("the lease was not kept")
		}
	}
	live, err := app.TimeToLive(ctx, granted.ID, clientv3.WithAttachedKeys())
	return all(err, expect("keys of the lease", len(live.Keys), 1))
}

// inTheEnd writes until it is acknowledged: an answer may be lost with the member that had it.
func inTheEnd(ctx context.Context, c *clientv3.Client, key, value string, lease clientv3.LeaseID) error {
	for {
		within, cancel := context.WithTimeout(ctx, 5*time.Second)
		_, err := c.Put(within, key, value, clientv3.WithLease(lease))
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if errors.Is(err, rpctypes.ErrPermissionDenied) || errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
	}
}
