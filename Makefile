# SPDX-License-Identifier: GPL-2.0-or-later
#
# make setup && make demo     everything from a fresh Debian machine with Swift
# make help                   the targets

SHELL = /bin/bash
SWIFT ?= swift
SUDO ?= $(shell [ "$$(id -u)" = 0 ] || echo sudo)
JOBS ?= $(shell nproc)
PREFIX ?= /usr
SBINDIR ?= $(PREFIX)/sbin
MANDIR ?= $(PREFIX)/share/man
DATADIR ?= $(PREFIX)/share
SYSCONFDIR ?= /etc
UDEVDIR ?= /lib/udev
UNITDIR ?= /lib/systemd/system
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
DESTDIR ?=
TOPOLOGY ?= first-light
KERNEL ?= 6.12
FAULTS ?= all
GROUPS ?= 512
STORM ?= 50
INPUTS ?= 1000000
SEEDS ?= 600
# Seeds of make oracle, the first of them, and how many stages are simulated for each.
ORACLE ?= 9000:100000:3000
# What check-architectures boots again: platform:kernel, and which trees.
ARCHITECTURES ?= arm64-dt:6.1 arm64-acpi:6.1 riscv64-dt:7 pseries:6.1 powernv:6.1 malta:6.1
PLATFORM ?= arm64-dt
FIRST ?= 1
LAST ?= 1
TREES ?= 8
MORE_TREES ?= 36
MUTANTS ?= 200
# The kernels that differential-all runs on; also 5.10 6.16 6.17 6.18 6.19 7.0 7.1 7.3.
KERNELS ?= 6.1 6.12 7
SEED ?= 1
COUNT ?= 1000000

BUILD_PACKAGES = libpci-dev pkg-config pciutils make git
VM_PACKAGES = qemu-system-x86 busybox-static cpio xz-utils zstd python3 \
    gcc libc6-dev debhelper mmdebstrap
RELEASE = .build/release/pci-rebalance
DEBUG = .build/debug/pci-rebalance
FIXTURE = Fixtures/first-light-6.12/failed-hot-add.snapshot.json
SOURCES = Sources Tests Package.swift
LABORATORY = Tests/PolicyTests/Laboratory

.PHONY: for-guests groups mutants oracle vm-test-all differential-all policy-survey check-architectures record-architectures pictures gallery findings scenarios rescue-rate differential solver-random fault-test path-test event-test fuzz evidence help setup build test unit vm-test fetch-kernels lint format demo install deb vm clean

# The package's own modules are optimised in the debug build as well: tests then take a fifth of the time (Package.swift).
export PCI_REBALANCE_OPTIMISED = 1

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

## setup          install what building and testing need (apt, as root or with sudo)
setup:
	$(SUDO) apt-get update -q
	$(SUDO) apt-get install -q -y --no-install-recommends $(BUILD_PACKAGES) $(VM_PACKAGES)

## build          the command as it is installed: optimised, Swift's libraries inside
#
# Nobody looks symbols up in the command: without their table it is a megabyte smaller.
build:
	$(SWIFT) build -c release --static-swift-stdlib --product pci-rebalance -Xlinker --no-export-dynamic -j $(JOBS)

# Guests run the command as it is installed: optimised, it takes a fraction of the time there.
IN_GUESTS = PCI_REBALANCE_REQUIRE_VM=1 PCI_REBALANCE_TOOL=$(CURDIR)/$(RELEASE)

# One suite of guests and one target of units is a job; JOBS of them run side by side (Tests/run-jobs).
TEST_JOBS = TEST='$(SWIFT) test --skip-build --ignore-lock --disable-xctest' GUESTS='$(IN_GUESTS)' Tests/list-test-jobs
TEST_LIST = $(SWIFT) test list --skip-build --disable-xctest

# Kernels are fetched while the package is built.
for-guests:
	$(MAKE) -j 2 fetch-kernels deb

## test           all tests: units, recorded machines, the package and real kernels in emulated machines
test: for-guests
	$(SWIFT) build --build-tests -j $(JOBS)
	set -o pipefail; $(TEST_LIST) | $(TEST_JOBS) all | Tests/run-jobs .build/test-jobs $(JOBS)

## unit           the tests that need no emulated machine
unit:
	$(SWIFT) test --disable-xctest --skip VMTests -j $(JOBS)

## vm-test        the tests on real kernels only
vm-test: for-guests
	$(SWIFT) build --build-tests -j $(JOBS)
	set -o pipefail; $(TEST_LIST) | $(TEST_JOBS) guests | Tests/run-jobs .build/test-jobs $(JOBS)

## vm-test-all    the same with every case on every kernel, of which the usual tests run a part
vm-test-all: for-guests
	$(SWIFT) build --build-tests -j $(JOBS)
	set -o pipefail; $(TEST_LIST) | $(TEST_JOBS) guests | PCI_REBALANCE_VM_CASES=all PCI_REBALANCE_BOOT_WORDS=all PCI_REBALANCE_SCENARIOS=all \
	    Tests/run-jobs .build/test-jobs $(JOBS)

## differential   twin against kernels, a part: every third kept case, each oracle on one kernel, TREES random trees
#
# The twin is held against what kernels did in every kept case and oracle by the unit tests; this asks the kernels again.
differential: fetch-kernels
	$(SWIFT) build --product vm-lab -j $(JOBS)
	{ n=0; for kernel in 6.1 6.12 7; do \
	    echo "trees-$$kernel .build/debug/vm-lab differential -k $$kernel --seed $(SEED) --trees $(TREES)"; \
	    echo "oracles-$$kernel .build/debug/vm-lab oracles -k $$kernel --every 3 --first $$n Fixtures/oracles.json"; \
	    n=$$((n + 1)); \
	done; \
	echo "kept-cases .build/debug/vm-lab replay $$(echo Fixtures/differential/* | tr ' ' '\n' | sed -n '1~3p' | tr '\n' ' ')"; \
	} | Tests/run-jobs .build/differential $(JOBS)

## differential-all  every kept case, every oracle on every kernel, then MORE_TREES random trees from SEED on each
differential-all: fetch-kernels
	$(SWIFT) build --product vm-lab -j $(JOBS)
	{ for kernel in $(KERNELS); do \
	    echo "trees-$$kernel .build/debug/vm-lab differential -k $$kernel --seed $(SEED) --trees $(MORE_TREES)"; \
	done; \
	for kernel in 6.1 6.12 7; do \
	    echo "oracles-$$kernel .build/debug/vm-lab oracles -k $$kernel Fixtures/oracles.json"; \
	done; \
	echo "kept-cases .build/debug/vm-lab replay $$(echo Fixtures/differential/*)"; \
	} | Tests/run-jobs .build/differential $(JOBS)

## scenarios      every scenario of the planner on three real kernels: plan, apply, use; the usual tests run a few of them
scenarios: fetch-kernels build
	$(SWIFT) build --build-tests -j $(JOBS)
	$(IN_GUESTS) PCI_REBALANCE_SCENARIOS=all $(SWIFT) test --skip-build --disable-xctest --no-parallel \
	    --filter VMTests.ScenarioTests

## fault-test     disturbed applies on real kernels: FAULTS of them on each, all of them take hours
fault-test: fetch-kernels build
	$(SWIFT) build --build-tests -j $(JOBS)
	$(IN_GUESTS) PCI_REBALANCE_FAULTS=$(FAULTS) $(SWIFT) test --skip-build --disable-xctest --no-parallel \
	    --filter VMTests.FaultTests

## groups         IOMMU groups of GROUPS random trees on each of three kernels, before plans and after (hours)
groups: fetch-kernels build
	$(SWIFT) build --build-tests -j $(JOBS)
	{ for kernel in 6.1 6.12 7; do \
	    echo "groups-$$kernel $(IN_GUESTS) PCI_REBALANCE_GROUPS=$(GROUPS):$$kernel $(SWIFT) test --skip-build --ignore-lock \
	        --disable-xctest --no-parallel --filter VMTests.IsolationTests/forests"; \
	done; } | Tests/run-jobs .build/groups $(JOBS)

## path-test      60 paths of the model of journal and recovery, followed on three real kernels
path-test: fetch-kernels build
	$(SWIFT) build --build-tests -j $(JOBS)
	$(IN_GUESTS) PCI_REBALANCE_PATHS=60 $(SWIFT) test --skip-build --disable-xctest --no-parallel \
	    --filter VMTests.JournalPathTests

## event-test     hot-plug events in a Debian with systemd and the package, STORM cycles of unplugging and plugging
event-test: for-guests
	$(SWIFT) build --build-tests -j $(JOBS)
	$(IN_GUESTS) PCI_REBALANCE_STORM_CYCLES=$(STORM) $(SWIFT) test --skip-build --disable-xctest --no-parallel \
	    --filter 'VMTests.(EventTests|PackageTests)'

## fuzz           libFuzzer on every reader of plans, journals, policies and evidence: INPUTS of each
fuzz:
	env -u PCI_REBALANCE_OPTIMISED Tests/Fuzz/run $(INPUTS)

## evidence       what ../shared/corpus comes to: functions, BARs, findings, verdicts true and false, boots predicted
evidence:
	$(SWIFT) build --build-tests -j $(JOBS)
	TEXT_TABLE=1 $(SWIFT) test --skip-build --disable-xctest \
	    --filter 'LibPCIBridgeTests.(TextCorpusTests|TextHexAgreementTests|TextTriageTests|CorpusLogTests)'
	$(SWIFT) test --skip-build --disable-xctest \
	    --filter 'LibPCIBridgeTests.CorpusVerdictTests|CommandLineTests.BootPredictionTests'

## solver-random  COUNT random small problems: every layout checked, one in ten against exhaustive search; conflicts too
solver-random:
	$(SWIFT) build --build-tests -j $(JOBS)
	PCI_REBALANCE_RANDOM=$(COUNT) $(SWIFT) test --skip-build --disable-xctest \
	    --filter 'ResourceSolverTests.(RandomProblemTests|ConflictCoreTests)'

## rescue-rate    random failed hot-adds: how many plans rescue, at what price, beside two baselines
rescue-rate:
	$(SWIFT) run -c release rescue-rate $(SEEDS)

## oracle         plans against every sequence of levers on small random machines: ORACLE=COUNT:FIRST:LIMIT
oracle:
	$(SWIFT) build --build-tests -j $(JOBS)
	PCI_REBALANCE_ORACLE=$(ORACLE) $(SWIFT) test --skip-build --disable-xctest \
	    --filter 'RebalancePlannerTests.(ExhaustiveTests|SlackTests)'

## fetch-kernels  download the kernels under test into the cache (nothing when they are there)
fetch-kernels:
	Tests/VMLaboratory/Scripts/fetch-kernels
	Tests/VMLaboratory/Scripts/fetch-kernels --available 6.18

## check-architectures  boots trees on kernels of other architectures and compares (ARCHITECTURES=, FIRST=, LAST=)
check-architectures:
	$(SWIFT) build --build-tests -j $(JOBS)
	rm -rf .build/architectures
	@set -e; for each in $(ARCHITECTURES); do \
	    $(LABORATORY)/record-architecture-layout $${each%:*} .build/architectures $(FIRST) $(LAST) \
	        --kernels $${each#*:}; \
	done
	PCI_REBALANCE_ARCHITECTURES=$(CURDIR)/.build/architectures $(SWIFT) test --skip-build --disable-xctest \
	    --filter PolicyTests.ArchitectureTests

## record-architectures  records trees FIRST to LAST of PLATFORM on all its kernels as fixtures
record-architectures:
	$(LABORATORY)/record-architecture-layout $(PLATFORM) Tests/PolicyTests/Fixtures/Architectures $(FIRST) $(LAST)

## pictures       maps drawn and looked at in a headless Chromium; they stay in .build/pictures
pictures:
	$(SWIFT) build --product pci-rebalance -j $(JOBS)
	$(LABORATORY)/check-pictures $(DEBUG) .build/pictures

## gallery        Docs/gallery drawn anew from fixtures
gallery:
	$(SWIFT) build --product pci-rebalance -j $(JOBS)
	Docs/gallery/generate $(DEBUG)

## findings       the tables of Docs/policies/findings.md, computed anew from ../shared/corpus, fixtures and the generator
findings:
	$(SWIFT) build --build-tests -j $(JOBS)
	POLICY_SURVEY=1 $(SWIFT) test --skip-build --disable-xctest \
	    --filter PolicyTests.PolicySurveyTests

## policy-survey  every policy over every recorded and generated machine: nothing traps, what is placed works
policy-survey:
	$(SWIFT) build --build-tests -j $(JOBS)
	POLICY_SURVEY=check $(SWIFT) test --skip-build --disable-xctest \
	    --filter PolicyTests.PolicySurveyTests

## mutants        MUTANTS small faults, one at a time, drawn by SEED over all modules: do the unit tests see them? (hours)
mutants:
	Tests/Mutants/run --count $(MUTANTS) --seed $(SEED) --build '$(SWIFT) build --build-tests -j $(JOBS)'

## lint           the format that CI insists on
lint:
	$(SWIFT) format lint --strict -r $(SOURCES)

## format         bring the sources into that format
format:
	$(SWIFT) format -i -r $(SOURCES)

## demo           this machine's tree, then a recorded hot-plug failure with its explanation and plan
demo:
	@$(SWIFT) build --product pci-rebalance -j $(JOBS)
	@echo; echo '$$ pci-rebalance tree'
	@$(DEBUG) tree || echo '(this machine could not be read, see above)'
	@echo; echo '$$ pci-rebalance check --from $(FIXTURE)'
	@$(DEBUG) check -q --from $(FIXTURE) >/dev/null; [ $$? -eq 3 ]
	@$(DEBUG) check --from $(FIXTURE) || true
	@if $(DEBUG) --help | grep -q '^  plan '; then \
	    echo; echo '$$ pci-rebalance plan --from $(FIXTURE)'; \
	    $(DEBUG) plan --from $(FIXTURE); \
	fi

## install        the command, its manual page, completions and schemas below DESTDIR/PREFIX
install: build
	install -D -m 755 -s $(RELEASE) $(DESTDIR)$(SBINDIR)/pci-rebalance
	install -D -m 644 Docs/man/pci-rebalance.8 $(DESTDIR)$(MANDIR)/man8/pci-rebalance.8
	install -d $(DESTDIR)$(DATADIR)/pci-rebalance/schema
	install -m 644 Docs/schema/*.json $(DESTDIR)$(DATADIR)/pci-rebalance/schema/
	install -d $(DESTDIR)$(DATADIR)/bash-completion/completions
	$(RELEASE) --generate-completion-script bash > $(DESTDIR)$(DATADIR)/bash-completion/completions/pci-rebalance
	install -d $(DESTDIR)$(DATADIR)/zsh/vendor-completions
	$(RELEASE) --generate-completion-script zsh > $(DESTDIR)$(DATADIR)/zsh/vendor-completions/_pci-rebalance
	install -d $(DESTDIR)$(DATADIR)/fish/vendor_completions.d
	$(RELEASE) --generate-completion-script fish > $(DESTDIR)$(DATADIR)/fish/vendor_completions.d/pci-rebalance.fish
	install -d $(DESTDIR)$(UDEVDIR)/rules.d $(DESTDIR)$(UNITDIR)
	install -m 644 Packaging/udev/70-pci-rebalance.rules $(DESTDIR)$(UDEVDIR)/rules.d/
	install -m 644 Packaging/systemd/*.service $(DESTDIR)$(UNITDIR)/
	install -D -m 644 Packaging/tmpfiles.d/pci-rebalance.conf $(DESTDIR)$(TMPFILESDIR)/pci-rebalance.conf
	sed -i 's|^ExecStart=/usr/sbin/|ExecStart=$(SBINDIR)/|' $(DESTDIR)$(UNITDIR)/pci-rebalance*.service
	install -d $(DESTDIR)$(DATADIR)/doc/pci-rebalance/examples
	install -m 644 Packaging/policy/policy-example.json $(DESTDIR)$(DATADIR)/doc/pci-rebalance/examples/
	install -d $(DESTDIR)$(SYSCONFDIR)/pci-rebalance/hooks.d
	[ -e $(DESTDIR)$(SYSCONFDIR)/pci-rebalance/policy.json ] || \
	    install -m 644 Packaging/policy/policy.json $(DESTDIR)$(SYSCONFDIR)/pci-rebalance/

## deb            the Debian package, below .build/deb (debhelper 13)
deb: build
	rm -rf .build/deb
	install -d .build/deb/pci-rebalance
	cp -a Packaging/debian .build/deb/pci-rebalance/debian
	cd .build/deb/pci-rebalance && PCI_REBALANCE_SOURCE=$(CURDIR) dpkg-buildpackage -b -us -uc
	@ls .build/deb/*.deb

## vm             a shell in an emulated machine: make vm TOPOLOGY=first-light KERNEL=6.12
vm: fetch-kernels
	$(SWIFT) build --product pci-rebalance -j $(JOBS)
	$(SWIFT) run vm-lab run --topology $(TOPOLOGY) --kernel $(KERNEL)

## clean          remove what was built
clean:
	rm -rf .build
