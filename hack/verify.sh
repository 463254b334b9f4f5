#!/usr/bin/env bash
# Runs every check, prints one line for each, and gives one verdict at the end. hack/update.sh is its twin: it mends what can
# be mended without thinking. Names as arguments run these checks only: hack/verify.sh lint logcheck
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=hack/tools/lib.sh
. hack/tools/lib.sh

build_tools() {
	local name
	for name in golangci-lint logcheck kustomize govulncheck; do tool "$name"; done
}

check_format() {
	local files
	files=$(go_files | xargs gofmt -s -l)
	if [ -n "$files" ]; then
		echo "not formatted:"
		echo "$files"
		return 1
	fi
}

check_tidy() {
	local module status=0
	for module in $(modules); do
		echo "in $module:"
		go -C "$module" mod tidy -diff || status=1
	done
	return "$status"
}

check_vet() {
	local module status=0
	for module in $(code_modules); do
		for_module "$module" go -C "$module" vet -tags vm,browser,buildah ./... || status=1
	done
	return "$status"
}

check_lint() {
	local module lint config=$PWD/hack/golangci.yml status=0
	lint=$(tool golangci-lint)
	for module in $(code_modules); do
		(cd "$module" && for_module "$module" "$lint" run --config "$config" --build-tags vm,browser,buildah ./...) || status=1
	done
	return "$status"
}

check_logcheck() {
	"$(tool logcheck)" -config hack/logcheck.conf ./...
}

# named_test PACKAGE TEST [DIRECTORY]: go test is content when no test has that name; this is not.
named_test() {
	local out
	out=$(for_module "${3:-.}" go -C "${3:-.}" test -count=1 "$1" -run "^$2" -v 2>&1) || {
		echo "$out"
		return 1
	}
	case $out in
	*"--- PASS: $2"*) ;;
	*)
		echo "$1 has no test $2"
		return 1
		;;
	esac
}

check_help() {
	named_test ./cmd/claimdir TestHelp
	named_test . TestHelp cmd/kubectl-claimdir
	named_test . TestCommandsAgree cmd/kubectl-claimdir
}

# The plugin runs where kubectl does. A package that a platform lacks is found without compiling all others for it.
check_plugin() {
	local platform
	for platform in {linux,darwin,windows}/{amd64,arm64}; do
		CGO_ENABLED=0 GOOS=${platform%/*} GOARCH=${platform#*/} go -C cmd/kubectl-claimdir list -deps . >/dev/null || {
			echo "on $platform"
			return 1
		}
	done
}

check_manifests() {
	local kustomize copy overlay component name out status=0
	kustomize=$(tool kustomize)
	copy=$(mktemp -d)
	# shellcheck disable=SC2064 # expanded now: the name is gone when the step ends
	trap "rm -rf '$copy'" EXIT
	cp -r manifests "$copy"
	# A component shows its worth only on top of something.
	for component in manifests/components/*/; do
		name=$(basename "$component")
		cp -r manifests/overlays/example "$copy/manifests/overlays/with-$name"
		printf '\ncomponents: [../../components/%s]\n' "$name" >>"$copy/manifests/overlays/with-$name/kustomization.yaml"
	done
	"$kustomize" build "$copy/manifests/base" >/dev/null || status=1
	for overlay in "$copy"/manifests/overlays/*; do
		name=overlays/$(basename "$overlay")
		out=$("$kustomize" build "$overlay") || {
			echo "$name does not build"
			status=1
			continue
		}
		if grep -n -e SET-IN-OVERLAY -e config.kubernetes.io/local-config <<<"$out"; then
			echo "$name leaves something to fill in, or sends its settings to the cluster"
			status=1
		fi
		# Their own types tell what the API server would refuse, where it had their CRDs.
		if [ "$name" = overlays/with-monitoring ]; then go -C hack/operator run . <<<"$out" || status=1; fi
		renamed "$kustomize" "$overlay" "$copy" || status=1
	done
	return "$status"
}

# renamed KUSTOMIZE OVERLAY DIRECTORY: in another namespace and under other names an overlay refers to nothing by an old name, whether
# the names are set in its own file or in one above it, and its classes have the name that the Deployment serves.
renamed() {
	local kustomize=$1 overlay=$2 copy=$3 name where out status=0
	name=overlays/$(basename "$overlay")
	for where in on in; do
		mkdir "$overlay.$where"
		if [ "$where" = on ]; then
			printf 'resources: [../%s]\n' "$(basename "$overlay")" >"$overlay.$where/kustomization.yaml"
		else
			cp "$overlay"/* "$overlay.$where"
			sed -i 's,provisioner=claimdir/nfs,provisioner=example.com/other,' "$overlay.$where/kustomization.yaml"
			# The patch of docs/migrate.md: more provisioner names than one.
			if ! grep -q '^patches:' "$overlay.$where/kustomization.yaml"; then echo patches: >>"$overlay.$where/kustomization.yaml"; fi
			awk '/^  patches:$/ { on = 1; next } on && /^  [^ -]/ { exit } on { print substr($0, 3) }' docs/migrate.md >"$copy/patch"
			sed -i "/^patches:/r $copy/patch" "$overlay.$where/kustomization.yaml"
		fi
		printf '\nnamespace: other\nnamePrefix: before-\nnameSuffix: -behind\n' >>"$overlay.$where/kustomization.yaml"
		out=$("$kustomize" build "$overlay.$where")
		# The one name that stays is the container's.
		if grep -n -E '(^|[^/])(name|namespace|claimName|volumeName|serviceAccountName): claimdir' <<<"$out" | grep -v '^[0-9]*:        name: claimdir$'; then
			echo "$name keeps old names where it gets new ones"
			status=1
		fi
		if [ "$where" = in ] && { grep -n claimdir/nfs <<<"$out" || ! grep -q 'value: cluster.local/' <<<"$out"; }; then
			echo "$name keeps the old provisioner's name where it gets another, or loses an additional one"
			status=1
		fi
	done
	return "$status"
}

# The tables of the documents, their links and their lines; only the commands in them need a cluster.
check_docs() {
	go -C hack run ./doctables "$PWD"
	go -C hack test -count=1 ./docs -skip '^TestBlocksRun$'
}

# A test that is skipped where something is missing is not missed by anybody: it fails there and says what is missing.
check_skips() {
	if go_files | xargs grep -nE '\.Skip(f|Now)?\('; then
		echo "no test may be skipped"
		return 1
	fi
}

check_shellcheck() {
	need shellcheck shellcheck
	shell_scripts | xargs shellcheck --external-sources
}

check_versions() {
	go -C hack run ./release versions
}

# The tests of hack/release for all architectures, not only two, and beside them a real container tool that reads what they write
# and builds the Dockerfile.
check_release() {
	need buildah buildah
	nice go -C hack test -tags buildah -count=1 -timeout 30m ./release -args -platforms amd64,arm64,arm,ppc64le,s390x
}

check_vulnerabilities() {
	local scan out status=0
	scan=$(tool govulncheck)
	out=$({ timeout 120 "$scan" ./... && timeout 120 "$scan" -C cmd/kubectl-claimdir ./...; } 2>&1) || status=$?
	echo "$out"
	case $status in
	0) return 0 ;;
	124)
		echo "no answer from the vulnerability database in 2 minutes"
		return 77
		;;
	esac
	case $out in
	*"fetching vulnerabilities:"*)
		echo "database unreachable"
		return 77
		;;
	esac
	return "$status"
}

known tools format tidy vet lint logcheck imports help plugin metrics alerts dashboard manifests docs skips versions shellcheck release govulncheck

update="mend with: make update"
step tools "look at hack/tools/go.mod and the Go module proxy" build_tools
step format "$update" check_format
step tidy "$update" check_tidy
step vet "mend by hand, then: make verify" check_vet
step lint "mend what can be mended with: make update; the rest by hand" check_lint
step logcheck "mend by hand, then: hack/verify.sh logcheck" check_logcheck
step imports "mend by hand (the table of rooms in provisioner/imports_test.go), then: hack/verify.sh imports" named_test ./provisioner TestImports
step help "$update" check_help
step plugin "import nothing into cmd/kubectl-claimdir that a platform lacks, then: hack/verify.sh plugin" check_plugin
step metrics "$update" named_test ./cmd/claimdir TestMetricsPage
step alerts "$update" go -C hack run ./alerts/write -check
step dashboard "$update" go -C hack run ./dashboard -check
step manifests "mend by hand in manifests/, then: hack/verify.sh manifests" check_manifests
step docs "make update writes the tables; mend the rest by hand, then: hack/verify.sh docs" check_docs
step skips "let the test fail, and say what is missing" check_skips
step versions "mend by hand in the file it names (docs/release.md), then: hack/verify.sh versions" check_versions
step shellcheck "mend by hand, then: hack/verify.sh shellcheck" check_shellcheck
step govulncheck "raise the module it names: go get MODULE@VERSION && make update" check_vulnerabilities
step release "mend by hand in Dockerfile or hack/release, then: hack/verify.sh release" check_release
verdict verify
