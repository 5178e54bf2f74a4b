# Every target says what it does: `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := $(CURDIR)/.bin
MODULES := ./alerts/... ./proto/... ./services/... ./storage/... ./ui/...
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
export CGO_ENABLED ?= 0

# count turns a long list of lines into one moving figure on a terminal, and into nothing elsewhere.
count = if [ -t 1 ]; then awk '{ printf "\r  %d %s", NR, "$(1)"; fflush() } END { if (NR) print "" }'; else cat > /dev/null; fi

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: engine build ## Run everything here; DEMO=1 fills it with the data of a small shop
	@exec $(BIN)/midwatch up $(if $(DEMO),-demo)

.PHONY: build
build: ui ## Build the binary into .bin/midwatch
	@echo "Building midwatch…"
	@mkdir -p $(BIN)
	@if ! go build -v -ldflags "-s -w -X main.version=$(VERSION)" -o $(BIN)/midwatch ./services/cmd/midwatch 2> >(tee $(BIN)/build.log | $(call count,packages)); then \
		cat $(BIN)/build.log; exit 1; fi

.PHONY: engine
engine: ## Fetch the ClickHouse engine into the user's cache folder, once
	@deployments/engine/fetch.sh

UI_SOURCES := $(shell find ui/src ui/public ui/scripts -type f 2>/dev/null) $(wildcard ui/*.json ui/*.ts ui/*.html) proto/openapi/api.yaml

.PHONY: ui
ui: ui/dist/index.html ## Build the pages into ui/dist

ui/node_modules/.package-lock.json: ui/package.json ui/package-lock.json
	@echo "Fetching the pages' packages…"
	@cd ui && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

ui/dist/index.html: ui/node_modules/.package-lock.json $(UI_SOURCES)
	@echo "Building the pages…"
	@cd ui && npm run --silent build
	@touch $@

.PHONY: dev
dev: engine ui/node_modules/.package-lock.json ## Run everything, with the pages served by Vite on port 5173
	@trap 'kill 0' EXIT; (cd ui && npm run --silent dev) & go run ./services/cmd/midwatch up

.PHONY: test
test: engine build e2e-tools ## Run every test: units, real servers in process, real clients, a real browser
	go test -timeout 20m $(GOTESTFLAGS) $(MODULES)
	cd ui && npm test --silent

# What test-external runs for each server: the packages whose tests use it.
external_NATS := storage/bus services/writer services/alerting services/ingest services/deadletter
external_REDIS := storage/cache services/ingest services/console
external_DATABASE := storage/catalog alerts/deliver alerts/digest services/external services/writer services/alerting services/ingest services/query services/console
external_CLICKHOUSE := storage/telemetry services/writer services/query
external_servers := $(strip $(foreach part,NATS REDIS DATABASE CLICKHOUSE,$(if $(MIDWATCH_TEST_$(part)_URL),$(part))))
# on says which server a part is tested on.
on = $(if $(MIDWATCH_TEST_$(2)_URL),echo "$(1): the server that MIDWATCH_TEST_$(2)_URL names",echo "$(1): MIDWATCH_TEST_$(2)_URL is not set: $(3)")

.PHONY: external-servers
external-servers: # without a URL it is `make test` that is wanted
	@if [ -z "$(external_servers)" ]; then \
		echo "test-external needs at least one of MIDWATCH_TEST_NATS_URL, MIDWATCH_TEST_REDIS_URL, MIDWATCH_TEST_DATABASE_URL (PostgreSQL) and MIDWATCH_TEST_CLICKHOUSE_URL" >&2; exit 1; fi
	@$(call on,NATS,NATS,the embedded server is used)
	@$(call on,Redis,REDIS,the embedded server is used)
	@$(call on,PostgreSQL,DATABASE,SQLite is used; the roles use 127.0.0.1:5432 if it answers)
	@$(call on,ClickHouse,CLICKHOUSE,the embedded engine is used)

.PHONY: test-external
test-external: external-servers engine build ## Run the stores' and roles' tests on the servers that MIDWATCH_TEST_{NATS,REDIS,DATABASE,CLICKHOUSE}_URL name
	go test -count=1 $(GOTESTFLAGS) $(addprefix ./,$(sort $(foreach part,$(external_servers),$(external_$(part)))))
	go test -count=1 $(GOTESTFLAGS) -run '^TestEveryRoleRunsAlone$$' ./services/e2e

.PHONY: race
race: engine ## Run the Go tests with the race detector; needs a C compiler
	CGO_ENABLED=1 go test -race $(GOTESTFLAGS) $(filter-out ./services/...,$(MODULES)) $$(go list ./services/... | grep -v /e2e)

CHAOS_ROUNDS ?= 300
CHAOS_OUTAGE ?= 10m
CHAOS_ALERTS ?= 10000

.PHONY: chaos
chaos: engine build ## Kill processes at random, take ClickHouse away and deliver 10,000 alerts all the while, for about an hour
	MIDWATCH_CHAOS_ROUNDS=$(CHAOS_ROUNDS) MIDWATCH_OUTAGE=$(CHAOS_OUTAGE) MIDWATCH_CHAOS_ALERTS=$(CHAOS_ALERTS) \
		go test -v -count=1 -timeout 120m -run '^(TestKillsAtRandom|TestOutageOfClickHouse|TestAlertsSurviveKills|TestShardsChangeTheirOwner|TestStormIsFolded)' ./services/e2e

.PHONY: e2e-tools
e2e-tools: $(BIN)/telemetrygen services/e2e/clients/node_modules/.package-lock.json ## Fetch the clients and the browser of the end-to-end tests
	@deployments/tools/programs.sh

$(BIN)/telemetrygen: services/e2e/clients/go.mod
	@echo "Building telemetrygen…"
	@mkdir -p $(BIN)
	@cd services/e2e/clients && GOWORK=off GOFLAGS=-mod=mod GOBIN=$(BIN) go install github.com/open-telemetry/opentelemetry-collector-contrib/cmd/telemetrygen
	@touch $@

services/e2e/clients/node_modules/.package-lock.json: services/e2e/clients/package.json services/e2e/clients/package-lock.json
	@echo "Fetching the end-to-end clients…"
	@cd services/e2e/clients && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: fuzz
fuzz: ## Fuzz every decoder of foreign bytes for 30 s each
	@for package in $$(go list $(MODULES)); do \
		for fuzz in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || [ $$? = 1 ]); do \
			echo "$$package $$fuzz"; go test -run '^$$' -fuzz "^$$fuzz\$$" -fuzztime 30s $$package; done; done

.PHONY: bench
bench: engine build ## Measure it and its peers; QUICK=1: a minute, without peers; BENCH="-only logs" and more: deployments/benchmarks
	@go run ./services/bench $(if $(QUICK),-quick) $(if $(QUICK)$(BENCH),,-record deployments/benchmarks) $(BENCH)

.PHONY: lint
lint: $(BIN)/golangci-lint ui/node_modules/.package-lock.json ## Check style, types and the module files
	$(BIN)/golangci-lint run $(MODULES)
	cd ui && npm run --silent lint
	@for module in alerts proto services storage ui; do (cd $$module && GOWORK=off go mod tidy -diff) || { echo "$$module/go.mod is not tidy"; exit 1; }; done

.PHONY: fmt
fmt: $(BIN)/golangci-lint ## Format the Go code
	$(BIN)/golangci-lint fmt $(MODULES)

.PHONY: gen
gen: $(BIN)/buf $(BIN)/oapi-codegen $(BIN)/protoc-gen-go ui/node_modules/.package-lock.json ## Generate code from proto/
	cd proto && PATH=$(BIN):$$PATH buf lint && PATH=$(BIN):$$PATH buf generate
	$(BIN)/oapi-codegen --config services/query/oapi.yaml proto/openapi/api.yaml
	$(BIN)/oapi-codegen --config services/console/oapi.yaml proto/openapi/api.yaml
	cd ui && npm run --silent gen

# tools builds one pinned tool from deployments/tools.
tools = mkdir -p $(BIN); cd deployments/tools; GOWORK=off GOBIN=$(BIN) go install -v $(1) 2> >(tee $(BIN)/tools.log | $(call count,packages)) || { cat $(BIN)/tools.log; exit 1; }

$(BIN)/golangci-lint: deployments/tools/go.mod
	@echo "Building golangci-lint…"
	@$(call tools,github.com/golangci/golangci-lint/v2/cmd/golangci-lint)
	@touch $@

$(BIN)/buf $(BIN)/oapi-codegen $(BIN)/protoc-gen-go &: deployments/tools/go.mod
	@echo "Building the generators…"
	@$(call tools,github.com/bufbuild/buf/cmd/buf github.com/oapi-codegen/oapi-codegen/v2/cmd/oapi-codegen google.golang.org/protobuf/cmd/protoc-gen-go)
	@touch $(BIN)/buf $(BIN)/oapi-codegen $(BIN)/protoc-gen-go

.PHONY: clean
clean: ## Remove what was built; data and caches stay
	rm -rf $(BIN) ui/dist ui/node_modules services/e2e/clients/node_modules
