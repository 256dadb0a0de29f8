package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordination "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

type electSeen struct {
	Leaders     []string `json:"leaders"`
	Transitions int32    `json:"transitions"`
}

// candidate runs for the lease until ctx ends and tells each lead it took.
func candidate(ctx context.Context, client coordination.CoordinationV1Interface, o options, name string,
	led chan<- string) (<-chan struct{}, error) {
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: o.namespace, Name: "controlplane"},
			Client:     client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: name},
		},
		LeaseDuration:   15 * time.Second,
		RenewDeadline:   10 * time.Second,
		RetryPeriod:     200 * time.Millisecond,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { led <- name },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return nil, err
	}
	ended := make(chan struct{})
	go func() {
		elector.Run(ctx)
		close(ended)
	}()
	return ended, nil
}

func elect(ctx context.Context, o options) (any, error) {
	client, err := coordination.NewForConfig(o.config())
	if err != nil {
		return nil, err
	}
	led := make(chan string, 2)
	var seen electSeen
	wait := func(want string) error {
		select {
		case name := <-led:
			seen.Leaders = append(seen.Leaders, name)
			if name != want {
				return fmt.Errorf("%s leads, not %s", name, want)
			}
			return nil
		case <-time.After(patience):
			return fmt.Errorf("%s did not come to lead", want)
		}
	}
	first, resign := context.WithCancel(ctx)
	defer resign()
	second, stop := context.WithCancel(ctx)
	defer stop()
	firstEnded, err := candidate(first, client, o, "first", led)
	if err != nil {
		return nil, err
	}
	if err := wait("first"); err != nil {
		return nil, err
	}
	secondEnded, err := candidate(second, client, o, "second", led)
	if err != nil {
		return nil, err
	}
	resign()
	<-firstEnded
	if err := wait("second"); err != nil {
		return nil, err
	}
	lease, err := client.Leases(o.namespace).Get(ctx, "controlplane", metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	if lease.Spec.LeaseTransitions != nil {
		seen.Transitions = *lease.Spec.LeaseTransitions
	}
	stop()
	<-secondEnded
	return seen, nil
}
