package main

import (
	"bytes"
	"context"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func putsAndGets(ctx context.Context, c *clientv3.Client) error {
	first, err := c.Put(ctx, "put/a", "1")
	if err != nil {
		return err
	}
	second, err := c.Put(ctx, "put/a", "2", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	got, err := c.Get(ctx, "put/a")
	if err != nil {
		return err
	}
	old, err := c.Get(ctx, "put/a", clientv3.WithRev(first.Header.Revision))
	if err != nil {
		return err
	}
	_, ignored := c.Put(ctx, "put/a", "", clientv3.WithIgnoreValue())
	deleted, err := c.Delete(ctx, "put/a", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	gone, err := c.Get(ctx, "put/a")
	if err != nil {
		return err
	}
	_, noLease := c.Put(ctx, "put/b", "1", clientv3.WithLease(12345))
	_, noKey := c.Put(ctx, "", "1")
	_, noOld := c.Put(ctx, "put/none", "", clientv3.WithIgnoreValue())
	_, future := c.Get(ctx, "put/a", clientv3.WithRev(deleted.Header.Revision+1000))
	large := bytes.Repeat([]byte("x"), 1<<20)
	_, errLarge := c.Put(ctx, "put/large", string(large))
	back, err := c.Get(ctx, "put/large")
	if err != nil {
		return err
	}
	// Above what the server takes and below what the client sends.
	_, tooLarge := c.Put(ctx, "put/large", string(bytes.Repeat(large[:900<<10], 2)))
	return all(
		ignored, errLarge,
		expect("revision", second.Header.Revision, first.Header.Revision+1),
		expect("previous value", string(second.PrevKv.Value), "1"),
		expect("value", string(got.Kvs[0].Value), "2"),
		expect("version", got.Kvs[0].Version, 2),
		expect("old value", string(old.Kvs[0].Value), "1"),
		expect("deleted", deleted.Deleted, 1),
		expect("deleted value", string(deleted.PrevKvs[0].Value), "2"),
		expect("gone", gone.Count, 0),
		expect("large value", bytes.Equal(back.Kvs[0].Value, large), true),
		expectError("unknown lease", noLease, rpctypes.ErrLeaseNotFound),
		expectError("empty key", noKey, rpctypes.ErrEmptyKey),
		expectError("no old value", noOld, rpctypes.ErrKeyNotFound),
		expectError("future revision", future, rpctypes.ErrFutureRev),
		expectError("too large", tooLarge, rpctypes.ErrRequestTooLarge),
	)
}

func ranges(ctx context.Context, c *clientv3.Client) error {
	const keys = 1000
	for i := 0; i < keys; i++ {
		if _, err := c.Put(ctx, fmt.Sprintf("range/%04d", i), fmt.Sprint(keys-i)); err != nil {
			return err
		}
	}
	counted, err := c.Get(ctx, "range/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	limited, err := c.Get(ctx, "range/", clientv3.WithPrefix(), clientv3.WithLimit(10))
	if err != nil {
		return err
	}
	keysOnly, err := c.Get(ctx, "range/0990", clientv3.WithFromKey(), clientv3.WithKeysOnly(),
		clientv3.WithRange("range0"))
	if err != nil {
		return err
	}
	sorted, err := c.Get(ctx, "range/", clientv3.WithPrefix(), clientv3.WithLimit(3),
		clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend))
	if err != nil {
		return err
	}
	serial, err := c.Get(ctx, "range/", clientv3.WithPrefix(), clientv3.WithSerializable())
	if err != nil {
		return err
	}
	since, err := c.Get(ctx, "range/", clientv3.WithPrefix(),
		clientv3.WithMinModRev(sorted.Kvs[2].ModRevision))
	if err != nil {
		return err
	}
	return all(
		expect("count", counted.Count, keys),
		expect("limited", words(len(limited.Kvs), limited.More, limited.Count), "10 true 1000"),
		expect("keys only", words(len(keysOnly.Kvs), len(keysOnly.Kvs[0].Value)), "10 0"),
		expect("sorted", string(sorted.Kvs[0].Key), "range/0999"),
		expect("serializable", len(serial.Kvs), keys),
		expect("since", len(since.Kvs), 3),
	)
}

func transactions(ctx context.Context, c *clientv3.Client) error {
	if _, err := c.Put(ctx, "txn/a", "1"); err != nil {
		return err
	}
	done, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.Value("txn/a"), "=", "1"),
			clientv3.Compare(clientv3.Version("txn/a"), ">", 0),
			clientv3.Compare(clientv3.CreateRevision("txn/none"), "=", 0)).
		Then(clientv3.OpPut("txn/b", "x"), clientv3.OpGet("txn/a"), clientv3.OpDelete("txn/none"),
			clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.Value("txn/b"), "!=", "x")},
				nil, []clientv3.Op{clientv3.OpGet("txn/b")})).
		Else(clientv3.OpPut("txn/c", "y")).
		Commit()
	if err != nil {
		return err
	}
	other, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.LeaseValue("txn/a"), "!=", 0)).
		Else(clientv3.OpGet("txn/b"), clientv3.OpPut("txn/c", "y")).
		Commit()
	if err != nil {
		return err
	}
	within, err := c.Txn(ctx).
		If(clientv3.Compare(clientv3.Value("txn/"), ">", "0").WithPrefix()).
		Then(clientv3.OpGet("txn/a")).
		Commit()
	if err != nil {
		return err
	}
	_, twice := c.Txn(ctx).Then(clientv3.OpPut("txn/d", "1"), clientv3.OpPut("txn/d", "2")).Commit()
	many := make([]clientv3.Op, 129)
	for i := range many {
		many[i] = clientv3.OpPut(fmt.Sprintf("txn/many/%d", i), "1")
	}
	_, tooMany := c.Txn(ctx).Then(many...).Commit()
	nested := done.Responses[3].GetResponseTxn()
	return all(
		expect("succeeded", done.Succeeded, true),
		expect("responses", len(done.Responses), 4),
		expect("get", string(done.Responses[1].GetResponseRange().Kvs[0].Value), "1"),
		expect("deleted", done.Responses[2].GetResponseDeleteRange().Deleted, 0),
		expect("nested", words(nested.Succeeded,
			string(nested.Responses[0].GetResponseRange().Kvs[0].Value)), "false x"),
		expect("else", words(other.Succeeded, len(other.Responses)), "false 2"),
		expect("compare of a range", within.Succeeded, true),
		expectError("key twice", twice, rpctypes.ErrDuplicateKey),
		expectError("too many", tooMany, rpctypes.ErrTooManyOps),
	)
}

func compaction(ctx context.Context, c *clientv3.Client) error {
	var revisions []int64
	for i := 0; i < 20; i++ {
		put, err := c.Put(ctx, "compact/a", fmt.Sprint(i))
		if err != nil {
			return err
		}
		revisions = append(revisions, put.Header.Revision)
	}
	if _, err := c.Compact(ctx, revisions[10], clientv3.WithCompactPhysical()); err != nil {
		return err
	}
	_, old := c.Get(ctx, "compact/a", clientv3.WithRev(revisions[5]))
	_, again := c.Compact(ctx, revisions[10])
	_, future := c.Compact(ctx, revisions[19]+1000)
	kept, err := c.Get(ctx, "compact/a", clientv3.WithRev(revisions[10]))
	if err != nil {
		return err
	}
	watchCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	canceled := <-c.Watch(watchCtx, "compact/a", clientv3.WithRev(revisions[2]))
	rest, err := next(c.Watch(watchCtx, "compact/a", clientv3.WithRev(revisions[11])), 9)
	if err != nil {
		return err
	}
	return all(
		expect("kept", string(kept.Kvs[0].Value), "10"),
		expect("compact revision", canceled.CompactRevision, revisions[10]),
		expect("rest", string(rest[0].Kv.Value), "11"),
		expectError("old", old, rpctypes.ErrCompacted),
		expectError("again", again, rpctypes.ErrCompacted),
		expectError("future", future, rpctypes.ErrFutureRev),
		expectError("watch", canceled.Err(), rpctypes.ErrCompacted),
	)
}
