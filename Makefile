# make help lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

GOTESTSUM := go run gotest.tools/gotestsum@v1.13.0
LINT      := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# Program to look for, and the Debian package that holds it.
NEEDS := redis-server:redis-server mariadbd:mariadb-server ffmpeg:ffmpeg nginx:nginx gcc:gcc

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

drill: setup build ## install what is missing, run the evening-peak drill on the hardened platform
	bin/livedrill run evening-peak

test: NEEDS += promtool:prometheus iptables:iptables
test: setup build ## install what is missing, run every test, one package at a time: whole drills share the two cores
	go list -race -test -export ./... > /dev/null # compiles all of it on both cores
	$(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg -- -race -count=1 -p 1 -vet=off -timeout 25m ./...

build: ## bin/livedrill; the C compiler is for NVML alone, CGO_ENABLED=0 does without
	go build -trimpath -tags netgo,osusergo -o bin/livedrill ./cmd/livedrill

check: ## format, vet, lint, import directions, builds elsewhere, reference pages
	@test -z "$$(gofmt -l cmd scenarios injectors loadgen target reports)" || { gofmt -l cmd scenarios injectors loadgen target reports; exit 1; }
	go vet ./...
	go mod tidy -diff
	$(LINT) run ./...
	@for os in darwin windows freebsd; do GOOS=$$os CGO_ENABLED=0 go build -o /dev/null ./cmd/livedrill || exit 1; done
	@for p in faults:injectors loads:loadgen slis:reports; do \
	  go run ./cmd/livedrill list $${p%%:*} --markdown | diff - $${p##*:}/REFERENCE.md || { echo "make reference" >&2; exit 1; }; \
	done

bench: build ## what livedrill costs beside its peers, and what its range, its record, its reports and its faults cost
	go test -run '^$$' -bench . -benchtime 1s ./reports/record
	go test -run '^$$' -bench . -benchtime 3x ./reports/documents
	go test -run '^$$' -bench Order -benchtime 100x -timeout 30m ./injectors/network ./injectors/process ./injectors/resource
	go test -run '^$$' -bench . -benchtime 1x -timeout 30m ./loadgen/peers
	@out=$$(mktemp -d); bin/livedrill run evening-peak --no-faults --time-scale 0.5 --out $$out/run > $$out/summary; code=$$?; \
	  grep '^cost' $$out/summary && { [ $$code = 0 ] || [ $$code = 4 ]; } # 4: half a drill proves less

bench-setup: NEEDS += wrk:wrk
bench-setup: setup ## install the peers that make bench holds livedrill against
	GOBIN=$(CURDIR)/bin go install github.com/tsenart/vegeta/v12@v12.13.0
	GOBIN=$(CURDIR)/bin go install go.k6.io/k6@v1.4.0

crash: NEEDS += iptables:iptables
crash: setup build ## kill a drill at 272 moments, and every kind of fault at every step, and look at what is left: an hour and a half
	LIVEDRILL_KILLS=200 go test -count=1 -run TestKillLeavesNothing -timeout 120m ./cmd/livedrill
	LIVEDRILL_KILL_ALL=1 go test -count=1 -p 1 -timeout 60m ./injectors/...

reference: build ## write the pages that list faults, loads and SLIs
	bin/livedrill list faults --markdown > injectors/REFERENCE.md
	bin/livedrill list loads --markdown > loadgen/REFERENCE.md
	bin/livedrill list slis --markdown > reports/REFERENCE.md

# Installs only what is missing, so that a second run is quick and needs no network. The servers are not started by their
# packages: a drill starts its own.
setup:
	@missing=""; \
	for need in $(NEEDS); do \
	  PATH="$$PATH:/usr/sbin:/sbin" command -v "$${need%%:*}" >/dev/null || missing="$$missing $${need##*:}"; \
	done; \
	[ -e /usr/include/stdlib.h ] || missing="$$missing libc6-dev"; \
	if [ -n "$$missing" ]; then \
	  sudo=""; \
	  if [ "$$(id -u)" != 0 ]; then \
	    command -v sudo >/dev/null || { echo "these packages are missing, and there is neither root nor sudo to install them:$$missing" >&2; exit 1; }; \
	    sudo=sudo; \
	  fi; \
	  echo "installing:$$missing"; \
	  printf '#!/bin/sh\nexit 101\n' > /tmp/livedrill-policy && chmod +x /tmp/livedrill-policy; \
	  kept=""; [ -e /usr/sbin/policy-rc.d ] && kept=yes; \
	  [ -n "$$kept" ] || $$sudo install -m 755 /tmp/livedrill-policy /usr/sbin/policy-rc.d; \
	  $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing < /dev/null > /tmp/livedrill-setup.log; code=$$?; \
	  [ -n "$$kept" ] || $$sudo rm -f /usr/sbin/policy-rc.d; rm -f /tmp/livedrill-policy; \
	  [ $$code = 0 ] || { tail -20 /tmp/livedrill-setup.log; exit $$code; }; \
	fi

.PHONY: help drill test build check bench bench-setup crash reference setup
