package main

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/ordering"
)

// ordered reads through the package that refuses answers older than those that were seen.
func ordered(ctx context.Context, c *clientv3.Client) error {
	kv := ordering.NewKV(c.KV, func(clientv3.Op, clientv3.OpResponse, int64) error {
		return ordering.ErrNoGreaterRev
	})
	for i := 0; i < 20; i++ {
		if _, err := kv.Put(ctx, "ordered/a", fmt.Sprint(i)); err != nil {
			return err
		}
		got, err := kv.Get(ctx, "ordered/a")
		if err != nil {
			return err
		}
		if err := expect("value", string(got.Kvs[0].Value), i); err != nil {
			return err
		}
	}
	return nil
}

// cached holds keys under leases of their own; who writes a key first takes it from its holder.
func cached(ctx context.Context, w *world) error {
	var stores []clientv3.KV
	for i := 0; i < 2; i++ {
		c, err := w.client("app")
		if err != nil {
			return err
		}
		defer c.Close()
		store, closeStore, err := leasing.NewKV(c, "leasing/")
		if err != nil {
			return err
		}
		defer closeStore()
		stores = append(stores, store)
	}
	for i := 0; i < 10; i++ {
		if _, err := stores[i%2].Put(ctx, "cached/a", fmt.Sprint(i)); err != nil {
			return err
		}
		for _, store := range stores {
			got, err := store.Get(ctx, "cached/a")
			if err != nil {
				return err
			}
			if err := expect("value", string(got.Kvs[0].Value), i); err != nil {
				return err
			}
		}
	}
	done, err := stores[0].Txn(ctx).If(clientv3.Compare(clientv3.Value("cached/a"), "=", "9")).
		Then(clientv3.OpDelete("cached/a")).Commit()
	if err != nil {
		return err
	}
	gone, err := stores[1].Get(ctx, "cached/a")
	if err != nil {
		return err
	}
	return all(expect("succeeded", done.Succeeded, true), expect("gone", len(gone.Kvs), 0))
}

// mirrored reads a prefix as it was and follows it from there.
func mirrored(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := 0; i < 30; i++ {
		if _, err := c.Put(ctx, fmt.Sprintf("mirror/%02d", i), "old"); err != nil {
			return err
		}
	}
	syncer := mirror.NewSyncer(c, "mirror/", 0)
	base, errs := syncer.SyncBase(ctx)
	copied := 0
	for answer := range base {
		copied += len(answer.Kvs)
	}
	if err := <-errs; err != nil {
		return err
	}
	if _, err := c.Put(ctx, "mirror/00", "new"); err != nil {
		return err
	}
	events, err := next(syncer.SyncUpdates(ctx), 1)
	if err != nil {
		return err
	}
	return all(expect("copied", copied, 30), expect("followed", string(events[0].Kv.Value), "new"))
}

// prefixed sees its own keys without the prefix, and no others.
func prefixed(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	kv, watcher := namespace.NewKV(c.KV, "space/"), namespace.NewWatcher(c.Watcher, "space/")
	lease := namespace.NewLease(c.Lease, "space/")
	granted, err := lease.Grant(ctx, 600)
	if err != nil {
		return err
	}
	put, err := kv.Put(ctx, "a", "1", clientv3.WithLease(granted.ID))
	if err != nil {
		return err
	}
	outside, err := c.Get(ctx, "space/a")
	if err != nil {
		return err
	}
	inside, err := kv.Get(ctx, "", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	done, err := kv.Txn(ctx).If(clientv3.Compare(clientv3.Value("a"), "=", "1")).
		Then(clientv3.OpPut("b", "2"), clientv3.OpGet("a")).Commit()
	if err != nil {
		return err
	}
	events, err := next(watcher.Watch(ctx, "", clientv3.WithPrefix(),
		clientv3.WithRev(put.Header.Revision)), 2)
	if err != nil {
		return err
	}
	live, err := lease.TimeToLive(ctx, granted.ID, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	_, revoked := lease.Revoke(ctx, granted.ID)
	return all(
		revoked,
		expect("outside", string(outside.Kvs[0].Value), "1"),
		expect("inside", words(len(inside.Kvs), string(inside.Kvs[0].Key)), "1 a"),
		expect("in a transaction", string(done.Responses[1].GetResponseRange().Kvs[0].Key), "a"),
		expect("watched", string(events[0].Kv.Key)+string(events[1].Kv.Key), "ab"),
		expect("attached", string(live.Keys[0]), "a"),
	)
}

// names keeps addresses of a service, as gRPC's resolver reads them.
func names(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	manager, err := endpoints.NewManager(c, "service")
	if err != nil {
		return err
	}
	updates, err := manager.NewWatchChannel(ctx)
	if err != nil {
		return err
	}
	err = manager.AddEndpoint(ctx, "service/one", endpoints.Endpoint{Addr: "127.0.0.1:1"})
	if err != nil {
		return err
	}
	update, open := <-updates
	for open && len(update) == 0 { // what was there when the watch began
		update, open = <-updates
	}
	if !open {
		return errors.New("no word of the address")
	}
	listed, err := manager.List(ctx)
	for err == nil && len(listed) == 0 && ctx.Err() == nil { // a serializable read: that member may be behind
		listed, err = manager.List(ctx)
	}
	if err != nil {
		return err
	}
	return all(
		expect("told", update[0].Endpoint.Addr, "127.0.0.1:1"),
		expect("listed", listed["service/one"].Addr, "127.0.0.1:1"),
		manager.DeleteEndpoint(ctx, "service/one"),
	)
}
