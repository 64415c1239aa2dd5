#!/usr/bin/env bash
# Builds h2spec, which has 146 cases of what an HTTP/2 server must do, into bin/ beside this file, at the version go.mod
# names. Needs Go and nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
go build -trimpath -buildvcs=false -o bin/h2spec github.com/summerwind/h2spec/cmd/h2spec
