// Command apiserver is Kubernetes' server of API extensions (custom resources), started as its own main
// package starts it, that can be used without a whole Kubernetes before it: it also answers which API
// groups there are, which in a cluster the kube-apiserver does and kubectl asks first.
package main

import (
	"net/http"
	"os"

	"github.com/spf13/cobra"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/client/listers/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/cmd/server/options"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/handlers/negotiation"
	"k8s.io/apiserver/pkg/endpoints/handlers/responsewriters"
	"k8s.io/apiserver/pkg/server"
	"k8s.io/component-base/cli"
)

// groups answers /api and /apis.
type groups struct {
	definitions apiextensionsv1.CustomResourceDefinitionLister
}

func group(name, version string) metav1.APIGroup {
	at := metav1.GroupVersionForDiscovery{GroupVersion: schema.GroupVersion{Group: name, Version: version}.String(), Version: version}
	return metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{at}, PreferredVersion: at}
}

func (g *groups) ServeHTTP(answer http.ResponseWriter, request *http.Request) {
	switch request.URL.Path {
	case "/api":
		responsewriters.WriteObjectNegotiated(extensions.Codecs, negotiation.DefaultEndpointRestrictions,
			schema.GroupVersion{}, answer, request, http.StatusOK, &metav1.APIVersions{}, false)
	case "/apis":
		list := &metav1.APIGroupList{Groups: []metav1.APIGroup{group(v1.GroupName, "v1")}}
		definitions, err := g.definitions.List(labels.Everything())
		if err != nil {
			http.Error(answer, err.Error(), http.StatusInternalServerError)
			return
		}
		for _, each := range definitions {
			for _, version := range each.Spec.Versions {
				if version.Served {
					list.Groups = append(list.Groups, group(each.Spec.Group, version.Name))
				}
			}
		}
		responsewriters.WriteObjectNegotiated(extensions.Codecs, negotiation.DefaultEndpointRestrictions,
			schema.GroupVersion{}, answer, request, http.StatusOK, list, false)
	default:
		http.NotFound(answer, request)
	}
}

func main() {
	o := options.NewCustomResourceDefinitionsServerOptions(os.Stdout, os.Stderr)
	command := &cobra.Command{
		Use:               "apiserver",
		Short:             "Serves custom resources that are kept in etcd",
		PersistentPreRunE: func(*cobra.Command, []string) error { return o.ServerRunOptions.ComponentGlobalsRegistry.Set() },
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.Complete(); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return err
			}
			config, err := o.Config()
			if err != nil {
				return err
			}
			discovery := &groups{}
			extended, err := config.Complete().New(server.NewEmptyDelegateWithCustomHandler(discovery))
			if err != nil {
				return err
			}
			discovery.definitions = extended.Informers.Apiextensions().V1().CustomResourceDefinitions().Lister()
			return extended.GenericAPIServer.PrepareRun().RunWithContext(c.Context())
		},
	}
	command.SetContext(server.SetupSignalContext())
	o.AddFlags(command.Flags())
	os.Exit(cli.Run(command))
}
