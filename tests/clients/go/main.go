// clientsuite: etcd's own Go client and its packages beside it (concurrency, namespace, ordering,
// leasing, mirror, naming) against one server or a cluster.
//
// It is told what to do, and reports, as tests/clients/suites/world.py says. Every part uses keys of
// its own.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// timeLimit is of the whole suite; nothing in it waits for a time.
const timeLimit = 10 * time.Minute

type step func(ctx context.Context, w *world) error

// as runs what needs a client of that user.
func as(user string, run func(ctx context.Context, c *clientv3.Client) error) step {
	return func(ctx context.Context, w *world) error {
		c, err := w.client(user)
		if err != nil {
			return err
		}
		defer c.Close()
		return run(ctx, c)
	}
}

// alone runs what needs a client of one member: a serializable read at a revision that one member told
// may come to another before the revision does.
func alone(user string, run func(ctx context.Context, c *clientv3.Client) error) step {
	return func(ctx context.Context, w *world) error {
		return as(user, run)(ctx, w.at(w.endpoints[0]))
	}
}

var parts = map[string][]step{
	"kv":          {as("app", putsAndGets), as("app", ranges), as("app", ordered), cached},
	"txn":         {as("app", transactions), alone("app", stm)},
	"lease":       {as("app", leases)},
	"watch":       {as("app", watchOld), as("app", watchOptions), as("app", mirrored)},
	"compaction":  {as("root", compaction)},
	"lock":        {as("app", mutex), as("app", barrier)},
	"election":    {as("app", election)},
	"namespace":   {as("app", prefixed), as("app", names)},
	"users":       {users},
	"denied":      {denied},
	"token":       {token},
	"maintenance": {maintenance},
	"members":     {members},
	"failover":    {failover},
}

func run() error {
	w := newWorld()
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	for _, part := range strings.Split(os.Getenv("QUORATE_PARTS"), ",") {
		steps, known := parts[part]
		if !known {
			return fmt.Errorf("%s: no such part", part)
		}
		for _, step := range steps {
			if err := step(ctx, w); err != nil {
				return fmt.Errorf("%s: %s: %w", w.mode, part, err)
			}
		}
		fmt.Println("as expected:", part)
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "clientsuite:", err)
		os.Exit(1)
	}
}
