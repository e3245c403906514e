# Everything a person or a machine does with this repository. `make` lists it.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Rust and Go use all cores by themselves; two builds at once only fight for them.
.NOTPARALLEL:

TARGET := $(or $(CARGO_TARGET_DIR),target)
DUNLIN := $(TARGET)/debug/dunlin
# What the image and the archives hold: static, with nothing of the machine that it runs on.
STATIC := $(shell uname -m)-unknown-linux-musl
CLUSTER_BIN := target/cluster/bin
TOOLS_BIN := target/tools/bin
CLUSTER_SOURCES := $(shell find tests/cluster -name '*.go' ! -name '*_test.go') tests/cluster/go.mod tests/cluster/go.sum
# Builds for debugging have fail points, with which `make chaos` stops operators; releases don't.
FAILPOINTS := --features failpoints
CRD := crds/migrationsets.dunlin.dev.yaml

# One set of flags for build, vet and test: each other one compiles all of
# Kubernetes again. No C is involved, so the binary runs on any libc; a clone that
# belongs to somebody else must build, too, and Go's look at Git fails there.
GO := CGO_ENABLED=0 GOFLAGS='-trimpath -buildvcs=false' go
# Release builds of Kubernetes stamp their version at link time, and clients ask for it.
KUBERNETES = $(shell awk '$$1 == "k8s.io/kubernetes" {print $$2; exit}' tests/cluster/go.mod)
STAMP = -X k8s.io/component-base/version.gitVersion=$(KUBERNETES) -X k8s.io/client-go/pkg/version.gitVersion=$(KUBERNETES)

# So do those of Helm: its own version, and of Kubernetes, whose version a chart may ask for, that of the client libraries.
OF_TOOLS = $(shell awk '$$1 == "$(1)" {print $$2; exit}' tests/tools/go.mod)
HELM_STAMP = -X helm.sh/helm/$(1)/internal/version.version=$(call OF_TOOLS,helm.sh/helm/$(1))
OF_CLIENTS = -X helm.sh/helm/$(1).k8sVersionMajor=1 -X helm.sh/helm/$(1).k8sVersionMinor=$(word 2,$(subst ., ,$(call OF_TOOLS,k8s.io/client-go)))

# The oldest and the newest PostgreSQL that Dunlin supports; DUNLIN_TEST_POSTGRES names the one that tests run against.
OLDEST := 14
NEWEST := 18
test: export DUNLIN_TEST_POSTGRES := $(or $(DUNLIN_TEST_POSTGRES),$(OLDEST))
test-matrix: export VERSIONS := $(or $(VERSIONS),14 15 16 17 18)

.PHONY: help requirements requirements-of-tests requirements-of-bench cluster tools build generate lint docs deny test test-matrix fuzz chaos chaos-long demo e2e bench clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

requirements: ## check that this machine has what a build needs
	@.ci/requirements

requirements-of-tests:
	@.ci/requirements tests

requirements-of-bench:
	@.ci/requirements bench

cluster: $(CLUSTER_BIN)/cluster $(CLUSTER_BIN)/gitops $(CLUSTER_BIN)/kubestate ## build what tests and demo run against: etcd, kube-apiserver, kubectl

$(CLUSTER_BIN)/cluster: $(CLUSTER_SOURCES) | requirements
	@echo "==> building etcd, kube-apiserver and kubectl: 4 to 8 minutes on two cores the first time, seconds after"
	@mkdir -p $(@D)
	@cd tests/cluster && $(GO) build -v -ldflags '-s -w $(STAMP)' -o $(abspath $(@D))/cluster.new . 2>&1 | ../../.ci/progress
	@for name in etcd kube-apiserver kubectl; do ln -sf cluster $(@D)/$$name; done
	@mv $(@D)/cluster.new $@

$(CLUSTER_BIN)/gitops: $(shell find tests/gitops -name '*.go' ! -name '*_test.go') tests/gitops/go.mod tests/gitops/go.sum | requirements
	@mkdir -p $(@D)
	@cd tests/gitops && $(GO) build -ldflags '-s -w' -o $(abspath $@) .

$(CLUSTER_BIN)/kubestate: tests/kubestate/main.go tests/kubestate/go.mod tests/kubestate/go.sum | requirements
	@echo "==> building what kube-state-metrics says of sets: 1 to 2 minutes on two cores the first time, seconds after"
	@mkdir -p $(@D)
	@cd tests/kubestate && $(GO) build -ldflags '-s -w' -o $(abspath $@) .

tools: $(TOOLS_BIN)/helm4 ## build what the chart is rendered and tested with: Helm 3, Helm 4, helm-docs, promtool

$(TOOLS_BIN)/helm4: tests/tools/go.mod tests/tools/go.sum | requirements
	@echo "==> building Helm 3, Helm 4, helm-docs and promtool: 3 to 6 minutes on two cores the first time, seconds after"
	@mkdir -p $(@D)
	@cd tests/tools && $(GO) build -v -ldflags '-s -w' -o $(abspath $(@D))/helm-docs github.com/norwoodj/helm-docs/cmd/helm-docs 2>&1 | ../../.ci/progress
	@cd tests/tools && $(GO) build -v -ldflags '-s -w $(call HELM_STAMP,v3) $(call OF_CLIENTS,v3/pkg/chartutil) $(call OF_CLIENTS,v3/pkg/lint/rules)' \
		-o $(abspath $(@D))/helm3 helm.sh/helm/v3/cmd/helm 2>&1 | ../../.ci/progress
	@# It has nothing to discover: without the clients of two dozen clouds.
	@cd tests/tools && $(GO) build -v -tags remove_all_sd -ldflags '-s -w' -o $(abspath $(@D))/promtool \
		github.com/prometheus/prometheus/cmd/promtool 2>&1 | ../../.ci/progress
	@cd tests/tools && $(GO) build -v -ldflags '-s -w $(call HELM_STAMP,v4)' -o $(abspath $(@D))/helm4.new helm.sh/helm/v4/cmd/helm 2>&1 | ../../.ci/progress
	@mv $(@D)/helm4.new $@

build: | requirements ## build dunlin, for debugging
	@echo "==> building dunlin: 2 to 6 minutes on two cores the first time, seconds after"
	@cargo build --locked $(FAILPOINTS)

generate: build tools ## write the generated files anew: crds/ from the types, docs/ from the command line and the tests, deploy/ from the chart
	@mkdir -p $(dir $(CRD)) $(TARGET)/generated
	@$(DUNLIN) crd > $(TARGET)/generated/crd.yaml
	@mv $(TARGET)/generated/crd.yaml $(CRD)
	@$(DUNLIN) docs > $(TARGET)/generated/cli.md
	@mv $(TARGET)/generated/cli.md docs/cli.md
	@PARITY=write cargo test --quiet --locked $(FAILPOINTS) --test architecture parity >/dev/null
	@.ci/argocd-cm > $(TARGET)/generated/argocd-cm.yaml
	@mv $(TARGET)/generated/argocd-cm.yaml gitops/argocd/argocd-cm.yaml
	@.ci/chart generate
	@.ci/licenses > $(TARGET)/generated/third-party.txt
	@mv $(TARGET)/generated/third-party.txt THIRD-PARTY.txt
	@echo "==> wrote $(CRD), docs/cli.md, docs/parity.md, charts/dunlin/README.md, deploy/ and THIRD-PARTY.txt"

lint: build cluster tools ## check format, lints, and that the generated files are up to date
	@echo "==> format"
	@cargo fmt --check
	@unformatted=$$(gofmt -l tests/cluster tests/gitops tests/kubestate); if [ -n "$$unformatted" ]; then echo "run gofmt -w on: $$unformatted" >&2; exit 1; fi
	@echo "==> lints: 1 to 3 minutes the first time"
	@cargo clippy --locked $(FAILPOINTS) --all-targets -- -D warnings
	@cargo clippy --locked -- -D warnings
	@$(GO) vet -C tests/cluster ./...
	@$(GO) vet -C tests/gitops ./...
	@$(GO) vet -C tests/kubestate ./...
	@echo "==> generated files"
	@mkdir -p $(TARGET)/generated
	@$(DUNLIN) crd > $(TARGET)/generated/crd.yaml
	@diff -u $(CRD) $(TARGET)/generated/crd.yaml || { echo "$(CRD) isn't what the types say: run make generate, and commit it" >&2; exit 1; }
	@.ci/chart check

docs: ## build the documents as a book, in target/book
	@if command -v mdbook >/dev/null 2>&1; then \
		mdbook build && echo "==> the book: target/book/index.html"; \
	else \
		echo "!!! mdbook isn't installed, so the book is NOT built; its pages are in docs/" >&2; \
		echo "!!! get it with: cargo install mdbook --locked" >&2; \
		exit 1; \
	fi

deny: | requirements ## check dependencies: duplicates, licenses, where they come from
	@if cargo deny --version >/dev/null 2>&1; then \
		echo "==> dependencies"; \
		cargo deny --locked check bans licenses sources; \
	else \
		echo "!!! cargo-deny isn't installed, so bans, licenses and sources of dependencies are NOT checked" >&2; \
		echo "!!! get it with: cargo install cargo-deny --locked    (2 minutes with --debug, which is fast enough)" >&2; \
	fi

test: requirements-of-tests cluster tools build lint ## run every test, and lint: on PostgreSQL 14, the engine's on 18 too
	@echo "==> tests of Dunlin: unit, command line, operator, chart, and the engine on PostgreSQL $(DUNLIN_TEST_POSTGRES), and a quick make chaos"
	@cargo test --locked $(FAILPOINTS) --no-fail-fast
	@VERSIONS=$(NEWEST) .ci/matrix
	@echo "==> tests of the cluster that those run against: some 20 s"
	@$(GO) test -C tests/cluster -count=1 ./internal/...
	@$(GO) test -C tests/gitops -count=1 ./...
	@$(MAKE) --no-print-directory deny
	@echo "==> all tests passed"

test-matrix: requirements-of-tests cluster build ## run the engine's tests on every PostgreSQL, 14 to 18; VERSIONS='14 18' chooses
	@.ci/matrix

chaos: cluster build ## crash at every fail point, and 1,000 random kills: some 25 minutes; SEED=n repeats a run
	@cargo test --locked $(FAILPOINTS) --test chaos -- --full $(if $(SEED),--seed $(SEED))

chaos-long: requirements-of-tests cluster build ## run the tests of a hostile world that take long: outages, failovers, full disks
	@echo "==> a hostile world: some 3 minutes on two cores"
	@cargo test --locked $(FAILPOINTS) --no-fail-fast --test postgres --test operator -- --ignored

demo: cluster build ## show Dunlin at work, and stay up; EXIT=1 leaves at the end, CLUSTER=current uses your kubectl's cluster
	@EXIT='$(EXIT)' CLUSTER='$(CLUSTER)' DUNLIN='$(abspath $(DUNLIN))' demo/run

e2e: cluster tools ## install the chart in your kubeconfig's cluster, by Helm 3 and 4, and see it through; IMAGE=REPOSITORY:TAG, E2E_DATABASE_URL=…
	@IMAGE='$(IMAGE)' .ci/e2e

fuzz: cluster build ## look for texts that are split wrongly and specs that do harm; FUZZ_SECONDS=600, SEED=n repeats one
	@DUNLIN_FUZZ_SECONDS='$(or $(FUZZ_SECONDS),300)' $(if $(SEED),DUNLIN_FUZZ_SEED='$(SEED)') \
		cargo test --locked --test postgres agreement -- --nocapture
	@DUNLIN_FUZZ_SECONDS='$(or $(FUZZ_SECONDS),300)' $(if $(SEED),DUNLIN_FUZZ_SEED='$(SEED)') \
		cargo test --locked --test operator specs -- --nocapture

bench: requirements-of-bench cluster ## measure the static release against psql; BENCH=idle runs that part alone
	@echo "==> building the static release: 4 to 10 minutes on two cores the first time"
	@cargo build --locked --release --target $(STATIC) --bin dunlin
	@DUNLIN='$(abspath $(TARGET))/$(STATIC)/release/dunlin' cargo bench --locked --profile dev --bench '*' -- $(BENCH)

clean: ## remove everything built; what Go and Cargo keep elsewhere stays
	@rm -rf target $(TARGET)
