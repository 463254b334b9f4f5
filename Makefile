# make alone prints this help. Everything is built from Go modules; scripts
# install the Debian packages they need, or say which.
.DEFAULT_GOAL := help
SHELL := bash
.DELETE_ON_ERROR:

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# The race detector needs a C compiler.
RACE := $(if $(shell command -v gcc),-race)
# Where thousands of shares come and go that need no disk.
MEMORY := $(if $(wildcard /dev/shm),/dev/shm,$(or $(TMPDIR),/tmp))

.PHONY: help
help: ## print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: control-plane ## show claimdir's main job on a real control plane on this machine
	@go -C hack run ./demo

.PHONY: test
test: test-unit test-page test-cluster-api ## run all tests that need no virtual machine

.PHONY: test-unit
test-unit: ## run the tests that need no cluster
	CLAIMDIR_TEST_BRIEF=25 go test $(RACE) -shuffle=on -timeout 20m ./...
# As it is released, so that the tests that build it find all compiled: for kubectl's libraries that takes minutes.
	CGO_ENABLED=0 go -C cmd/kubectl-claimdir test -trimpath -shuffle=on -timeout 10m ./...
# Cut off at each place, not at every 25th: the race detector makes that six times slower.
	TMPDIR=$(MEMORY) go test -shuffle=on -timeout 20m ./provisioner ./provisioner/ledger ./provisioner/share ./provisioner/trash

.PHONY: test-page
test-page: ## look at the page in headless Chromium; ARGS='-screenshots DIR' keeps pictures of it
	@. hack/tools/lib.sh && need chromium chromium
	go -C hack test -count=1 -timeout 5m -tags browser ./browser $(ARGS)

# Its cases wait for leases, sweeps and Kubernetes: a fifth of their time is computed.
.PHONY: test-cluster-api
test-cluster-api: control-plane snapshot-controller helm ## run claimdir against a real API server and controller manager, and its alerts in a real Prometheus
	@. hack/tools/lib.sh && need prometheus prometheus
	TMPDIR=$(MEMORY) go -C hack test -count=1 -timeout 30m -parallel 6 ./...

.PHONY: test-nfs
test-nfs: ## run the suites that touch a share on kernel NFS, in a virtual machine; ARGS=--all: each on every kind of mount, for hours
	hack/vm/test-nfs.sh $(ARGS)

.PHONY: test-cluster
test-cluster: ## run claimdir on a real node, with pods that write, in a virtual machine; ARGS=--all: each case, for an hour and more
	hack/vm/test-cluster.sh $(ARGS)

.PHONY: conformance
conformance: ## run Kubernetes' own storage tests against claimdir on a real node, in a virtual machine: ARGS
	hack/vm/conformance.sh $(ARGS)

.PHONY: fuzz
fuzz: ## fuzz each target for FUZZTIME (default 30s)
	hack/fuzz.sh

.PHONY: chaos
chaos: control-plane ## let everything around claimdir fail, and check what is left: ARGS='-duration 15m -seed 42'
	@go -C hack run ./chaos $(ARGS)

.PHONY: bench
bench: control-plane ## claims bound and released a second, beside an ideal provisioner; ARGS=-help says what else
	go -C hack run ./bench $(ARGS)

.PHONY: bench-size
bench-size: control-plane ## memory, start and takeover of a claimdir that serves 50,000 volumes, beside 50,000 of others: ARGS
	go -C hack run ./benchsize $(ARGS)

.PHONY: build
build: ## build bin/claimdir
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/claimdir ./cmd/claimdir

.PHONY: plugin
plugin: ## build bin/kubectl-claimdir, the plugin of kubectl, for this machine
	CGO_ENABLED=0 go -C cmd/kubectl-claimdir build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o ../../bin/kubectl-claimdir .
	cp cmd/kubectl-claimdir/kubectl_complete-claimdir bin

.PHONY: image
image: ## build the container image for this machine, and push nothing: IMAGE, VERSION, CONTAINER_TOOL
	@go -C hack run ./release image -version '$(VERSION)' -image '$(IMAGE)' -tool '$(CONTAINER_TOOL)'

.PHONY: dist
dist: ## write a release into dist/, the same bytes for the same commit: VERSION=v0.1.0, IMAGE
	@go -C hack run ./release dist -version '$(VERSION)' -image '$(IMAGE)'

.PHONY: push
push: ## push dist's image, for all its platforms, and its SBOMs: IMAGE=HOST/claimdir:v0.1.0, SIGN='cosign sign --key …'
	@go -C hack run ./release push -image '$(IMAGE)' -sign "$$SIGN"

.PHONY: verify
verify: ## run every check; make update mends what can be mended
	hack/verify.sh

.PHONY: update
update: ## format, tidy, and write what is generated
	hack/update.sh

.PHONY: control-plane
control-plane: ## build etcd, kube-apiserver, kube-controller-manager and kubectl, once
	@go -C hack run ./controlplane/prebuild >/dev/null

.PHONY: snapshot-controller
snapshot-controller: ## build the snapshot-controller of Kubernetes CSI, once
	@go -C hack run ./controlplane/prebuild snapshot-controller >/dev/null

.PHONY: helm
helm: ## build helm, once
	@go -C hack run ./controlplane/prebuild helm >/dev/null
