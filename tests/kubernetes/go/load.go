package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/retry"
)

// The resource that tests/kubernetes/crds.yaml defines.
var resource = schema.GroupVersionResource{Group: "quorate.test", Version: "v1", Resource: "settings"}

// How long an event may take to come before the load gives up.
const patience = 2 * time.Minute

// loadSeen is what load prints. Times are seconds.
type loadSeen struct {
	Objects       int     `json:"objects"`
	Events        int     `json:"events"`
	Retries       int64   `json:"retries"`
	Pages         int     `json:"pages"`
	CreateSeconds float64 `json:"create_s"`
	UpdateSeconds float64 `json:"update_s"`
	ListSeconds   float64 `json:"list_s"`
	DeleteSeconds float64 `json:"delete_s"`
}

type loader struct {
	options
	objects dynamic.ResourceInterface
	retries atomic.Int64
}

func (l *loader) name(i int) string { return fmt.Sprintf("object-%06d", i) }

// each calls `do` for every object, on several goroutines, and answers the seconds that took. What
// failed is tried again: a member of the cluster behind the API server may have just ended.
func (l *loader) each(ctx context.Context, do func(context.Context, int) error) (float64, error) {
	begin := time.Now()
	var next atomic.Int64
	var wait sync.WaitGroup
	failures := make(chan error, l.clients)
	for range l.clients {
		wait.Go(func() {
			for i := int(next.Add(1)) - 1; i < l.options.objects; i = int(next.Add(1)) - 1 {
				if err := l.patiently(ctx, func() error { return do(ctx, i) }); err != nil {
					failures <- fmt.Errorf("%s: %w", l.name(i), err)
					return
				}
			}
		})
	}
	wait.Wait()
	close(failures)
	return time.Since(begin).Seconds(), <-failures
}

func (l *loader) patiently(ctx context.Context, do func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := do()
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		l.retries.Add(1)
		time.Sleep(10 * time.Millisecond) // not to spin on a server that is away
	}
}

func (l *loader) create(ctx context.Context, i int) error {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": resource.GroupVersion().String(),
		"kind":       "Setting",
		"metadata":   map[string]any{"name": l.name(i), "labels": map[string]any{"tenth": fmt.Sprint(i % 10)}},
		"data":       strings.Repeat("x", l.bytes),
		"version":    int64(1),
	}}
	_, err := l.objects.Create(ctx, object, metav1.CreateOptions{})
	if err != nil && l.holds(ctx, i, 1) {
		return nil // an earlier try was carried out and its answer lost
	}
	return err
}

func (l *loader) update(ctx context.Context, i int) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		object, err := l.objects.Get(ctx, l.name(i), metav1.GetOptions{})
		if err != nil {
			return err
		}
		object.Object["version"] = int64(2)
		_, err = l.objects.Update(ctx, object, metav1.UpdateOptions{})
		return err
	})
}

func (l *loader) holds(ctx context.Context, i int, version int64) bool {
	object, err := l.objects.Get(ctx, l.name(i), metav1.GetOptions{})
	return err == nil && object.Object["version"] == version
}

func (l *loader) remove(ctx context.Context, i int) error {
	err := l.objects.Delete(ctx, l.name(i), metav1.DeleteOptions{})
	if err != nil {
		if _, gone := l.objects.Get(ctx, l.name(i), metav1.GetOptions{}); gone != nil && strings.Contains(gone.Error(), "not found") {
			return nil
		}
	}
	return err
}

// pages lists all in pages of one revision and answers how many there were.
func (l *loader) pages(ctx context.Context) (int, error) {
	pages, items, version := 0, 0, ""
	list := metav1.ListOptions{Limit: int64(l.page)}
	for {
		page, err := l.objects.List(ctx, list)
		if err != nil {
			return pages, err
		}
		if version != "" && page.GetResourceVersion() != version {
			return pages, fmt.Errorf("page %d is of resource version %s, the first of %s", pages, page.GetResourceVersion(), version)
		}
		version = page.GetResourceVersion()
		pages, items = pages+1, items+len(page.Items)
		if list.Continue = page.GetContinue(); list.Continue == "" {
			break
		}
	}
	if items != l.options.objects {
		return pages, fmt.Errorf("%d pages hold %d objects of %d", pages, items, l.options.objects)
	}
	return pages, nil
}

// follow counts events until every object was seen with version 2, and hands out their number.
func (l *loader) follow(ctx context.Context, from string) <-chan result {
	done := make(chan result, 1)
	go func() {
		events, at, final := 0, from, map[string]bool{}
		versions := map[string]int64{}
		for len(final) < l.options.objects {
			stream, err := l.objects.Watch(ctx, metav1.ListOptions{ResourceVersion: at, AllowWatchBookmarks: true})
			if err != nil {
				if ctx.Err() != nil {
					done <- result{events, fmt.Errorf("watched %d of %d objects in their last version: %w", len(final), l.options.objects, err)}
					return
				}
				time.Sleep(10 * time.Millisecond)
				continue
			}
			for event := range stream.ResultChan() {
				object, ok := event.Object.(*unstructured.Unstructured)
				if !ok {
					done <- result{events, fmt.Errorf("watch: %v", event.Object)}
					return
				}
				at = object.GetResourceVersion()
				if event.Type == watch.Bookmark {
					continue
				}
				events++
				version, _ := object.Object["version"].(int64)
				if version != versions[object.GetName()]+1 {
					done <- result{events, fmt.Errorf("watch: %s came with version %d after %d", object.GetName(), version, versions[object.GetName()])}
					return
				}
				versions[object.GetName()] = version
				if version == 2 {
					final[object.GetName()] = true
				}
				if len(final) == l.options.objects {
					break
				}
			}
			stream.Stop()
		}
		done <- result{events, nil}
	}()
	return done
}

type result struct {
	events int
	err    error
}

func load(ctx context.Context, o options) (any, error) {
	client, err := dynamic.NewForConfig(o.config())
	if err != nil {
		return nil, err
	}
	l := &loader{options: o, objects: client.Resource(resource).Namespace(o.namespace)}
	first, err := l.objects.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	if len(first.Items) != 0 {
		return nil, fmt.Errorf("namespace %s has %d objects already", o.namespace, len(first.Items))
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	followed := l.follow(watching, first.GetResourceVersion())
	seen := loadSeen{Objects: o.objects}
	if seen.CreateSeconds, err = l.each(ctx, l.create); err != nil {
		return nil, err
	}
	if seen.UpdateSeconds, err = l.each(ctx, l.update); err != nil {
		return nil, err
	}
	time.AfterFunc(patience, stop)
	events := <-followed
	if events.err != nil {
		return nil, events.err
	}
	seen.Events = events.events
	begin := time.Now()
	if seen.Pages, err = l.pages(ctx); err != nil {
		return nil, err
	}
	seen.ListSeconds = time.Since(begin).Seconds()
	if !o.keep {
		if seen.DeleteSeconds, err = l.each(ctx, l.remove); err != nil {
			return nil, err
		}
	}
	seen.Retries = l.retries.Load()
	return seen, nil
}
