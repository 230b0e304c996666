# Targets: run, run-cluster, test, tested, record, coredns, gsstsigctl, release, bench, bench-go, bench-peers, soak, lint, fuzz, clean. The
# README says what they are for.

SHELL       := /bin/bash
BINARY      ?= coredns
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 60s
BENCHTIME   ?= 200ms
COUNT       ?= 1
# "quick" for shorter rounds, and more arguments for the comparison with other servers, such as -only=queries.
BENCH       ?=
BENCHFLAGS  ?=
# Arguments for the soak test.
SOAKFLAGS   ?=
# How long a cluster has faults in the soak test.
CLUSTER_SOAK ?= 1h
# More arguments for the tests, such as TESTFLAGS=-v.
TESTFLAGS   ?=
# Tests of clients and peers that are run again with the programs of Debian 13.
DEBIAN13    := TestHostRegistersItself TestSharedKeys TestReaders TestReadersOverTLS TestKnsupdate TestSignedOnTheFly TestSecondaryBIND TestSecondaryBINDOverTLS TestLoadFromBIND \
	TestLookupAsBIND TestUpdateAsBIND TestPolicyAsBIND TestWindowsAgainstBIND \
	TestNsupdate TestMIT TestFreeIPA \
	TestJoin TestControllerRegisters TestNetADSDNS TestSSSD TestDNSPython TestAccounts TestGroups TestIdentity
space       := $(subst ,, )

# Where a release goes.
DIST        ?= dist

.PHONY: all run run-cluster test tested record coredns gsstsigctl release bench bench-go bench-peers soak lint fuzz clean

all: coredns

# -buildvcs=false: a checkout that belongs to another user would fail the build.
build = CGO_ENABLED=0 go build -trimpath -buildvcs=false \
	-ldflags='-s -w -X github.com/coredns/coredns/coremain.GitCommit=$(VERSION) \
		-X github.com/gsstsig/coredns-gsstsig/plugin/internal/version.stamped=$(VERSION)'

coredns:
	$(build) -o $(BINARY) ./coredns-build

gsstsigctl: BINARY = gsstsigctl
gsstsigctl:
	$(build) -o $(BINARY) ./coredns-build/gsstsigctl

# Archives, Debian packages, lists of modules and checksums. For another version: make release VERSION=v1.0.0.
release:
	coredns-build/release.sh $(DIST) $(VERSION)

run:
	@test/install.sh run
	@$(MAKE) --silent coredns
	@go build -buildvcs=false -o .cache/demo ./test/cmd/demo
	@COREDNS_BINARY=$(abspath $(BINARY)) exec .cache/demo

# Three servers with one zone on three members of etcd, which is built from a module of its own.
run-cluster:
	@test/install.sh run
	@$(MAKE) --silent coredns
	@go build -buildvcs=false -o .cache/demo ./test/cmd/demo
	@COREDNS_BINARY=$(abspath $(BINARY)) exec .cache/demo -cluster

test:
	@test/install.sh
	go vet -tags e2e ./...
	go test -race $(TESTFLAGS) ./...
	@# With this the compiler has done its work, for which a test on a busy machine would not wait long enough.
	@$(MAKE) --silent coredns BINARY=.cache/coredns
	@rm -rf .cache/tested && mkdir -p .cache/tested
	@# More packages at a time than there are processors: most of these tests wait for programs.
	TESTED_WITH=$(abspath .cache/tested) go test -race -count=1 -p 3 -tags e2e -timeout 20m $(TESTFLAGS) ./test/... ./internal/test/node ./internal/test/realm ./internal/test/etcd ./zone/store/etcd ./gsstsig/gsstsigtest
	TEST_SYSTEM=debian13 TESTED_WITH=$(abspath .cache/tested) go test -race -count=1 -p 3 -tags e2e -timeout 10m $(TESTFLAGS) \
		-run '^($(subst $(space),|,$(strip $(DEBIAN13))))$$' ./test/e2e ./test/mit ./test/ad
	@go run ./test/cmd/tested README.md .cache/tested

# Writes the README's table "Tested with" from what the last "make test" tried.
tested:
	go run ./test/cmd/tested -write README.md .cache/tested

# Has real clients say again what the tests without them replay; see plugin/gsstsig/testdata/transcripts/README.md.
record:
	@test/install.sh
	go test -count=1 -tags e2e -run '^TestTranscripts$$' ./test/e2e ./test/ad -record
	go test -count=1 -run '^TestReplay$$' ./plugin/gsstsig

bench: bench-go bench-peers

# The parts by themselves. For benchstat: make bench-go COUNT=10 BENCHTIME=1s.
bench-go:
	@test/install.sh
	go test -run '^$$' -bench . -benchtime $(BENCHTIME) -count $(COUNT) -benchmem ./...

# The whole, beside BIND and CoreDNS's file plugin.
bench-peers:
	@test/install.sh bench
	@$(MAKE) --silent coredns BINARY=.cache/coredns
	@go build -buildvcs=false -o .cache/peers ./test/cmd/bench
	@.cache/peers -binary .cache/coredns $(if $(filter quick,$(BENCH)),-quick) $(BENCHFLAGS)

# What takes longer than the tests may: an hour of faults in a cluster, 1,000 kills of the server under load and of its store,
# faults at every place of the disk, 100,000 updates beside BIND, and good clients beside a flood of hostile messages for ten
# minutes, and a third of that without, beside a flood of TLS handshakes for eight, and beside a client that abuses its ticket for ten
# minutes. For another length of these: make soak CLUSTER_SOAK=1m SOAKFLAGS='-duration 1m -tls 1m -insider 1m -slice 10s'.
# Then 100,000 machines that register within ten minutes. Last, CoreDNS's own tests on this project's listener, which needs the
# module proxy.
soak:
	@test/install.sh bench
	CLUSTER_SOAK=$(CLUSTER_SOAK) go test -count=1 -tags e2e -timeout 24h -v -run '^TestFaults$$' ./test/cluster
	KILL_ROUNDS=1000 PEER_UPDATES=100000 go test -count=1 -tags e2e -timeout 3h -v -run '^(TestKill|TestUpdateAsBIND)$$' ./test/e2e
	go test -count=1 -timeout 3h ./zone/store/disk -everywhere -kill.rounds 1000
	@$(MAKE) --silent coredns BINARY=.cache/coredns
	@go build -buildvcs=false -o .cache/hostile ./test/cmd/hostile
	@COREDNS_BINARY=$(abspath .cache/coredns) .cache/hostile $(SOAKFLAGS)
	@go build -buildvcs=false -o .cache/peers ./test/cmd/bench
	@.cache/peers -binary .cache/coredns -only='^morning$$' -machines 100000 -within 10m
	go run ./test/cmd/corednssuite

lint:
	@unformatted=$$(gofmt -l .); [ -z "$$unformatted" ] || { echo "not gofmt-ed: $$unformatted" >&2; exit 1; }
	go vet ./...
	go vet -tags e2e ./...
	go -C test/etcdserver vet ./...
	go -C test/dnsclients vet ./...
	go run $(STATICCHECK) ./...
	go run $(STATICCHECK) -tags e2e ./...
	go test ./test/layout

# Every fuzz target of the module, one after the other.
fuzz:
	@set -e; for package in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$package; \
		done; \
	done

clean:
	rm -rf coredns .cache
	go clean -testcache
