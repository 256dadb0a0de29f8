// Command controlplane is a client of a Kubernetes API server, by Kubernetes' own client library: it
// loads the server with custom resources that it watches meanwhile, and elects leaders by Leases.
//
//	controlplane load  [flags]   creates, updates, lists in pages and deletes; prints what it saw as JSON
//	controlplane elect [flags]   two candidates for one Lease; the first gives it up, the second takes it
//
// It exits with 1 and says why when the server's answers do not add up.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"k8s.io/client-go/rest"
)

type options struct {
	server, ca, cert, key, namespace string
	objects, clients, page, bytes    int
	keep                             bool
}

func parse(arguments []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("controlplane", flag.ContinueOnError)
	flags.StringVar(&o.server, "server", "https://127.0.0.1:6443", "URL of the API server")
	flags.StringVar(&o.ca, "ca", "", "file with the authority of the server's certificate; empty: none is checked")
	flags.StringVar(&o.cert, "cert", "", "file with the client's certificate")
	flags.StringVar(&o.key, "key", "", "file with the key of it")
	flags.StringVar(&o.namespace, "namespace", "load", "where the objects are made")
	flags.IntVar(&o.objects, "objects", 5000, "how many objects are made")
	flags.IntVar(&o.clients, "clients", 20, "how many make them at a time")
	flags.IntVar(&o.page, "page", 500, "objects in a page of a list")
	flags.IntVar(&o.bytes, "bytes", 512, "size of each object's data")
	flags.BoolVar(&o.keep, "keep", false, "do not delete the objects")
	err := flags.Parse(arguments)
	return o, err
}

func (o options) config() *rest.Config {
	return &rest.Config{
		Host:  o.server,
		QPS:   -1, // no limit of the client's own
		Burst: -1,
		// Custom resources have no other form; Lease's own client would send protobuf.
		ContentConfig: rest.ContentConfig{ContentType: "application/json"},
		TLSClientConfig: rest.TLSClientConfig{
			Insecure: o.ca == "",
			CAFile:   o.ca,
			CertFile: o.cert,
			KeyFile:  o.key,
		},
	}
}

func main() {
	verbs := map[string]func(context.Context, options) (any, error){"load": load, "elect": elect}
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: controlplane load|elect [flags]")
		os.Exit(2)
	}
	o, err := parse(os.Args[2:])
	if err != nil {
		os.Exit(2)
	}
	seen, err := verbs[os.Args[1]](context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(seen)
}
