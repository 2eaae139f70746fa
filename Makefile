# SPDX-License-Identifier: GPL-2.0
#
# The targets for developers; Kbuild has the module itself.

KDIR ?= /lib/modules/$(shell uname -r)/build

# The kernel for demo, check and shell; scripts/kernel/kernel --list names them. scripts/stock-kernel chooses the
# version unless VERSION does.
KERNEL ?= cloud-amd64

version := $(if $(VERSION),--version $(VERSION))
kernel := $(version) --flavour $(KERNEL)

.PHONY: matrix deb modules clean demo check check-all bench report model explore mutants shell lint doc rust-analyzer upstream help

modules:
	@compiler=$$(scripts/build/need-rust '$(KDIR)') && $(MAKE) -C '$(KDIR)' M=$(CURDIR) $$compiler modules

clean:
	@rm -rf out doc rust-project.json
	@find . -path ./.git -prune -o \( -name '*.o' -o -name '*.bc' -o -name '*.ko' -o -name '*.mod' -o \
		-name '*.mod.c' -o -name '.*.cmd' -o -name '.*.d' -o -name Module.symvers -o \
		-name modules.order -o -name bindings_generated.rs \) -exec rm -f {} +

demo:
	@scripts/vm/demo $(kernel)

check:
	@scripts/test/check $(kernel) $(if $(MACHINE),--machine $(MACHINE)) $(foreach suite,$(SUITE),--suite $(suite)) \
		$(foreach test,$(TESTS),--test $(test))

check-all:
	@scripts/test/check-all $(if $(SHORT),--short)

bench:
	@scripts/test/bench $(kernel) $(if $(ONLY),--only "$(ONLY)")

report:
	@scripts/doc/report $(kernel) $(if $(TORTURE_S),--torture $(TORTURE_S)) $(if $(TRACE),--trace $(TRACE))

mutants:
	@kdir=$$(scripts/kernel/kernel $(kernel)) && scripts/test/mutants --kdir "$$kdir" $(MUTANTS)

model:
	@scripts/model $(if $(QUICK),--quick) $(if $(EXPLAIN),--explain $(EXPLAIN))

explore:
	@scripts/explore $(if $(DEEP),--deep $(DEEP)) $(if $(SEED),--seed $(SEED)) $(if $(REPLAY),--replay $(REPLAY)) $(ONLY)

lint:
	@kdir=$$(scripts/kernel/kernel $(kernel)) && scripts/test/lint --kdir "$$kdir" $(if $(FIX),--fix)

doc:
	@kdir=$$(scripts/kernel/kernel $(kernel)) && scripts/doc/doc --kdir "$$kdir" $(if $(PRIVATE),--private)

rust-analyzer:
	@kdir=$$(scripts/kernel/kernel $(kernel)) && scripts/build/rust-analyzer --kdir "$$kdir"

matrix:
	@scripts/test/matrix

deb:
	@scripts/package/deb

upstream:
	@scripts/package/upstream $(version) | scripts/test/ktap

shell:
	@scripts/vm/shell $(kernel)

define help_text
make            build rust_kmemcg.ko for the running kernel, or for KDIR=<build folder>
make demo       show the whole life of a cache, in a stock kernel in a virtual machine
make check      run the tests in the same machine (SUITE="<suite> ...", TESTS="<file> ...");
                MACHINE=nodes or slub-debug is another machine
make check-all  run all suites on all kernels, and the mutants (SHORT=1: as CI does)
make bench      count instructions, and compare with targets (ONLY="<measurement>")
make report     draw what happened in a run, as a page (TORTURE_S=<seconds>, TRACE=<file>)
make mutants    bring known bugs back, and check that a test fails (MUTANTS="<name> ...")
make model      search all states of a model of the protocol (QUICK=1: its small instances;
                EXPLAIN=<mutant>: a chart of what goes wrong without a step)
make explore    run the source of the protocol through its interleavings, in user space (DEEP=<seconds>: random
                ones; SEED=<number>; REPLAY=<file>; ONLY="<scenario or mutant> ...")
make shell      run a shell in that machine, with the module loaded
make lint       run rustfmt, clippy, shellcheck, checkpatch and the rules here (FIX=1 formats)
make doc        make the documentation of the code, in doc/ (PRIVATE=1: of private items, too)
make rust-analyzer  make rust-project.json, which describes the crate to an editor
make deb        make a Debian package, with which DKMS builds the module for stock kernels
make matrix     build, load and test on every series of Rust-enabled kernels in Debian
make upstream   make patches for the kernel tree from the abstractions, and test them there
make clean      remove what "make" has built here

VERSION=7.3.4 and KERNEL=cloud-amd64 choose the kernel; others are amd64, rt, debug, uml and kcsan.
scripts/kernel/kernel --list describes them, scripts/stock-kernel --list lists the versions.
Downloads and builds are kept in $$KMEMCG_CACHE, by default ~/.cache/rust-kmemcg, which may be
deleted at any time.
endef
export help_text

help:
	@printf '%s\n' "$$help_text"
