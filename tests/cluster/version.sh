# Sourced by build.sh and node/build.sh, in this folder: the version of Kubernetes that go.mod names, and what a program
# has to be linked with to know it. Without that it calls itself v0.0.0, and kubectl warns of version skew.
# shellcheck shell=bash disable=SC2034

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
minor=$(cut -d. -f2 <<<"$version")
ldflags="-s -w"
ldflags+=" -X k8s.io/component-base/version.gitVersion=$version"
ldflags+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
ldflags+=" -X k8s.io/client-go/pkg/version.gitVersion=$version"
