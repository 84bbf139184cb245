# `make help` lists the targets. Only Go, git, make and a POSIX shell are needed;
# tools are built from pinned sources into .cache/bin.

GOLANGCI_LINT_VERSION := v2.15.0
GOTESTSUM_VERSION     := v1.13.0
GOVULNCHECK_VERSION   := v1.9.0

TOOLS         := $(CURDIR)/.cache/bin/$(shell go env GOVERSION)
GOLANGCI_LINT := $(TOOLS)/golangci-lint-$(GOLANGCI_LINT_VERSION)/golangci-lint
GOTESTSUM     := $(TOOLS)/gotestsum-$(GOTESTSUM_VERSION)/gotestsum

# Every module of the repository: the main one, those under examples/, and the
# one that has KurrentDB's client for a test.
MODULES := $(patsubst %/,%,$(dir $(shell git ls-files --cached --others --exclude-standard -- 'go.mod' '*/go.mod')))

# The race detector needs a C compiler. Without one the tests still run, and say so.
HAVE_CC := $(shell command -v $$(go env CC) 2>/dev/null)
RACE    := $(if $(HAVE_CC),-race)

# Under the race detector long tests do less: internal/testscale says how much. The
# packages whose tests ask it are run once more without it, at their whole scale.
# NO_RACE are those whose long tests do not ask it yet, or take too long even so: a
# server that is a double in the same process (esdb, dynamodb), brokers and databases
# that share the machine (kafka, marten), a database compiled into Go (sqlite), and
# hundreds of broken backends (conformance). make race PKG=./conformance
NO_RACE     := ./backends/dynamodb ./backends/esdb ./backends/kafka ./backends/marten ./backends/sqlite ./cmd/switchyard ./conformance
WHOLE_SCALE  = $(NO_RACE) $(shell go list -f '{{.ImportPath}} {{.TestImports}} {{.XTestImports}}' ./... | awk '{ package = $$1; $$1 = "" } /internal\/testscale/ { print package }')

PKG          ?= ./...
RUN          ?= .
TEST_TIMEOUT ?= 20m
BENCH        ?= .
BENCHTIME    ?= 1s
FUZZTIME     ?= 60s
FUZZ         ?= Fuzz

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: $(GOTESTSUM) ## run every test of every module, race detector on, and count the skips
	@$(if $(HAVE_CC),,echo 'warning: no C compiler found: the race detector is OFF' >&2)
	@rm -rf .cache/test && mkdir -p .cache/test/reports
	@status=0; n=0; \
	for module in $(MODULES); do \
	  n=$$((n + 1)); \
	  echo "== go test $(RACE) in $$module$(if $(RACE), (long tests at the smaller scale of internal/testscale))"; \
	  (cd "$$module" && SWITCHYARD_REPORTS="$(CURDIR)/.cache/test/reports" $(GOTESTSUM) --format pkgname --jsonfile "$(CURDIR)/.cache/test/$$n.json" -- -count=1 $(RACE) -timeout $(TEST_TIMEOUT) $$(go list ./... | grep -vE '/switchyard($(subst $() ,|,$(patsubst ./%,/%,$(NO_RACE))))$$')) || status=1; \
	done; \
	echo "== go test without the race detector, at the whole scale: $(WHOLE_SCALE)"; \
	SWITCHYARD_REPORTS="$(CURDIR)/.cache/test/reports" $(GOTESTSUM) --format pkgname --jsonfile "$(CURDIR)/.cache/test/whole.json" -- -count=1 -p 1 -timeout $(TEST_TIMEOUT) $(WHOLE_SCALE) || status=1; \
	go run ./internal/promisetable README.md .cache/test/reports/*.json || status=1; \
	go run ./internal/testgate -allow .ci/allowed-skips .cache/test/*.json || status=1; \
	exit $$status

.PHONY: promises
promises: ## write the README's table of promises from the reports of the last make test
	go run ./internal/promisetable -write README.md .cache/test/reports/*.json

.PHONY: race
race: ## run some tests under the race detector: make race PKG=./eventstore RUN=TestAppend
	go test -race -count=1 -timeout $(TEST_TIMEOUT) -run '$(RUN)' $(PKG)

.PHONY: lint
lint: $(GOLANGCI_LINT) ## check style, imports and go.mod in every module
	@set -e; for module in $(MODULES); do \
	  echo "== golangci-lint in $$module"; \
	  (cd "$$module" && $(GOLANGCI_LINT) run --allow-parallel-runners --config "$(CURDIR)/.golangci.yml" ./... && go mod tidy -diff); \
	done

.PHONY: fmt
fmt: $(GOLANGCI_LINT) ## format the code
	@set -e; for module in $(MODULES); do \
	  (cd "$$module" && $(GOLANGCI_LINT) fmt --config "$(CURDIR)/.golangci.yml" ./...); \
	done

.PHONY: bench
bench: ## print the benchmarks: make bench PKG=./backends/sqlite BENCH=Append
	go test -run '^$$' -bench '$(BENCH)' -benchmem -benchtime $(BENCHTIME) -timeout 60m $(PKG)

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME each: make fuzz FUZZTIME=60s FUZZ=FuzzPosition
	@set -e; for package in $$(go list $(PKG)); do \
	  for target in $$(go test -list '^$(FUZZ)' "$$package" | grep '^Fuzz' || true); do \
	    echo "== $$target in $$package"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$package"; \
	  done; \
	done

.PHONY: conformance
conformance: ## hold a store to the contract: make conformance URL=sqlite:/tmp/try.db
	@test -n "$(URL)" || { echo "usage: make conformance URL=postgres://…" >&2; exit 2; }
	go run ./cmd/switchyard conformance "$(URL)"

.PHONY: soak-kafka
soak-kafka: ## kill and freeze three Kafka brokers under writers, for an hour or two
	SWITCHYARD_KAFKA_SOAK=1 go test -count=1 -timeout 4h -v -run '^TestNothingIsLostRefusedOrDoubled' ./backends/kafka

.PHONY: quickstart
quickstart: ## show the main job on real events
	go run ./cmd/switchyard quickstart

.PHONY: up
up: ## start PostgreSQL, EventStoreDB and Kafka in containers and wait until they are healthy
	@docker compose version >/dev/null 2>&1 || { echo "make up needs Docker with its plugin compose (docker compose)" >&2; exit 2; }
	docker compose up --detach --wait

.PHONY: down
down: ## stop the containers and delete their data
	docker compose down --volumes

# Not part of .ci/run: govulncheck reads its database from the network.
.PHONY: vuln
vuln: ## look for known vulnerabilities (needs the Go vulnerability database)
	@set -e; for module in $(MODULES); do \
	  (cd "$$module" && go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION) ./...); \
	done

$(GOLANGCI_LINT):
	GOBIN="$(@D)" go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT_VERSION)

$(GOTESTSUM):
	GOBIN="$(@D)" go install gotest.tools/gotestsum@$(GOTESTSUM_VERSION)
