#!/usr/bin/env bash
# Mends what hack/verify.sh checks and a machine can mend. Look at the result with git diff. Names as arguments run these
# steps only: hack/update.sh format tidy
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=hack/tools/lib.sh
. hack/tools/lib.sh

update_format() {
	go_files | xargs gofmt -s -w
}

update_tidy() {
	local module status=0
	for module in $(modules); do
		go -C "$module" mod tidy || status=1
	done
	return "$status"
}

update_lint() {
	local module lint config=$PWD/hack/golangci.yml status=0
	lint=$(tool golangci-lint)
	for module in $(code_modules); do
		(cd "$module" && for_module "$module" "$lint" run --config "$config" --fix ./...) || status=1
	done
	return "$status"
}

update_help() {
	go test -count=1 ./cmd/claimdir -run '^TestHelp' -update
	for_module cmd/kubectl-claimdir go -C cmd/kubectl-claimdir test -count=1 . -run '^TestHelp' -update
}

known format tidy lint docs calls help metrics alerts dashboard
step format "mend the syntax by hand, then: make update" update_format
step tidy "look at the go.mod it names, then: make update" update_tidy
step lint "the rest is for a human: mend it, then: make verify" update_lint
step docs "mend by hand, then: make update" go -C hack run ./doctables -write "$PWD"
step calls "mend by hand, then: make update" go test -count=1 ./provisioner -run '^TestCalls' -update
step help "mend by hand, then: make update" update_help
step metrics "mend by hand, then: make update" go test -count=1 ./cmd/claimdir -run '^TestMetricsPage' -update
step alerts "mend manifests/components/monitoring/rules.yaml, then: make update" go -C hack run ./alerts/write
step dashboard "mend hack/dashboard, then: make update" go -C hack run ./dashboard
step manifests "mend by hand, then: make update" go test -count=1 ./provisioner/recovery -run '^(TestManifests|TestTheScript)' -update
verdict update
