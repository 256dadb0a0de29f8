package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	recipe "go.etcd.io/etcd/client/v3/experimental/recipes"
)

const rivals = 5

func withSession(c *clientv3.Client, work func(s *concurrency.Session) error) error {
	session, err := concurrency.NewSession(c, concurrency.WithTTL(60))
	if err != nil {
		return err
	}
	defer session.Close()
	return work(session)
}

// mutex lets rivals count with a counter that only the lock protects.
func mutex(ctx context.Context, c *clientv3.Client) error {
	const rounds = 10
	if _, err := c.Put(ctx, "mutex-counter", "0"); err != nil {
		return err
	}
	count := func(lock *concurrency.Mutex) error {
		if err := lock.Lock(ctx); err != nil {
			return err
		}
		got, err := c.Get(ctx, "mutex-counter")
		if err != nil {
			return err
		}
		number, err := strconv.Atoi(string(got.Kvs[0].Value))
		if err != nil {
			return err
		}
		// The guard fails when the lock has gone to somebody else.
		done, err := c.Txn(ctx).If(lock.IsOwner()).
			Then(clientv3.OpPut("mutex-counter", strconv.Itoa(number+1))).Commit()
		if err != nil {
			return err
		}
		return all(expect("owner", done.Succeeded, true), lock.Unlock(ctx))
	}
	err := together(rivals, func(int) error {
		return withSession(c, func(s *concurrency.Session) error {
			lock := concurrency.NewMutex(s, "mutex")
			for i := 0; i < rounds; i++ {
				if err := count(lock); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	err = withSession(c, func(holder *concurrency.Session) error {
		return withSession(c, func(other *concurrency.Session) error {
			held := concurrency.NewMutex(holder, "mutex")
			if err := held.Lock(ctx); err != nil {
				return err
			}
			tried := concurrency.NewMutex(other, "mutex").TryLock(ctx)
			return all(expectError("lock that is held", tried, concurrency.ErrLocked), held.Unlock(ctx))
		})
	})
	if err != nil {
		return err
	}
	got, err := c.Get(ctx, "mutex-counter")
	if err != nil {
		return err
	}
	return expect("counter", string(got.Kvs[0].Value), rivals*rounds)
}

// election lets every rival lead once; an observer sees them all in order.
func election(ctx context.Context, c *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return withSession(c, func(watching *concurrency.Session) error {
		seen := concurrency.NewElection(watching, "election").Observe(ctx)
		leaders := make(chan string, rivals)
		done := make(chan error, 1)
		go func() {
			done <- together(rivals, func(number int) error {
				return withSession(c, func(s *concurrency.Session) error {
					e := concurrency.NewElection(s, "election")
					name := fmt.Sprint("rival ", number)
					if err := e.Campaign(ctx, name); err != nil {
						return err
					}
					leader, err := e.Leader(ctx)
					if err != nil {
						return err
					}
					if err := expect("leader", string(leader.Kvs[0].Value), name); err != nil {
						return err
					}
					if err := e.Proclaim(ctx, name+" again"); err != nil {
						return err
					}
					leaders <- name
					// Leads until it was seen.
					for answer := range seen {
						if string(answer.Kvs[0].Value) == name+" again" {
							return e.Resign(ctx)
						}
					}
					return errors.New("the observer ended")
				})
			})
		}()
		if err := <-done; err != nil {
			return err
		}
		_, none := concurrency.NewElection(watching, "election").Leader(ctx)
		return all(expect("leaders", len(leaders), rivals),
			expectError("no leader", none, concurrency.ErrElectionNoLeader))
	})
}

// stm moves money between accounts in parallel; the sum stays.
func stm(ctx context.Context, c *clientv3.Client) error {
	const accounts, transfers, begin = 4, 20, 100
	for i := 0; i < accounts; i++ {
		if _, err := c.Put(ctx, fmt.Sprint("stm/", i), strconv.Itoa(begin)); err != nil {
			return err
		}
	}
	levels := []concurrency.Isolation{concurrency.SerializableSnapshot, concurrency.Serializable,
		concurrency.RepeatableReads, concurrency.SerializableSnapshot}
	err := together(len(levels), func(number int) error {
		for i := 0; i < transfers; i++ {
			from := fmt.Sprint("stm/", (number+i)%accounts)
			to := fmt.Sprint("stm/", (number+i*3+1)%accounts)
			if from == to {
				continue
			}
			_, err := concurrency.NewSTM(c, func(s concurrency.STM) error {
				left, err := strconv.Atoi(s.Get(from))
				if err != nil {
					return err
				}
				right, err := strconv.Atoi(s.Get(to))
				if err != nil {
					return err
				}
				s.Put(from, strconv.Itoa(left-1))
				s.Put(to, strconv.Itoa(right+1))
				return nil
			}, concurrency.WithIsolation(levels[number]), concurrency.WithAbortContext(ctx))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	got, err := c.Get(ctx, "stm/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	sum := 0
	for _, kv := range got.Kvs {
		number, err := strconv.Atoi(string(kv.Value))
		if err != nil {
			return err
		}
		sum += number
	}
	return expect("sum", sum, accounts*begin)
}

// barrier lets rivals wait at a barrier and enter and leave a double barrier together.
func barrier(ctx context.Context, c *clientv3.Client) error {
	gate := recipe.NewBarrier(c, "barrier")
	if err := gate.Hold(); err != nil {
		return err
	}
	return together(rivals+1, func(number int) error {
		if number == rivals {
			return gate.Release()
		}
		if err := recipe.NewBarrier(c, "barrier").Wait(); err != nil {
			return err
		}
		return withSession(c, func(s *concurrency.Session) error {
			both := recipe.NewDoubleBarrier(s, "double", rivals)
			return all(both.Enter(), both.Leave())
		})
	})
}
