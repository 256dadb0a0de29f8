package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// next takes `count` events from a watch, checked for errors and order.
func next(w clientv3.WatchChan, count int) ([]*clientv3.Event, error) {
	var events []*clientv3.Event
	for len(events) < count {
		answer, open := <-w
		if !open || answer.Err() != nil {
			return nil, fmt.Errorf("watch ended after %d of %d events: %v", len(events), count, answer.Err())
		}
		events = append(events, answer.Events...)
	}
	if len(events) > count {
		return nil, fmt.Errorf("%d events, wanted %d", len(events), count)
	}
	if !sort.SliceIsSorted(events, func(i, j int) bool {
		return events[i].Kv.ModRevision < events[j].Kv.ModRevision
	}) {
		return nil, errors.New("events out of order")
	}
	return events, nil
}

func watchOld(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, err := c.Put(ctx, "watch/old/0", "0")
	if err != nil {
		return err
	}
	for i := 1; i < 200; i++ {
		if _, err := c.Put(ctx, fmt.Sprintf("watch/old/%d", i%10), fmt.Sprint(i)); err != nil {
			return err
		}
	}
	old := c.Watch(ctx, "watch/old/", clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision))
	events, err := next(old, 200)
	if err != nil {
		return err
	}
	for i, event := range events {
		if err := expect("event", string(event.Kv.Value), fmt.Sprint(i)); err != nil {
			return err
		}
	}
	if _, err := c.Delete(ctx, "watch/old/", clientv3.WithPrefix()); err != nil {
		return err
	}
	gone, err := next(old, 10)
	if err != nil {
		return err
	}
	return expect("type", gone[0].Type, clientv3.EventTypeDelete)
}

func watchOptions(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	first, err := c.Put(ctx, "watch/opt/a", "1")
	if err != nil {
		return err
	}
	value := string(bytes.Repeat([]byte("v"), 400<<10))
	ops := make([]clientv3.Op, 3)
	for i := range ops {
		ops[i] = clientv3.OpPut(fmt.Sprintf("watch/opt/large/%d", i), value)
	}
	for round := 0; round < 4; round++ {
		if _, err := c.Txn(ctx).Then(ops...).Commit(); err != nil {
			return err
		}
	}
	rev := clientv3.WithRev(first.Header.Revision)
	fragments := c.Watch(ctx, "watch/opt/large/", clientv3.WithPrefix(), rev, clientv3.WithFragment())
	large, err := next(fragments, 12)
	if err != nil {
		return err
	}
	deletesOnly := c.Watch(ctx, "watch/opt/a", rev, clientv3.WithFilterPut(), clientv3.WithPrevKV())
	putsOnly := c.Watch(ctx, "watch/opt/a", rev, clientv3.WithFilterDelete())
	created := c.Watch(ctx, "watch/opt/b", clientv3.WithCreatedNotify())
	if answer := <-created; !answer.Created {
		return errors.New("no answer that the watch was created")
	}
	if _, err := c.Delete(ctx, "watch/opt/a"); err != nil {
		return err
	}
	last, err := c.Put(ctx, "watch/opt/a", "2")
	if err != nil {
		return err
	}
	deletes, err := next(deletesOnly, 1)
	if err != nil {
		return err
	}
	puts, err := next(putsOnly, 2)
	if err != nil {
		return err
	}
	progress := c.Watch(ctx, "watch/opt/quiet")
	// A request for progress is answered when all watches of the stream are as far as the store.
	for told := false; !told; {
		if err := c.RequestProgress(ctx); err != nil {
			return err
		}
		select {
		case answer := <-progress:
			told = answer.IsProgressNotify() && answer.Header.Revision >= last.Header.Revision
		case <-time.After(100 * time.Millisecond): // asked again: the watch may not have been there
		}
	}
	return all(
		expect("large", len(large[11].Kv.Value), len(value)),
		expect("delete", words(deletes[0].Type, string(deletes[0].PrevKv.Value)), "DELETE 1"),
		expect("puts", string(puts[0].Kv.Value)+string(puts[1].Kv.Value), "12"),
	)
}

func leases(ctx context.Context, c *clientv3.Client) error {
	granted, err := c.Grant(ctx, 600)
	if err != nil {
		return err
	}
	for _, key := range []string{"lease/a", "lease/b"} {
		if _, err := c.Put(ctx, key, "1", clientv3.WithLease(granted.ID)); err != nil {
			return err
		}
	}
	live, err := c.TimeToLive(ctx, granted.ID, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	listed, err := c.Leases(ctx)
	if err != nil {
		return err
	}
	once, err := c.KeepAliveOnce(ctx, granted.ID)
	if err != nil {
		return err
	}
	keepCtx, cancel := context.WithCancel(ctx)
	kept, err := c.KeepAlive(keepCtx, granted.ID)
	if err != nil {
		cancel()
		return err
	}
	alive := <-kept
	cancel()
	if _, err := c.Revoke(ctx, granted.ID); err != nil {
		return err
	}
	gone, err := c.Get(ctx, "lease/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	_, again := c.Revoke(ctx, granted.ID)
	_, noLease := c.KeepAliveOnce(ctx, granted.ID)
	// The shortest lease there is, which ends by itself.
	short, err := c.Grant(ctx, 1)
	if err != nil {
		return err
	}
	put, err := c.Put(ctx, "lease/short", "1", clientv3.WithLease(short.ID))
	if err != nil {
		return err
	}
	watchCtx, stop := context.WithCancel(ctx)
	defer stop()
	ended, err := next(c.Watch(watchCtx, "lease/short", clientv3.WithRev(put.Header.Revision+1)), 1)
	if err != nil {
		return err
	}
	return all(
		expect("granted", granted.TTL, 600),
		expect("attached", len(live.Keys), 2),
		expect("granted TTL", live.GrantedTTL, 600),
		expect("listed", slices.Contains(listed.Leases, clientv3.LeaseStatus{ID: granted.ID}), true),
		expect("kept once", once.TTL, 600),
		expect("kept", alive.TTL, 600),
		expect("gone", gone.Count, 0),
		expect("ended", ended[0].Type, clientv3.EventTypeDelete),
		expectError("revoked twice", again, rpctypes.ErrLeaseNotFound),
		expectError("kept when gone", noLease, rpctypes.ErrLeaseNotFound),
	)
}
