// Package pinned names the packages whose tests are run, so that go.mod pins what they need.
package pinned

import (
	_ "k8s.io/apiextensions-apiserver/test/integration/fixtures"
	_ "k8s.io/apiserver/pkg/storage/cacher"
	_ "k8s.io/apiserver/pkg/storage/etcd3"
	_ "k8s.io/apiserver/pkg/storage/storagebackend/factory"
)
