// Command cluster is what Dunlin's tests and demo run against: a real etcd,
// kube-apiserver and PostgreSQL, started on free ports and ended with their
// starter. The name it is called by picks a component ("kubectl" is a link to
// it); otherwise the first argument does, or names one of its own commands.
package main

import (
	"os"
	"path/filepath"

	"dunlin.dev/cluster/internal/supervisor"
)

func main() {
	if run, ok := components[filepath.Base(os.Args[0])]; ok {
		os.Exit(run())
	}
	if len(os.Args) > 1 {
		if run, ok := components[os.Args[1]]; ok {
			os.Args = os.Args[1:]
			os.Exit(run())
		}
	}
	os.Exit(supervisor.Main(os.Args[1:]))
}
