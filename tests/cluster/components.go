package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
)

// components are the programs that this binary is when it is called by their
// name. Linking them needs nothing but Go, on every platform, and they share
// their libraries: one binary is a third of the size of three.
var components = map[string]func() int{
	"etcd":           func() int { etcdmain.Main(os.Args); return 0 },
	"kube-apiserver": func() int { return cli.Run(apiserver.NewAPIServerCommand()) },
	"kubectl": func() int {
		if cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()) != nil {
			return 1
		}
		return 0
	},
}
