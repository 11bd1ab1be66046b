# ptracer needs Go and, for its tests, what .ci/install installs.

export CGO_ENABLED = 0
# Tests append here what they skipped, and why.
export PTRACER_SKIPS = $(CURDIR)/build/skips

# A time, or a number of inputs: 5000x.
FUZZTIME ?= 20s
SOAKTIME ?= 10m
ATTACKTIME ?= 10m
# Further flags for all test runs, such as -run or -short.
TESTFLAGS ?=
# The emulated CPU of the arm64 lane: cortex-a76 (with LSE), cortex-a72 (without), or max (with PAC and BTI).
LANECPU ?= cortex-a76

# Packages with Go benchmarks.
BENCHED = $(shell grep -rl --include='*_test.go' '^func Benchmark' . | xargs -n1 dirname | sort -u)

.PHONY: help build test unit race soak attack fuzz bench benchonce figures check generate arm64 needs clean

help: ## this list
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/\1	\2/p' $(MAKEFILE_LIST) | expand -t 10

build: ## ptracer, one static binary
	go build -trimpath -o ptracer ./cmd/ptracer

test: needs ## everything: unit, live and CLI tests, the race detector, arm64
	@mkdir -p build && rm -f $(PTRACER_SKIPS)
	@failed=; for part in unit race arm64; do \
		echo "== make $$part"; $(MAKE) --no-print-directory $$part || failed="$$failed $$part"; \
	done; .ci/skips $(PTRACER_SKIPS); \
	if [ -n "$$failed" ]; then echo "FAILED:$$failed"; exit 1; fi

unit: benchonce ## unit, live and CLI tests as the product is built
	go test -count=1 $(TESTFLAGS) ./...

race: ## the same under the race detector, with traps where unit has jumps
	PTRACER_TEST_TRAPS=1 CGO_ENABLED=1 go test -race -count=1 $(TESTFLAGS) ./...

soak: ## real servers under load while tracers come and go, SOAKTIME long
	go run ./internal/soak -time $(SOAKTIME)

attack: ## the server for all users under attack, ATTACKTIME long (as root)
	go run ./internal/attack -time $(ATTACKTIME)

arm64: ## the tests on arm64, in an emulated machine
	go run ./internal/lane -cpu $(LANECPU)

fuzz: ## every fuzz function, FUZZTIME each
	.ci/fuzz $(FUZZTIME)

bench: ## Go benchmarks of the inner parts (what a probe costs: ptracer bench)
	go test -run '^$$' -bench . $(TESTFLAGS) $(BENCHED)

benchonce: ## each Go benchmark once, so that none rots
	@out=$$(go test -run '^$$' -bench . -benchtime 1x $(BENCHED)) || { echo "$$out"; exit 1; }

figures: build ## five minutes of ptracer bench, into bench/results and bench/hit.svg
	.ci/figures

check: build/staticcheck ## format, vet, staticcheck, rules on the code
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt:" $$unformatted; exit 1; }
	GOARCH=amd64 go vet ./...
	GOARCH=arm64 go vet ./...
	GOARCH=amd64 build/staticcheck ./...
	GOARCH=arm64 build/staticcheck ./...
	go run ./internal/check
	.ci/generate check

generate: ## the Go code of the arbiter's protocol, from its schema (needs protoc)
	.ci/generate

build/staticcheck: internal/tools/go.mod internal/tools/go.sum
	cd internal/tools && go build -o ../../$@ honnef.co/go/tools/cmd/staticcheck
	@touch $@

needs: ## installs what the tests need (Debian; asks for root only then)
	.ci/install

clean: ## removes what was built
	rm -rf build ptracer
