//go:build tools

// Package cluster names the programs of the control plane that the tests run against,
// so that go.mod and go.sum pin every module they are made of.
package cluster

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
