// clientsuite: etcd's own Go client and its concurrency package against one server.
//
//	clientsuite ENDPOINT
//
// Prints one line per part and ends with 0 when all were as expected. Every part uses keys of its
// own; the compaction comes last.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// timeLimit is of the whole suite; nothing in it waits for a time.
const timeLimit = 10 * time.Minute

type part struct {
	name string
	run  func(ctx context.Context, c *clientv3.Client) error
}

var parts = []part{
	{"puts and gets", putsAndGets},
	{"ranges", ranges},
	{"transactions", transactions},
	{"watch from old revisions", watchOld},
	{"watch with filters, fragments and progress", watchOptions},
	{"leases", leases},
	{"mutex", mutex},
	{"election", election},
	{"software transactional memory", stm},
	{"barrier and double session", barrier},
	{"status, hash and members", maintenance},
	{"compaction", compaction},
}

// expect answers an error that names what was got and what was wanted.
func expect(what string, got, want any) error {
	if fmt.Sprint(got) == fmt.Sprint(want) {
		return nil
	}
	return fmt.Errorf("%s: got %v, want %v", what, got, want)
}

// words are the values with blanks between them.
func words(values ...any) string { return strings.TrimSpace(fmt.Sprintln(values...)) }

// all answers the first error.
func all(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func expectError(what string, got, want error) error {
	if errors.Is(got, want) || got != nil && got.Error() == want.Error() {
		return nil
	}
	return fmt.Errorf("%s: got error %v, want %v", what, got, want)
}

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
		expect("listed", len(listed.Leases), 1),
		expect("kept once", once.TTL, 600),
		expect("kept", alive.TTL, 600),
		expect("gone", gone.Count, 0),
		expect("ended", ended[0].Type, clientv3.EventTypeDelete),
		expectError("revoked twice", again, rpctypes.ErrLeaseNotFound),
		expectError("kept when gone", noLease, rpctypes.ErrLeaseNotFound),
	)
}

func maintenance(ctx context.Context, c *clientv3.Client) error {
	endpoint := c.Endpoints()[0]
	status, err := c.Status(ctx, endpoint)
	if err != nil {
		return err
	}
	hash, err := c.HashKV(ctx, endpoint, 0)
	if err != nil {
		return err
	}
	same, err := c.HashKV(ctx, endpoint, hash.Header.Revision)
	if err != nil {
		return err
	}
	_, future := c.HashKV(ctx, endpoint, hash.Header.Revision+1000)
	members, err := c.MemberList(ctx)
	if err != nil {
		return err
	}
	alarms, err := c.AlarmList(ctx)
	if err != nil {
		return err
	}
	if _, err := c.Defragment(ctx, endpoint); err != nil {
		return err
	}
	return all(
		expect("version", status.Version, "3.7.1"),
		expect("leader", status.Leader, status.Header.MemberId),
		expect("hash", same.Hash, hash.Hash),
		expect("members", words(len(members.Members), members.Members[0].Name), "1 test"),
		expect("alarms", len(alarms.Alarms), 0),
		expectError("hash of the future", future, rpctypes.ErrFutureRev),
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

func run(endpoint string) error {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:   []string{endpoint},
		DialTimeout: time.Minute,
		Logger:      zap.NewNop(), // it warns of every error, and most here are wanted
	})
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	for _, p := range parts {
		if err := p.run(ctx, client); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Println("  as expected:", p.name)
	}
	return nil
}

// together runs `work` at once for 0..count-1 and answers the first error.
func together(count int, work func(number int) error) error {
	var group sync.WaitGroup
	errs := make([]error, count)
	for i := range errs {
		group.Add(1)
		go func(number int) {
			defer group.Done()
			errs[number] = work(number)
		}(i)
	}
	group.Wait()
	return all(errs...)
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: clientsuite ENDPOINT")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "clientsuite:", err)
		os.Exit(1)
	}
}
